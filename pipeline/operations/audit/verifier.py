"""Looks up the documents of batches and tallies them.

A document that is not found is looked up again at the end. If it is still absent, it is dead-lettered, or in flight
(it is recent, or its record is not committed yet), or possibly dropped by a rule whose condition is unknown, or
missing.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import IDENTITY_CHARACTERS
from pipeline.documents.batch import DocumentBatch
from pipeline.elasticsearch.id_lookup import MAX_IDS, DocumentLookup
from pipeline.elasticsearch.rejections.stored_event import Comparison, compare, conflict_id
from pipeline.operations.audit.rules_in_force import Verdicts, may_be_dropped
from pipeline.operations.audit.tally import Tally

MAX_CONCURRENT_LOOKUPS = 3
RETRY_SECONDS = 0.5
MAX_RETRIED = 10000  # absent documents that are looked up again; further ones are classified at once
_EXAMPLE_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Reasons for which an absent document is not missing.

    `min_age`: it is younger, in seconds; `pending`: its record is not committed yet; `possible_drops`: by id, the
    rules that may have dropped it, which depends on unknown labels. `verdicts`: what follows from the rules of its
    time, if they are not the audit's.
    """

    min_age: float
    pending: bool = False
    possible_drops: Mapping[str, str] = field(default_factory=dict)
    verdicts: Verdicts = field(default_factory=Verdicts)


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    source: bytes
    tally: Tally
    tolerance: Tolerance


class Verifier:
    """Verifies batches. `dead_letter_ids`: the ids in the dead-letter topic; `looked_up`: documents so far."""

    def __init__(self, lookup: DocumentLookup, dead_letter_ids: set[str], now: Callable[[], float] = time.time) -> None:
        self._lookup = lookup
        self._dead_letter_ids = dead_letter_ids
        self._now = now
        self._batch: list[_Entry] = []
        self._not_found: list[_Entry] = []
        self._lookups: set[asyncio.Task[None]] = set()
        self.looked_up = 0

    async def add(
        self, batch: DocumentBatch, tallies: Mapping[str, Tally], default: Tally, tolerance: Tolerance
    ) -> None:
        """Add a batch's documents, each to the tally of its file's identity."""
        for rule, count in batch.dropped.items():
            default.dropped[rule] += count
            default.events += count
        await self._add_documents(
            zip(map(bytes.decode, batch.ids), batch.sources, strict=True), tallies, default, tolerance
        )

    async def add_judged(
        self, verdicts: Verdicts, tallies: Mapping[str, Tally], default: Tally, tolerance: Tolerance
    ) -> None:
        """Add the events of a record that was indexed by other rules than the audit's, or may have been."""
        for rule, count in verdicts.never_built.items():
            default.dropped[rule] += count
            default.events += count
        await self._add_documents(verdicts.sources.items(), tallies, default, replace(tolerance, verdicts=verdicts))

    async def _add_documents(
        self,
        documents: Iterable[tuple[str, bytes]],
        tallies: Mapping[str, Tally],
        default: Tally,
        tolerance: Tolerance,
    ) -> None:
        for identifier, source in documents:
            tally = tallies.get(identifier[:IDENTITY_CHARACTERS], default)
            tally.events += 1
            self._batch.append(_Entry(identifier, source, tally, tolerance))
            if len(self._batch) >= MAX_IDS:
                await self._start_lookup()

    async def _start_lookup(self) -> None:
        batch, self._batch = self._batch, []
        while len(self._lookups) >= MAX_CONCURRENT_LOOKUPS:
            await self._wait_for_lookups(asyncio.FIRST_COMPLETED)
        if batch:
            self._lookups.add(asyncio.create_task(self._look_up(batch)))
            await asyncio.sleep(0)  # so that the request is sent before more documents are built

    async def _wait_for_lookups(self, until: str) -> None:
        done, self._lookups = await asyncio.wait(self._lookups, return_when=until)
        for task in done:
            task.result()

    async def _look_up(self, batch: list[_Entry]) -> None:
        existing = await self._lookup.find([entry.id for entry in batch])
        self.looked_up += len(batch)
        for entry in batch:
            stored = existing.get(entry.id, [])
            source = orjson.loads(entry.source) if stored else {}
            same = [index for index, fields in stored if compare(source, fields) is not Comparison.OTHER]
            if same:
                _count_found(entry, same)
            elif stored:  # a document of another event: this one's is next to it
                self._not_found.append(replace(entry, id=conflict_id(entry.id, source)))
            elif len(self._not_found) < MAX_RETRIED:
                self._not_found.append(entry)
            else:
                self._classify(entry)

    async def finish(self, retry_seconds: float) -> None:
        """Look up the rest, then absent documents again, as long as some are recent, up to `retry_seconds`."""
        await self._start_lookup()
        if self._lookups:
            await self._wait_for_lookups(asyncio.ALL_COMPLETED)
        deadline = self._now() + retry_seconds
        absent, self._not_found = self._not_found, []
        while absent:
            for start in range(0, len(absent), MAX_IDS):
                await self._look_up(absent[start : start + MAX_IDS])
            absent, self._not_found = self._not_found, []
            retried = []
            for entry in absent:
                if self._now() < deadline and self._is_recent(entry):
                    retried.append(entry)
                else:
                    self._classify(entry)
            absent = retried
            if absent:
                await asyncio.sleep(RETRY_SECONDS)

    def _is_recent(self, entry: _Entry) -> bool:
        time_ns = cri.nanoseconds(_event_time(entry).encode())
        return time_ns is not None and abs(self._now() - time_ns / 1e9) < entry.tolerance.min_age

    def _classify(self, entry: _Entry) -> None:
        tally = entry.tally
        if entry.id in self._dead_letter_ids:
            tally.dead_lettered += 1
        elif entry.id in entry.tolerance.verdicts.dropped:
            tally.dropped[entry.tolerance.verdicts.dropped[entry.id]] += 1
        elif entry.tolerance.pending or self._is_recent(entry):
            tally.pending += 1
        elif entry.id in entry.tolerance.verdicts.unjudged:
            tally.unverifiable[entry.tolerance.verdicts.unjudged[entry.id]] += 1
        elif entry.id in entry.tolerance.possible_drops:
            rules = entry.tolerance.possible_drops[entry.id]
            tally.unverifiable[may_be_dropped(rules)] += 1
        else:
            tally.count_missing(_example(entry))


def _count_found(entry: _Entry, indices: list[str]) -> None:
    if entry.id.endswith("-gap"):
        entry.tally.gaps += 1
    else:
        entry.tally.indexed += 1
    if len(indices) > 1:
        entry.tally.count_duplicated({"id": entry.id, "indices": sorted(indices)})


def _source(entry: _Entry) -> JsonObject:
    source: JsonObject = orjson.loads(entry.source)
    return source


def _event_time(entry: _Entry) -> str:
    source = _source(entry)
    return str(source.get("log.iotime") or source["@timestamp"])


def _example(entry: _Entry) -> JsonObject:
    source = _source(entry)
    return {
        "id": entry.id,
        "time": _event_time(entry),
        "path": source.get("log.file.path", ""),
        "offset": source.get("log.offset"),
        "message": str(source.get("message", ""))[:_EXAMPLE_CHARACTERS],
    }
