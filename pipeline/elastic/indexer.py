"""Brings parcels of documents into Elasticsearch by bulk requests and says when each is settled.

A parcel is settled when every document of it was created, was there already, or lies acknowledged in the
dead-letter topic. Whatever else happens is tried again for ever, with capped and jittered pauses; only what failed
is sent again.
"""

import asyncio
import itertools
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.deadletter import DeadLetter
from pipeline.document import Parcel
from pipeline.elastic import bulk
from pipeline.elastic.bulk import Item, Outcome
from pipeline.elastic.places import Places
from pipeline.elastic.safeform import safe_form
from pipeline.metrics import Metrics
from pipeline.settings import Settings

FORMS = ("own", "safe", "text")
FILTER = "errors,items.*.status,items.*.error.type,items.*.error.reason"
HEADERS = {
    "content-type": "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
    "accept": "application/vnd.elasticsearch+json; compatible-with=8",
}

log = logging.getLogger(__name__)

Dead = Callable[[DeadLetter], Awaitable[None]]
"""Puts a document into the dead-letter topic; returns when it is acknowledged there."""


@dataclass(slots=True)
class _Single:
    """One document that was not simply created: `length` as in `Parcel.lengths`, `form` counts its safe forms.

    `own`: its source before the first of them.

    `raced`: sent again as it was, since two new documents may have fought for the type of a new field.
    """

    index: str
    id: str
    source: bytes
    length: int
    parcel: Parcel
    own: bytes = b""
    form: int = 0
    raced: bool = False

    def lines(self) -> bytes:
        return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (self.index.encode(), self.id.encode(), self.source)


class Indexer:
    """Collects parcels into bulks and sends some at a time."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings, metrics: Metrics, dead: Dead) -> None:
        self._client = client
        self._settings = settings
        self._metrics = metrics
        self._dead = dead
        self.places = Places(settings, self._asked)
        self._waiting: deque[tuple[Parcel, Callable[[], None]]] = deque()
        self._size = 0
        self._more = asyncio.Event()
        self._full = asyncio.Event()
        self.failing_since: float | None = None
        self.fault = ""

    def submit(self, parcel: Parcel, settled: Callable[[], None]) -> None:
        """Take a parcel; `settled` is called once, later, on the loop."""
        for rule, number in parcel.dropped.items():
            self._metrics.add("crisp_worker_dropped", number, rule=rule)
        self._metrics.add("crisp_worker_events", len(parcel.documents) + parcel.dropped.total())
        self._waiting.append((parcel, settled))
        self._size += parcel.size
        self._more.set()
        if self._size >= self._settings.bulk_max_bytes:
            self._full.set()

    async def run(self) -> None:
        """Send until cancelled. An exception out of here is a bug and must end the process."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._settings.bulk_concurrency):
                group.create_task(self._send())

    async def _send(self) -> None:
        while True:
            await self._more.wait()
            if not self._full.is_set():
                try:
                    async with asyncio.timeout(self._settings.bulk_linger_seconds):
                        await self._full.wait()
                except TimeoutError:
                    pass  # lingered long enough: what there is goes now
            taken = self._take()
            if taken:
                await self._settle([parcel for parcel, _ in taken])
                for _, settled in taken:
                    settled()

    def _take(self) -> list[tuple[Parcel, Callable[[], None]]]:
        taken: list[tuple[Parcel, Callable[[], None]]] = []
        size = 0
        while self._waiting and (not taken or size + self._waiting[0][0].size <= self._settings.bulk_max_bytes):
            taken.append(self._waiting.popleft())
            size += taken[-1][0].size
        self._size -= size
        if not self._waiting:
            self._more.clear()
        if self._size < self._settings.bulk_max_bytes:
            self._full.clear()
        return taken

    async def _settle(self, parcels: list[Parcel]) -> None:
        """Send the parcels' documents; whatever is not created at once is settled one by one."""
        count = sum(len(parcel.documents) for parcel in parcels)
        if not count:
            return
        for parcel in parcels:
            await self._place(parcel)
        items = await self._answered(
            b"".join(itertools.chain.from_iterable(parcel.documents for parcel in parcels)), count
        )
        created = items.count(bulk.CREATED)
        self._metrics.add("crisp_worker_documents", created, outcome="created")
        if created < count:
            singles = [single for parcel in parcels for single in _singles(parcel)]
            await self._settle_singles(singles, items)

    async def _place(self, parcel: Parcel) -> None:
        """Name the index that stands for the parcel's, where that is not ours to write to."""
        for index in parcel.indices:
            place = await self.places.of(index)
            if place != index:
                old, new = (b'{"create":{"_index":"%b",' % name.encode() for name in (index, place))
                parcel.documents = [
                    new + document[len(old) :] if document.startswith(old) else document
                    for document in parcel.documents
                ]

    async def _settle_singles(self, singles: list[_Single], items: list[Item]) -> None:
        pause = self._pauses()
        while True:
            left: list[_Single] = []
            retried = False
            for single, item in zip(singles, items, strict=True):
                again = await self._next(single, item)
                retried = retried or (again is not None and item.outcome is Outcome.RETRY)
                if again is not None:
                    left.append(again)
            if not left:
                self._recovered()
                return
            if retried:
                first = next(item for item in items if item.outcome is Outcome.RETRY)
                self._failing(first.reason)
                await asyncio.sleep(next(pause))
            singles = left
            items = await self._answered(b"".join(single.lines() for single in singles), len(singles))
            self._count(singles, items)

    def _count(self, singles: list[_Single], items: list[Item]) -> None:
        for single, item in zip(singles, items, strict=True):
            if item.outcome is Outcome.CREATED:
                outcome = "continued" if "~" in single.id else "safe_form" if single.form else "created"
                self._metrics.add("crisp_worker_documents", outcome=outcome)

    async def _next(self, single: _Single, item: Item) -> _Single | None:
        """What has to be sent next for a document, None when it is settled."""
        if item.outcome is Outcome.CREATED:
            return None
        if item.outcome is Outcome.RETRY:
            return single
        if item.outcome is Outcome.THERE:
            self._metrics.add("crisp_worker_documents", outcome="there")
            return await self._continued(single) if single.length and "~" not in single.id else None
        if bulk.RACE in item.reason and not single.raced:
            single.raced = True
            return single
        self._metrics.add("crisp_worker_refusals", form=FORMS[single.form])
        log.warning("document refused for its content, its safe form is sent: %s", item.reason)
        if single.form == len(FORMS) - 1:
            await self._bury(single, item.reason)
            return None
        single.form += 1
        single.own = single.own or single.source
        single.source = safe_form(single.source, item.reason, indexed=single.form == 1)
        return single

    async def _continued(self, single: _Single) -> _Single | None:
        """An event of several lines is there already; if ours reaches further, it goes in beside, flagged."""
        path = f"/{single.index}/_doc/{single.id}?_source_includes=log.length"
        _, stored = await self._asked(path, (200, 404))
        length = (stored.get("_source") or {}).get("log.length", single.length)
        if length >= single.length:
            return None
        fields = orjson.loads(single.source)
        fields["log.flags"] = [*fields.get("log.flags", []), "continued"]
        name = f"{single.id}~{single.length:x}"
        return _Single(single.index, name, orjson.dumps(fields), single.length, single.parcel)

    async def _bury(self, single: _Single, reason: str) -> None:
        """Dead-letter a document, but only when its index takes another one: else the place is broken, not it."""
        canary = {"@timestamp": orjson.loads(single.source).get("@timestamp"), "message": "crisp canary"}
        name = f"crisp-canary-{time.time_ns():x}"
        lines = _Single(single.index, name, orjson.dumps(canary), 0, single.parcel).lines()
        pause = self._pauses()
        while (item := (await self._answered(lines, 1))[0]).outcome not in (Outcome.CREATED, Outcome.THERE):
            self._failing(f"the index {single.index} refuses even a plain document: {item.reason}")
            await asyncio.sleep(next(pause))
        origin, headers = single.parcel.origin, single.parcel.headers
        await self._dead(DeadLetter(single.own, reason, origin, headers, single.index, single.id))
        self._metrics.add("crisp_worker_documents", outcome="dead")

    async def _answered(self, body: bytes, count: int) -> list[Item]:
        """The items of a bulk request, sent until there is a whole answer."""
        pause = self._pauses()
        while True:
            status, answer = await self._request("POST", f"/_bulk?filter_path={FILTER}", body)
            if status == 413 and count > 1:
                lines = body.split(b"\n")
                half = count // 2
                first = await self._answered(b"\n".join(lines[: 2 * half]) + b"\n", half)
                return first + await self._answered(b"\n".join(lines[2 * half :]), count - half)
            if status == 413:
                return [Item(Outcome.REFUSED, "413 the document is larger than the server takes")]
            items = bulk.read_answer(answer, count) if status == 200 else None
            if items is not None:
                self._metrics.add("crisp_worker_bulks", outcome="answered")
                if self.failing_since is not None and not any(item.outcome is Outcome.RETRY for item in items):
                    self._recovered()
                return items
            self._metrics.add("crisp_worker_bulks", outcome="failed" if status != 200 else "unknown")
            self._failing(_words(status, answer))
            await asyncio.sleep(next(pause))

    async def _asked(self, path: str, ok: tuple[int, ...]) -> tuple[int, Any]:
        """Status and answer of a GET, asked until the status is one of those."""
        pause = self._pauses()
        while True:
            status, answer = await self._request("GET", path, None)
            if status in ok and isinstance(answer, dict):
                self._recovered()
                return status, answer
            self._failing(_words(status, answer))
            await asyncio.sleep(next(pause))

    async def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
        """Status and answer; status 0 with the fault's words when there was no answer at all."""
        headers = HEADERS if body is not None else {"accept": HEADERS["accept"]}
        try:
            answer = await self._client.perform_request(method, path, headers=headers, body=body)
        except ApiError as fault:
            return fault.status_code, fault.body
        except (TransportError, OSError, ValueError) as fault:
            return 0, str(fault)
        return answer.meta.status, answer.body

    def _pauses(self) -> "_Pauses":
        return _Pauses(self._settings.retry_max_seconds)

    def _failing(self, words: str) -> None:
        if self.failing_since is None:
            self.failing_since = time.time()
        self.fault = words
        self._metrics.set("crisp_worker_backing_off", 1)
        log.warning("Elasticsearch does not take documents, tried again for ever: %s", words)

    def _recovered(self) -> None:
        if self.failing_since is not None:
            log.info("Elasticsearch takes documents again after %.1f s", time.time() - self.failing_since)
            self.failing_since = None
            self._metrics.set("crisp_worker_backing_off", 0)


class _Pauses:
    """Pauses in seconds: doubling from 50 ms to the limit, each with jitter."""

    def __init__(self, most: float) -> None:
        self._most = most
        self._next = 0.05

    def __next__(self) -> float:
        pause = self._next
        self._next = min(self._most, 2 * pause)
        return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, no secret


def _singles(parcel: Parcel) -> list[_Single]:
    singles = []
    for number, document in enumerate(parcel.documents):
        action, source, _ = document.split(b"\n")
        create = orjson.loads(action)["create"]
        singles.append(_Single(create["_index"], create["_id"], source, parcel.lengths.get(number, 0), parcel))
    return singles


def _words(status: int, answer: Any) -> str:
    """An answer that is no answer, in words; for wrong credentials with the settings to look at."""
    text = answer if isinstance(answer, str) else orjson.dumps(answer, default=str).decode()
    hint = " (check ES_USER and ES_PASSWORD, or CRISP_ES_API_KEY)" if status in (401, 403) else ""
    return f"status {status}{hint}: {text[:300]}"
