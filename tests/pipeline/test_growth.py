"""CPU time grows with the text, not with its square: everything that reads a line, on lines made to be slow.

A line has at most 1 MiB; at a square, 32 KiB that take a millisecond would make that a second, and a cube 32 seconds.
"""

import time
from collections.abc import Callable

import pytest

from pipeline.parsing import ansi, exception
from pipeline.parsing.json import json_body
from pipeline.parsing.text import logfmt, text_formats
from pipeline.rules.redaction.redaction import Redaction
from pipeline.rules.redaction.secret_kinds import KINDS

MAX_RATIO = 9.0
"""Of the times of a text and of a quarter of it: 4 is linear, 16 a square."""
MIN_SECONDS = 0.002
"""Below that, the clock decides."""
MAX_CHARACTERS = 1 << 15

HEADS = (
    "",
    "2026-11-24 10:00:00,123 ERROR [main] shop.Pay - ",
    '192.0.2.7 - - [24/Nov/2026:10:00:00 +0000] "',
    "level=info msg=",
)
UNITS = (
    *(
        "1 ",
        "1-",
        "12345678 ",
        "1.",
        "a ",
        "a=",
        'a="',
        "a=b ",
        '"',
        "'",
        "\\",
        '\\"',
        "[",
        "] ",
        "[a] ",
        "(",
        ") ",
        "{",
    ),
    *(":", ": ", "::", ".", "a.", "/", "//", "http://", "@", "a@", "a@a.", "-", "--", "eyJ", "eyJaaaaaaaa.", "%", "&"),
    *("\x1b[", "\x1b[0m", "\t", "\r", "at ", "\tat a.b(", "Caused by: ", "bearer ", "basic a", "secret_key=", "AKIA"),
    *(
        "-----BEGIN ",
        "-----BEGIN A PRIVATE KEY-----",
        "0x",
        "f",
        "F0",
        "é",
        "\x00",
        "trace_id=",
        'err="',
        " - ",
        "|",
        ",",
    ),
)


def seconds(function: Callable[[str], object], text: str) -> float:
    """The least CPU time of two calls."""
    times = []
    for _ in range(2):
        start = time.process_time()
        function(text)
        times.append(time.process_time() - start)
        if times[-1] > 1:
            break
    return min(times)


def slowest_growth(function: Callable[[str], object]) -> tuple[float, str]:
    """Return the largest ratio of times with its text; texts that are always fast have none."""
    worst = (0.0, "")
    for head in HEADS:
        for unit in UNITS:
            size = 4096
            before = seconds(function, head + unit * (size // len(unit)))
            while before < MIN_SECONDS and size < MAX_CHARACTERS:
                size *= 8
                before = seconds(function, head + unit * (size // len(unit)))
            if before >= MIN_SECONDS:
                after = seconds(function, head + unit * (4 * size // len(unit)))
                worst = max(worst, (after / before, f"{head}{unit!r} of {size}"))
    return worst


def _redact(kind: str) -> Callable[[str], object]:
    return Redaction([kind]).redact_text


FUNCTIONS: dict[str, Callable[[str], object]] = {
    **{f"redact {kind}": _redact(kind) for kind in KINDS},
    "text formats": text_formats.parse,
    "logfmt, by name": logfmt.parse_all,
    "ansi": ansi.strip,
    "error of a line": exception.from_line,
    "error of a trace": lambda text: exception.from_trace(text.replace("  ", "\n")),
    "JSON": lambda text: json_body.parse(b'{"msg":"' + text.encode() + b'"}', 200),
    "JSON, as keys": lambda text: json_body.parse(b'{"' + text.replace(" ", '":1,"').encode() + b'":1}', 200),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_time_grows_with_the_text(name: str) -> None:
    ratio, text = slowest_growth(FUNCTIONS[name])

    assert ratio < MAX_RATIO, text
