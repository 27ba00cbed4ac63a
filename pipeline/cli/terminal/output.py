"""Documents on a terminal: formatted, with unprintable characters escaped, which logs could misuse."""

import json
import sys
from collections import Counter

from rich import box
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal.json_text import encode_json
from pipeline.contract.json_types import JsonObject
from pipeline.documents.explain import Explanation

MAX_VALUE_LENGTH = 2000
_CONTAINER_ORIGINS = frozenset(
    (
        *("settings", "pod metadata", "crisp", "container's name", "namespace"),
        *("path of the file", "when it was read", "when it was parsed"),
    )
)
_PIPE_WIDTH = 1 << 20  # rows in a pipe are never wrapped, so that filters work


def console() -> Console:
    """Return the console for reports: as wide as the terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def escape_unprintable(text: str) -> str:
    """Escape control, format and other unprintable characters: they move cursors and hide text."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape_character(char) for char in text)


def plain(text: str) -> Text:
    """Return a cell of a table: unprintable characters escaped, no markup."""
    return Text(escape_unprintable(text))


def _escape_character(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


class Printer:
    """Prints hits and explanations: formatted on a terminal, else one JSON object per line."""

    def __init__(self) -> None:
        self._console = Console() if sys.stdout.isatty() else None
        self._previous_source: JsonObject = {}

    def print_hit(self, hit: JsonObject) -> None:
        """Print one document."""
        if self._console is None:
            sys.stdout.buffer.write(encode_json(hit).encode() + b"\n")
            return
        lines = json.dumps(hit, indent=2, ensure_ascii=False).split("\n")
        self._console.print(JSONHighlighter()(Text("\n".join(map(escape_unprintable, lines)))), soft_wrap=True)

    def print_explanation(self, explanation: Explanation) -> None:
        """Print one event with the origins of its fields, or the rule that dropped it."""
        if self._console is None:
            sys.stdout.buffer.write(encode_json(explanation.to_json()).encode() + b"\n")
        elif explanation.hit is None:
            title = Text.assemble(
                (f"dropped by {escape_unprintable(explanation.rule)}", "yellow"), (f"  {explanation.id}", "dim")
            )
            self._console.print(title)
            self._console.print(Text(f"  {_truncate(explanation.message)}", style="dim"))
        else:
            self._console.print(_explanation_table(explanation, self._previous_source))
            self._previous_source = explanation.hit["_source"]


def _explanation_table(explanation: Explanation, previous: JsonObject) -> Table:
    """Return the fields with their origins, without container fields that are the same as in `previous`."""
    assert explanation.hit is not None
    title = Text.assemble((explanation.hit["_index"], "bold"), (f"  {explanation.id}", "dim"))
    table = Table(title=title, title_justify="left", header_style="dim", box=box.SIMPLE_HEAD)
    for column in ("field", "value", "from"):
        table.add_column(column, overflow="fold")
    unchanged = 0
    for name, value in explanation.hit["_source"].items():
        if previous.get(name) == value and _is_container_origin(explanation.origins[name]):
            unchanged += 1
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        table.add_row(
            Text(escape_unprintable(name)),
            Text(_escape_lines(text)),
            Text(escape_unprintable(explanation.origins[name]), style="cyan"),
        )
    notes = [f"{unchanged} container fields as above"] if unchanged else []
    if explanation.applied_rules:
        notes.append(f"matched rules: {escape(escape_unprintable(', '.join(explanation.applied_rules)))}")
    table.caption, table.caption_justify = "; ".join(notes) or None, "left"
    return table


def _is_container_origin(origin: str) -> bool:
    """Return whether an origin is the same for all lines of a container."""
    return origin in _CONTAINER_ORIGINS or origin.startswith("label ")


def _escape_lines(text: str) -> str:
    """Escape each line of a value; newlines stay, tabs become spaces."""
    return "\n".join(_truncate(line) for line in text.expandtabs(4).split("\n"))


def _truncate(text: str) -> str:
    return escape_unprintable(
        text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}… ({len(text)} characters)"
    )


class Summary:
    """Counts documents, dropped events, levels and unparsed lines."""

    def __init__(self) -> None:
        self.documents = 0
        self.dropped: Counter[str] = Counter()
        self._levels: Counter[str] = Counter()
        self._unparsed = 0

    def count(self, hit: JsonObject) -> None:
        """Count a document."""
        self.documents += 1
        source = hit["_source"]
        self._levels[str(source.get("log.level", "none"))] += 1
        self._unparsed += "unparsed" in source.get("log.flags", ())

    def lines(self, *, full: bool) -> list[str]:
        """Return the counts that need attention, one per line; `full`: also the totals."""
        lines = [f"{number} events dropped: {escape_unprintable(rule)}" for rule, number in self.dropped.items()]
        if self._unparsed:
            which = "none of the lines is" if self._unparsed == self.documents else f"{self._unparsed} are not"
            lines.append(f"{which} a CRI line (TIME STREAM TAG TEXT): kept unchanged, flagged unparsed")
        if full:
            levels = ", ".join(f"{number} {escape_unprintable(name)}" for name, number in self._levels.most_common())
            events = self.documents + self.dropped.total()
            lines.append(f"{events} events, {self.documents} documents; levels: {levels or 'none'}")
        return lines
