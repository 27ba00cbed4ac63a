"""Looks the documents of parcels up and keeps the accounts.

A document that is not found is looked up once more at the end. Then it is dead-lettered, or still on its way (it is
young, or the workers have not come to its record), or may be dropped by a rule whose condition we cannot know, or it
is missing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.contract import cri
from pipeline.contract.record import IDENTITY_CHARACTERS
from pipeline.documents.builder import Parcel
from pipeline.elasticsearch.id_lookup import MOST, Lookup, document_id
from pipeline.operations.audit.tally import Account

AT_ONCE = 3
LOOK_AGAIN_SECONDS = 0.5
LATE = 10000  # absent documents looked up once more; beyond, they are taken as they are
_SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Doubt:
    """What may excuse an absent document: `young` in seconds, `waiting` if its record was not taken yet,
    `excuses`: by id, the rules that may have dropped it, if only the labels were known."""

    young: float
    waiting: bool = False
    excuses: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Entry:
    id: str
    document: bytes
    account: Account
    doubt: Doubt


class Judge:
    """Takes parcels; `dead` has the ids in the dead-letter topic. `looked_up` counts."""

    def __init__(self, lookup: Lookup, dead: set[str], now: Callable[[], float] = time.time) -> None:
        self._lookup = lookup
        self._dead = dead
        self._now = now
        self._batch: list[_Entry] = []
        self._absent: list[_Entry] = []
        self._asking: set[asyncio.Task[None]] = set()
        self.looked_up = 0

    async def take(self, parcel: Parcel, accounts: Mapping[str, Account], other: Account, doubt: Doubt) -> None:
        """Enter a parcel's documents, each into the account of its file's identity."""
        for rule, number in parcel.dropped.items():
            other.dropped[rule] += number
            other.events += number
        for document in parcel.documents:
            name = document_id(document)
            account = accounts.get(name[:IDENTITY_CHARACTERS], other)
            account.events += 1
            self._batch.append(_Entry(name, document, account, doubt))
            if len(self._batch) >= MOST:
                await self._ask()

    async def _ask(self) -> None:
        batch, self._batch = self._batch, []
        while len(self._asking) >= AT_ONCE:
            await self._answers(asyncio.FIRST_COMPLETED)
        if batch:
            self._asking.add(asyncio.create_task(self._look(batch)))
            await asyncio.sleep(0)  # so that the question leaves before more documents are made

    async def _answers(self, until: str) -> None:
        done, self._asking = await asyncio.wait(self._asking, return_when=until)
        for task in done:
            task.result()

    async def _look(self, batch: list[_Entry]) -> None:
        there = await self._lookup.of([entry.id for entry in batch])
        self.looked_up += len(batch)
        for entry in batch:
            indices = there.get(entry.id)
            if indices is not None:
                _found(entry, indices)
            elif len(self._absent) < LATE:
                self._absent.append(entry)
            else:
                self._judge(entry)

    async def settle(self, patience: float) -> None:
        """Look up the rest; then what was absent again, until nothing young is or `patience` seconds are over."""
        await self._ask()
        if self._asking:
            await self._answers(asyncio.ALL_COMPLETED)
        limit = self._now() + patience
        absent, self._absent = self._absent, []
        while absent:
            for start in range(0, len(absent), MOST):
                await self._look(absent[start : start + MOST])
            absent, self._absent = self._absent, []
            again = []
            for entry in absent:
                if self._now() < limit and self._young(entry):
                    again.append(entry)
                else:
                    self._judge(entry)
            absent = again
            if absent:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)

    def _young(self, entry: _Entry) -> bool:
        moment = cri.nanoseconds(_time(entry).encode())
        return moment is not None and abs(self._now() - moment / 1e9) < entry.doubt.young

    def _judge(self, entry: _Entry) -> None:
        account = entry.account
        if entry.id in self._dead:
            account.dead += 1
        elif entry.doubt.waiting or self._young(entry):
            account.waiting += 1
        elif entry.id in entry.doubt.excuses:
            rules = entry.doubt.excuses[entry.id]
            account.unjudged[f"events that the rule {rules} may have dropped, by what no path tells"] += 1
        else:
            account.note("missing", _example(entry))


def _found(entry: _Entry, indices: list[str]) -> None:
    if entry.id.endswith("-gap"):
        entry.account.gaps += 1
    else:
        entry.account.found += 1
    if len(indices) > 1:
        entry.account.note("doubled", {"id": entry.id, "indices": sorted(indices)})


def _source(entry: _Entry) -> dict[str, Any]:
    source: dict[str, Any] = orjson.loads(entry.document.split(b"\n", 2)[1])
    return source


def _time(entry: _Entry) -> str:
    source = _source(entry)
    return str(source.get("log.iotime") or source["@timestamp"])


def _example(entry: _Entry) -> dict[str, Any]:
    source = _source(entry)
    return {
        "id": entry.id,
        "time": _time(entry),
        "path": source.get("log.file.path", ""),
        "offset": source.get("log.offset"),
        "message": str(source.get("message", ""))[:_SHOWN_CHARACTERS],
    }
