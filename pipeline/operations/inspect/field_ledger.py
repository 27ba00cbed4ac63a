"""The ledger of the applications' fields: which workload logs which field, with which types, since when. Pure.

Fed with the documents that a worker makes of the raw topic, and with what Elasticsearch reports of its indices:
the type of every field there, values that it ignored, documents that it rejected.
"""

import fnmatch
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.contract.ecs import FIELDS, LABELS_PREFIX
from pipeline.contract.json_types import JsonObject
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.container_fields import workload_of
from pipeline.parsing.json.flatten import OVERFLOW

MAX_ROWS = 50_000
MAX_VALUE_CHARACTERS = 80
OVER_LIMIT = "(over the field limit)"
NO_FIELD = "(no field named)"
_PIPELINE_PREFIXES = ("crisp.", f"{LABELS_PREFIX}.")
_FIELD_OF_REASON = re.compile(r"\bfield \[([^\]]{1,256})\]")
_JSON_TYPES: dict[type, str] = {str: "text", int: "long", float: "double", bool: "boolean", dict: "object"}
_ACCEPTED = {
    "long": frozenset({"long"}),
    "double": frozenset({"long", "double"}),
    "float": frozenset({"long", "double"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"text", "long"}),
    "ip": frozenset({"text"}),
}
"""The JSON types that a field type takes as they are. Types that are not listed take every scalar, as text."""


@dataclass(frozen=True, slots=True)
class Report:
    """What Elasticsearch did to a value: `index` and `id` of a document with it."""

    field: str
    workload: str
    index: str
    id: str


@dataclass(slots=True)
class TypeUse:
    """Values of one JSON type: their number, the time of the first, and a document with one."""

    values: int
    since: str
    id: str
    value: str

    def to_json(self) -> JsonObject:
        """Return the JSON object of `crisp fields --json`."""
        return {"values": self.values, "since": self.since, "id": self.id, "value": self.value}


@dataclass(slots=True)
class FieldRow:
    """One field of one workload; `mapped` are its types in the indices, `ignored` and `rejected` count documents."""

    name: str
    workload: str
    types: dict[str, TypeUse] = field(default_factory=dict)
    mapped: tuple[str, ...] = ()
    ignored: int = 0
    rejected: int = 0
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def since(self) -> str:
        """The time of the first value; empty if only Elasticsearch reported the field."""
        return min((use.since for use in self.types.values()), default="")

    def problems(self) -> list[str]:
        """Return what is wrong with the field, one phrase each."""
        problems = []
        if self.name == OVER_LIMIT:
            problems.append(f"kept as JSON in {OVERFLOW}: more fields than CRISP_FIELD_LIMIT")
        for mapped in self.mapped:
            misfits = sorted(self.types.keys() - _ACCEPTED.get(mapped, self.types.keys()))
            if misfits:
                problems.append(f"{' and '.join(misfits)} in a field of type {mapped}")
        if len(self.mapped) > 1:
            problems.append(f"type differs between indices: {', '.join(self.mapped)}")
        if self.ignored:
            problems.append(f"value ignored in {self.ignored:,} documents")
        if self.rejected:
            problems.append(f"{self.rejected:,} documents rejected")
        return problems

    def to_json(self) -> JsonObject:
        """Return the JSON object of `crisp fields --json`."""
        return {
            "field": self.name,
            "workload": self.workload,
            "since": self.since,
            "types": {name: use.to_json() for name, use in self.types.items()},
            "mapped": list(self.mapped),
            "ignored": self.ignored,
            "rejected": self.rejected,
            "examples": self.examples,
            "problems": self.problems(),
        }


class FieldLedger:
    """Rows by field and workload, at most `MAX_ROWS`; `left_out` counts values of further rows."""

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._patterns = tuple(patterns)
        self._rows: dict[tuple[str, str], FieldRow] = {}
        self.documents = 0
        self.left_out = 0

    def add(self, batch: DocumentBatch) -> None:
        """Add the documents of one record."""
        for document in batch:
            self.documents += 1
            source = orjson.loads(document.source)
            workload = workload_of(source)
            for name, value in source.items():
                if name == OVERFLOW:
                    self._add_value(OVER_LIMIT, value, workload, source["@timestamp"], document.id)
                elif name not in FIELDS and not name.startswith(_PIPELINE_PREFIXES):
                    self._add_value(name, value, workload, source["@timestamp"], document.id)

    def add_types(self, types: dict[str, tuple[str, ...]]) -> None:
        """Add the types of the fields in the indices."""
        for row in self._rows.values():
            row.mapped = types.get(row.name, ())

    def add_ignored(self, reports: Iterable[Report]) -> None:
        """Add the values that Elasticsearch ignored: their documents are found by their other fields only."""
        for row, report in self._reported(reports):
            row.ignored += 1
            row.examples["ignored"] = f"{report.index}/{report.id}"

    def add_rejected(self, reports: Iterable[Report]) -> None:
        """Add the documents that Elasticsearch rejected for a field; they are indexed in a fallback form."""
        for row, report in self._reported(reports):
            row.rejected += 1
            row.examples["rejected"] = f"{report.index}/{report.id}"

    def rows(self) -> list[FieldRow]:
        """Return the rows, those of one field together, the workload that logged it first at the top."""
        return sorted(self._rows.values(), key=lambda row: (row.name, row.since or "~", row.workload))

    def problems(self) -> list[FieldRow]:
        """Return every row of the fields that have a problem: also the workloads whose values fit."""
        names = {row.name for row in self._rows.values() if row.problems()}
        return [row for row in self.rows() if row.name in names]

    def _add_value(self, name: str, value: Any, workload: str, time: str, document_id: str) -> None:
        row = self._row(name, workload)
        if row is None:
            return
        for entry in value if isinstance(value, list) else (value,):
            kind = _JSON_TYPES.get(type(entry))
            if kind is None:  # null is no value
                continue
            use = row.types.get(kind)
            if use is None:
                use = row.types[kind] = TypeUse(0, time, document_id, _shorten(entry))
            elif time < use.since:
                use.since, use.id, use.value = time, document_id, _shorten(entry)
            use.values += 1

    def _reported(self, reports: Iterable[Report]) -> Iterator[tuple[FieldRow, Report]]:
        for report in reports:
            row = self._row(report.field, report.workload)
            if row is not None:
                yield row, report

    def _row(self, name: str, workload: str) -> FieldRow | None:
        """Return the row of a field; None if it is not selected, or left out."""
        row = self._rows.get((name, workload))
        if row is None and self._is_selected(name):
            if len(self._rows) >= MAX_ROWS:
                self.left_out += 1
            else:
                row = self._rows[name, workload] = FieldRow(name, workload)
        return row

    def _is_selected(self, name: str) -> bool:
        return not self._patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in self._patterns)


def field_of_reason(reason: str) -> str:
    """Return the field that a reason of a rejection names."""
    match = _FIELD_OF_REASON.search(reason)
    return match[1] if match else NO_FIELD


def _shorten(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= MAX_VALUE_CHARACTERS else f"{text[:MAX_VALUE_CHARACTERS]}…"
