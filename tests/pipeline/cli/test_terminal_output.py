"""What a terminal shows of documents: formatted, and nothing that a log could misuse."""

import io
from types import SimpleNamespace

import orjson
import pytest
from rich.console import Console
from rich.table import Table

from pipeline.cli.terminal import output
from pipeline.cli.terminal.output import MAX_VALUE_LENGTH, Printer, Summary
from pipeline.contract.json_types import JsonObject
from pipeline.documents.explain import Explanation

ESCAPE = "\x1b]0;title\x07\u202egnp"


class Terminal(io.TextIOWrapper):
    """A terminal that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self.is_pipe = False

    def isatty(self) -> bool:
        return not self.is_pipe

    def shown(self) -> str:
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(output, "sys", SimpleNamespace(stdout=terminal))
    monkeypatch.setattr(output, "Console", lambda **_: Console(width=120, color_system=None, file=terminal))
    return terminal


def explanation(number: int, **source: object) -> Explanation:
    fields: JsonObject = {"message": f"line {number}", "host.name": "node-1", **source}
    origins = {name: "settings" if name == "host.name" else "the line" for name in fields}
    hit: JsonObject = {"_index": "logs-1", "_id": f"id-{number}", "_source": fields}
    return Explanation(f"id-{number}", f"line {number}", hit, origins=origins)


def test_row_in_a_pipe_is_one_line_however_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = Table("setting", "value")
    table.add_row("CRISP_ES_URLS", " ".join(["http://elasticsearch:9200"] * 200))
    output.console().print(table)

    assert any(
        "CRISP_ES_URLS" in line and line.count("http://") == 200 for line in capsys.readouterr().out.splitlines()
    )


def test_hit_on_a_terminal_is_indented_and_escaped(terminal: Terminal) -> None:
    Printer().print_hit({"_source": {"message": ESCAPE, "city": "Zürich"}})

    assert '\n    "city": "Zürich"' in terminal.shown()
    assert "\x1b" not in terminal.shown()
    assert "\u202e" not in terminal.shown()


def test_explanation_lists_fields_with_their_origins(terminal: Terminal) -> None:
    Printer().print_explanation(explanation(1, count=3))

    rows = [line.split() for line in terminal.shown().splitlines()]
    assert ["message", "line", "1", "the", "line"] in rows
    assert ["count", "3", "the", "line"] in rows
    assert ["host.name", "node-1", "settings"] in rows


def test_fields_of_the_container_are_shown_once(terminal: Terminal) -> None:
    printer = Printer()
    printer.print_explanation(explanation(1))
    printer.print_explanation(explanation(2))
    printer.print_explanation(explanation(3, **{"host.name": "node-2"}))

    assert terminal.shown().count("node-1") == 1
    assert terminal.shown().count("node-2") == 1
    assert "1 container fields as above" in terminal.shown()


def test_long_value_is_truncated_line_by_line(terminal: Terminal) -> None:
    Printer().print_explanation(explanation(1, stack="x" * (MAX_VALUE_LENGTH + 5) + "\n\tat y\x1b"))

    assert f"({MAX_VALUE_LENGTH + 5} characters)" in " ".join(terminal.shown().split())
    assert "    at y\\u001b" in terminal.shown()


def test_names_and_rules_are_escaped_too(terminal: Terminal) -> None:
    event = explanation(1, **{f"app{ESCAPE}": 1})
    event.applied_rules.append(f"[bold]{ESCAPE}")
    Printer().print_explanation(event)

    assert "\x1b" not in terminal.shown()
    assert "[bold]" in terminal.shown()


def test_dropped_event_shows_its_rule_and_message(terminal: Terminal) -> None:
    Printer().print_explanation(Explanation("id-1", f"health{ESCAPE}", None, f"quiet{ESCAPE}"))

    first, second = terminal.shown().splitlines()
    assert first.startswith("dropped by quiet\\u001b")
    assert second.startswith("  health\\u001b")


def test_pipe_gets_one_json_object_per_line(terminal: Terminal) -> None:
    terminal.is_pipe = True
    printer = Printer()
    printer.print_hit({"_id": "a", "message": ESCAPE})
    printer.print_explanation(explanation(1))

    hit, explained = map(orjson.loads, terminal.shown().splitlines())
    assert hit == {"_id": "a", "message": ESCAPE}
    assert explained["explain"]["host.name"] == "settings"


@pytest.mark.parametrize(
    "text",
    [
        "\x9b2J\x9d0;title\x9c",  # C1: CSI and OSC, as in ECMA-48
        "\x7f\x08\x1b[2J",
        "\u202egnp\u2066.exe\u2069\u200f",
        "\u2028\u2029\u200b\ufeff\u00ad",
        "\U000e0041\U0010ffff",  # beyond 16 bits: a tag, a code without a character
    ],
)
def test_pipe_gets_unprintable_characters_as_escapes_of_equal_json(terminal: Terminal, text: str) -> None:
    terminal.is_pipe = True
    hit = {"_source": {"message": f"Zürich 😀 \\ {text}", f"name{text}": text}}
    printer = Printer()
    printer.print_hit(hit)
    printer.print_explanation(explanation(1, text=text))

    shown = terminal.shown()
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "Zürich 😀" in shown
    first, second = shown.splitlines()
    assert orjson.loads(first) == hit
    assert orjson.loads(second)["_source"]["text"] == text


def test_summary_counts_levels_drops_and_unparsed_lines() -> None:
    summary = Summary()
    for source in ({"log.level": "error"}, {"log.level": "error"}, {"log.flags": ["unparsed"]}):
        summary.count({"_source": source})
    summary.dropped["quiet\x1b"] += 2

    assert summary.lines(full=False) == [
        "2 events dropped: quiet\\u001b",
        "1 are not a CRI line (TIME STREAM TAG TEXT): kept unchanged, flagged unparsed",
    ]
    assert summary.lines(full=True)[-1] == "5 events, 3 documents; levels: 2 error, 1 none"


def test_summary_of_text_that_is_no_log_says_so() -> None:
    summary = Summary()
    summary.count({"_source": {"log.flags": ["unparsed"]}})

    assert summary.lines(full=False)[0].startswith("none of the lines is a CRI line")
