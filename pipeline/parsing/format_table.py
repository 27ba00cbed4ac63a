"""Formats of a line as a table: one row per format, its pattern, and the field of each group. Pure."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from pipeline.contract.json_types import JsonObject

Converter = Callable[[str], Any]

_GROUP_NAME = re.compile(r"\?P<\w+>")
_CONVERTERS: dict[str, Converter] = {
    "log.origin.file.line": int,
    "process.pid": int,
    "process.thread.name": str.rstrip,
}


class Format(NamedTuple):
    """One row: the pattern has named groups, at least one; `fields` maps each to its field."""

    name: str
    pattern: str
    fields: dict[str, str]


class _CompiledFormat:
    """A row within the pattern of its table, after `offset` groups: `groups` has those of its fields, in order."""

    __slots__ = ("_targets", "groups", "name")

    def __init__(self, row: Format, offset: int) -> None:
        positions = re.compile(row.pattern, re.ASCII).groupindex
        self.name = row.name
        self.groups = tuple(offset + positions[group] for group in row.fields)
        self._targets = [
            (group, field, _CONVERTERS.get(field, str))
            for group, field in zip(self.groups, row.fields.values(), strict=True)
        ]

    def fields(self, match: re.Match[str]) -> JsonObject:
        """Return the fields of the groups that matched."""
        return {field: convert(text) for group, field, convert in self._targets if (text := match[group])}


class FormatTable:
    """Formats that are tried in order, after a common prefix.

    They are compiled to one pattern, since one match costs less than several. The last group that closed in a match is
    one of its format's: `formats[match.lastindex]`.
    """

    __slots__ = ("formats", "match")

    def __init__(self, *rows: Format, prefix: str = "") -> None:
        self.formats: dict[int | None, _CompiledFormat] = {}
        for row in rows:
            offset = len(self.formats)
            compiled = _CompiledFormat(row, offset)
            self.formats |= {offset + 1 + number: compiled for number in range(re.compile(row.pattern).groups)}
        alternatives = "|".join(_GROUP_NAME.sub("", row.pattern) for row in rows)
        self.match = re.compile(f"{prefix}(?:{alternatives})", re.ASCII).match
