"""Documents on a terminal: pretty, and with no character that a log could play tricks with."""

import json
import sys
from collections import Counter
from typing import Any

import orjson
from rich import box
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.documents.explain import Explanation

MAX_VALUE_LENGTH = 2000
_CONTAINER_ORIGINS = frozenset(
    (
        *("settings", "pod metadata", "crisp", "container's name", "namespace"),
        *("path of the file", "when it was read", "when it was parsed"),
    )
)
_PIPE_WIDTH = 1000  # of a pipe: what is filtered by lines must not be broken


def console() -> Console:
    """Where a report is printed: as wide as the terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def escape_unprintable(text: str) -> str:
    """Text in which each control, format or other unprintable character is escaped: they move cursors and hide text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape_character(char) for char in text)


def _escape_character(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


class Printer:
    """Prints hits and explanations: for people on a terminal, else one JSON object a line."""

    def __init__(self) -> None:
        self._console = Console() if sys.stdout.isatty() else None
        self._previous_source: dict[str, Any] = {}

    def print_hit(self, hit: dict[str, Any]) -> None:
        """One document."""
        if self._console is None:
            sys.stdout.buffer.write(orjson.dumps(hit) + b"\n")
            return
        lines = json.dumps(hit, indent=2, ensure_ascii=False).split("\n")
        self._console.print(JSONHighlighter()(Text("\n".join(map(escape_unprintable, lines)))), soft_wrap=True)

    def print_explanation(self, explanation: Explanation) -> None:
        """One event and where its fields came from, or why it is no document."""
        if self._console is None:
            sys.stdout.buffer.write(orjson.dumps(explanation.to_json()) + b"\n")
        elif explanation.hit is None:
            where = Text.assemble(
                (f"dropped by {escape_unprintable(explanation.rule)}", "yellow"), (f"  {explanation.id}", "dim")
            )
            self._console.print(where)
            self._console.print(Text(f"  {_truncate(explanation.message)}", style="dim"))
        else:
            self._console.print(_explanation_table(explanation, self._previous_source))
            self._previous_source = explanation.hit["_source"]


def _explanation_table(explanation: Explanation, previous: dict[str, Any]) -> Table:
    """The fields and where they came from; of the container's those that are others than `before`."""
    assert explanation.hit is not None
    title = Text.assemble((explanation.hit["_index"], "bold"), (f"  {explanation.id}", "dim"))
    table = Table(title=title, title_justify="left", header_style="dim", box=box.SIMPLE_HEAD)
    for column in ("field", "value", "from"):
        table.add_column(column, overflow="fold")
    alike = 0
    for name, value in explanation.hit["_source"].items():
        if previous.get(name) == value and _is_container_origin(explanation.origins[name]):
            alike += 1
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(
            Text(escape_unprintable(name)),
            Text(_escape_lines(shown)),
            Text(escape_unprintable(explanation.origins[name]), style="cyan"),
        )
    words = [f"{alike} fields of the container as above"] if alike else []
    if explanation.applied_rules:
        words.append(f"met the rules: {escape(escape_unprintable(', '.join(explanation.applied_rules)))}")
    table.caption, table.caption_justify = "; ".join(words) or None, "left"
    return table


def _is_container_origin(origin: str) -> bool:
    """Whether an origin is the same for all lines of a container."""
    return origin in _CONTAINER_ORIGINS or origin.startswith("label ")


def _escape_lines(text: str) -> str:
    """A value whose lines stay lines: a newline or a tab plays no tricks."""
    return "\n".join(_truncate(line) for line in text.expandtabs(4).split("\n"))


def _truncate(text: str) -> str:
    return escape_unprintable(
        text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}… ({len(text)} characters)"
    )


class Summary:
    """Counts what was seen."""

    def __init__(self) -> None:
        self.documents = 0
        self.dropped: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._unparsed = 0

    def count(self, hit: dict[str, Any]) -> None:
        """Count a document."""
        self.documents += 1
        source = hit["_source"]
        self._levels[str(source.get("log.level", "none"))] += 1
        self._unparsed += "unparsed" in source.get("log.flags", ())

    def lines(self, *, full: bool) -> list[str]:
        """What is worth telling, a line each; `full`: also how much there was."""
        lines = [f"{number} events dropped: {escape_unprintable(rule)}" for rule, number in self.dropped.items()]
        if self._unparsed:
            which = "none of them is" if self._unparsed == self.documents else f"{self._unparsed} are not"
            lines.append(f"{which} a CRI line (TIME STREAM TAG TEXT): kept as they are, flagged unparsed")
        if full:
            levels = ", ".join(f"{number} {escape_unprintable(name)}" for name, number in self._levels.most_common())
            events = self.documents + self.dropped.total()
            lines.append(f"{events} events, {self.documents} documents; levels: {levels or 'none'}")
        return lines
