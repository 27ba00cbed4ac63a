"""Formats of a line as a table: one row per format, its pattern, and the field of each group. Pure."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.contract.json_types import JsonObject

Converter = Callable[[str], Any]

GROUP_FIELDS = {
    "level": "log.level",
    "logger": "log.logger",
    "thread": "process.thread.name",
    "tid": "process.thread.id",
    "pid": "process.pid",
    "file": "log.origin.file.name",
    "line": "log.origin.file.line",
    "function": "log.origin.function",
    "trace": "trace.id",
    "span": "span.id",
    "service": "service.name",
}
"""The field of each group's name, in all tables."""
_IDS = frozenset(("trace.id", "span.id"))
"""Ids of zeros are those of no trace."""
_GROUP_NAME = re.compile(r"\?P<\w+>")
_CONVERTERS: dict[str, Converter] = {
    "log.origin.file.line": int,
    "process.pid": int,
    "process.thread.id": int,
    "process.thread.name": str.rstrip,
}


class Format(NamedTuple):
    """One row: the pattern has named groups, at least one, each one of `GROUP_FIELDS`."""

    name: str
    pattern: str


class _CompiledFormat:
    """A row within the pattern of its table, after `offset` groups: `groups` has the number of each, by its name."""

    __slots__ = ("_targets", "groups", "name")

    def __init__(self, row: Format, offset: int) -> None:
        positions = re.compile(row.pattern, re.ASCII).groupindex
        self.name = row.name
        self.groups = {group: offset + position for group, position in positions.items()}
        self._targets = [
            (position, GROUP_FIELDS[group], _CONVERTERS.get(GROUP_FIELDS[group], str))
            for group, position in self.groups.items()
        ]

    def fields(self, match: re.Match[str]) -> JsonObject:
        """Return the fields of the groups that matched a text."""
        return {
            field: convert(text)
            for group, field, convert in self._targets
            if (text := match[group]) and not (field in _IDS and not text.strip("0"))
        }

    def text(self, match: re.Match[str], group: str) -> str:
        """Return the text of a group; empty if the row has no such group, or it did not match."""
        number = self.groups.get(group)
        return (match[number] or "") if number else ""


class FormatTable:
    """Formats that are tried in order, after a common prefix.

    They are compiled to one pattern, since one match costs less than several. The last group that closed in a match is
    one of its format's: `formats[match.lastindex]`.
    """

    __slots__ = ("formats", "match", "prefix", "rows")

    def __init__(self, *rows: Format, prefix: str = "") -> None:
        self.rows = rows
        self.prefix = prefix
        self.formats: dict[int | None, _CompiledFormat] = {}
        for row in rows:
            offset = len(self.formats)
            compiled = _CompiledFormat(row, offset)
            self.formats |= {offset + 1 + number: compiled for number in range(re.compile(row.pattern).groups)}
        alternatives = "|".join(_GROUP_NAME.sub("", row.pattern) for row in rows)
        self.match = re.compile(f"{prefix}(?:{alternatives})", re.ASCII).match
