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

from pipeline.documents.explain import Told

LONGEST_VALUE = 2000
_STANDING = frozenset(
    (
        *("settings", "pod metadata", "crisp", "container's name", "namespace"),
        *("path of the file", "when it was read", "when it was parsed"),
    )
)
_WIDE = 1000  # of a pipe: what is filtered by lines must not be broken


def console() -> Console:
    """Where a report is printed: as wide as the terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def safe(text: str) -> str:
    """Text in which each control, format or other unprintable character is escaped: they move cursors and hide text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


class Printer:
    """Prints hits and explanations: for people on a terminal, else one JSON object a line."""

    def __init__(self) -> None:
        self._console = Console() if sys.stdout.isatty() else None
        self._before: dict[str, Any] = {}

    def hit(self, hit: dict[str, Any]) -> None:
        """One document."""
        if self._console is None:
            sys.stdout.buffer.write(orjson.dumps(hit) + b"\n")
            return
        lines = json.dumps(hit, indent=2, ensure_ascii=False).split("\n")
        self._console.print(JSONHighlighter()(Text("\n".join(map(safe, lines)))), soft_wrap=True)

    def told(self, told: Told) -> None:
        """One event and where its fields came from, or why it is no document."""
        if self._console is None:
            sys.stdout.buffer.write(orjson.dumps(told.row()) + b"\n")
        elif told.hit is None:
            where = Text.assemble((f"dropped by {safe(told.rule)}", "yellow"), (f"  {told.id}", "dim"))
            self._console.print(where)
            self._console.print(Text(f"  {_short(told.message)}", style="dim"))
        else:
            self._console.print(_table(told, self._before))
            self._before = told.hit["_source"]


def _table(told: Told, before: dict[str, Any]) -> Table:
    """The fields and where they came from; of the container's those that are others than `before`."""
    assert told.hit is not None
    title = Text.assemble((told.hit["_index"], "bold"), (f"  {told.id}", "dim"))
    table = Table(title=title, title_justify="left", header_style="dim", box=box.SIMPLE_HEAD)
    for column in ("field", "value", "from"):
        table.add_column(column, overflow="fold")
    alike = 0
    for name, value in told.hit["_source"].items():
        if before.get(name) == value and _is_standing(told.origins[name]):
            alike += 1
            continue
        shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(Text(safe(name)), Text(_lines(shown)), Text(safe(told.origins[name]), style="cyan"))
    words = [f"{alike} fields of the container as above"] if alike else []
    if told.applied:
        words.append(f"met the rules: {escape(safe(', '.join(told.applied)))}")
    table.caption, table.caption_justify = "; ".join(words) or None, "left"
    return table


def _is_standing(origin: str) -> bool:
    """Whether an origin is the same for all lines of a container."""
    return origin in _STANDING or origin.startswith("label ")


def _lines(text: str) -> str:
    """A value whose lines stay lines: a newline or a tab plays no tricks."""
    return "\n".join(_short(line) for line in text.expandtabs(4).split("\n"))


def _short(text: str) -> str:
    return safe(text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)")


class Summary:
    """Counts what was seen."""

    def __init__(self) -> None:
        self.documents = 0
        self.dropped: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._unparsed = 0

    def hit(self, hit: dict[str, Any]) -> None:
        """Count a document."""
        self.documents += 1
        source = hit["_source"]
        self._levels[str(source.get("log.level", "none"))] += 1
        self._unparsed += "unparsed" in source.get("log.flags", ())

    def lines(self, *, full: bool) -> list[str]:
        """What is worth telling, a line each; `full`: also how much there was."""
        lines = [f"{number} events dropped: {safe(rule)}" for rule, number in self.dropped.items()]
        if self._unparsed:
            which = "none of them is" if self._unparsed == self.documents else f"{self._unparsed} are not"
            lines.append(f"{which} a CRI line (TIME STREAM TAG TEXT): kept as they are, flagged unparsed")
        if full:
            levels = ", ".join(f"{number} {safe(name)}" for name, number in self._levels.most_common())
            events = self.documents + self.dropped.total()
            lines.append(f"{events} events, {self.documents} documents; levels: {levels or 'none'}")
        return lines
