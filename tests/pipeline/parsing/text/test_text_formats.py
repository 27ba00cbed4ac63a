"""Text formats: realistic lines, near misses, and values of the right types."""

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import ecs
from pipeline.parsing import level, timestamp
from pipeline.parsing.json import json_body
from pipeline.parsing.text import text_formats
from tests.pipeline.parsing.examples import LOOKALIKES, TEXTS, Example


@pytest.mark.parametrize("example", TEXTS, ids=str)
def test_line_has_its_fields(example: Example) -> None:
    assert text_formats.parse(example.line) == example.fields


@pytest.mark.parametrize("example", LOOKALIKES, ids=str)
def test_line_that_resembles_a_format_has_no_other_fields(example: Example) -> None:
    assert (text_formats.parse(example.line) or {}) == example.fields


@pytest.mark.parametrize(
    "line",
    [
        "",
        "the quick brown fox",
        "Information about errors",
        "log in failed",
        "error while reading",
        "Log: a book of days",
        "config: loaded",
        "LOG of the day",
        "ERRORS: none",
        "warned twice",
        "Database ready",
        "10 errors found",
        "1:M is ready",
        "I am ready",
        "E1124 is a number",
        "I, [as it were]",
        "a=b c=d",
        "Pool level=high size=1",
        'msg="the level=error within" count=3',
        "level=high msg=x",
        "[section]",
        "[Tue Nov 24 10:00:00 2026] [core:loud] x",
        "    at com.example.Foo(Foo.java:12)",
        "\x1b[31mred\x1b[0m",
        "\x1b[31m",
        "ready\nERROR behind a newline",
        "Error handling: none",
        "GET ready",
        "POST mortem: done",
        "[GIN] running",
        "[Nest] is built",
        "[main] INFO starts",
        "Dear Error: hello",
        "method=GET status=200",
        "method=GET path=/x status=ok",
        "Nov 24, 2026 10:00:00 AM shop.Orders load",
        "Nov 24, 2026 10:00:00 AM shop.Orders load\nLOUD: x",
        '{"level":"info"}',
    ],
)
def test_unknown_line_has_no_fields(line: str) -> None:
    assert text_formats.parse(line) is None


def test_only_the_first_line_of_an_event_is_parsed() -> None:
    assert text_formats.parse("ERROR it broke\n2026-11-24 10:00:00,123 INFO a.b.C - x") == {"log.level": "error"}


def test_colours_are_ignored() -> None:
    plain = text_formats.parse("2026-11-24T10:00:00.123Z\tWARN\tsetup\tx")

    assert text_formats.parse("\x1b[2m2026-11-24T10:00:00.123Z\x1b[0m\t\x1b[33mWARN\x1b[0m\tsetup\tx") == plain


@pytest.mark.parametrize("example", TEXTS, ids=str)
def test_time_of_a_line_is_valid(example: Example) -> None:
    time = example.fields.get("@timestamp")

    assert time is None or timestamp.parse(time) is not None


def _has_type(kind: str, value: Any) -> bool:
    if isinstance(value, list):
        return value != [] and all(_has_type(kind, item) for item in value)
    if kind == "long":
        return type(value) is int and -(2**63) <= value < 2**63
    if kind == "ip":
        return bool(ipaddress.ip_address(value))
    return isinstance(value, str) and value != ""


PIECES = st.sampled_from(
    [piece for _, line, _ in TEXTS for piece in (line, *line.split(" "))]
    + ["999.1.1.1", "[", "::::", "9" * 30, "\n", "\t"]
)


@given(st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=6).map(" ".join), st.lists(PIECES).map("".join)))
def test_any_text_gives_known_names_with_values_of_their_types(text: str) -> None:
    for name, value in (text_formats.parse(text) or {}).items():
        assert _has_type(ecs.FIELDS[name].type, value), name
        assert name != "message"
        assert json_body.permitted_name(name) == name, "reserved"


@pytest.mark.parametrize("opening", sorted({line[:1] for _, line, _ in TEXTS}))
def test_any_head_is_read(opening: str) -> None:
    for word in (*level.WORDS, "", "main", "5", "2026-11-24T10:00:00Z"):
        for closing in ("", "]", ")", ">", ":", "|", ",", "] [", "]["):
            for text in ("disk full", "shop.Pay: x", "[main] x", "10:00:00 x"):
                fields = text_formats.parse(f"{opening}{word}{closing} {text}")
                assert fields is None or fields


@given(st.sampled_from([line for _, line, _ in TEXTS]), st.integers(0, 200), st.text(max_size=3))
def test_damaged_line_gives_values_of_the_right_types(line: str, index: int, text: str) -> None:
    for name, value in (text_formats.parse(line[:index] + text + line[index + 1 :]) or {}).items():
        assert _has_type(ecs.FIELDS[name].type, value), name


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "1",
        " ",
        "[",
        "]",
        '"',
        "- ",
        "a.",
        "a/",
        "/",
        "::",
        ".[",
        "x{}",
        "1.2.3.4 - - [",
        "level=",
        'a="',
        "\\",
        "2026-11-24 ",
    ],
)
def test_very_long_line_is_parsed_in_linear_time(unit: str) -> None:
    for prefix in (
        "",
        "2026-11-24 10:00:00,123 ",
        "2026-11-24 10:00:00,123 INFO ",
        "2026-11-24 10:00:00,123 [main] INFO a",
        "[2026-11-24 10:00:00,123] INFO ",
        "[2026-11-24T10:00:00,123][INFO ][",
        '[2026-11-24T10:00:00.1Z] "GET / HTTP/2" 200 - ',
        "10.1.1.1 - - [",
        '10.1.1.1 - - [24/Nov/2026:10:00:01 +0000] "GET / HTTP/1.1" 200 1 "-" "-" 1 0.1 [] [] ',
        "10.0.1.2:33317 [24/Nov/2026:12:14:14.655] a b 1/1/1/1/1 200 1 ",
        "INFO ",
        "level=x ",
        "2026-11-24 10:00:00,123 INFO a",
        "2026-11-24 10:00:00,123 INFO 1 --- [",
        "[     0.001s]  INFO ",
        "2026.11.24 10:00:00.123 [ 1 ] {",
        "24-Nov-2026 10:00:00.123 INFO [",
        "[I 2026-11-24 10:00:00.123 ",
        "10:00AM INF ",
        "Nov 24, 2026 10:00:00 AM ",
    ):
        text_formats.parse(prefix + (unit * 2**20)[: 2**20])
        text_formats.parse(prefix + (unit * 3000)[:3000] + '"')
