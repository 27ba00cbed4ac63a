"""Brings parcels of documents into Elasticsearch by bulk requests and says when each is settled.

A parcel is settled when every document of it was created, was there already, or lies acknowledged in the
dead-letter topic (`settlement`). Until then its record is not acknowledged; nothing is ever given up.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline import cancellation
from pipeline.config.settings import Settings, without_credentials
from pipeline.documents.builder import Parcel
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_sender import Bulks
from pipeline.elasticsearch.index_guard import Places
from pipeline.elasticsearch.rejections import pending_document
from pipeline.elasticsearch.rejections.rejection_handler import Dead, Settlement
from pipeline.elasticsearch.retrying_client import Patience
from pipeline.monitoring.metrics import Metrics

Taken = list[tuple[Parcel, Callable[[], None]]]


class Indexer:
    """Collects parcels into bulks and sends as many at a time as Elasticsearch is quick with."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings, metrics: Metrics, dead: Dead) -> None:
        self._settings = settings
        self._metrics = metrics
        self.patience = Patience(client, settings, metrics)
        self.places = Places(settings, self.patience.asked, metrics)
        self.bulks = Bulks(self.patience, settings, metrics)
        self.settlement = Settlement(self.bulks, self.patience, metrics, dead)
        self._waiting: deque[tuple[Parcel, Callable[[], None]]] = deque()
        self._size = 0
        self._in_flight = 0
        self._more = asyncio.Event()
        self._full = asyncio.Event()
        self._freed = asyncio.Event()

    @property
    def failing_since(self) -> float | None:
        """Since when Elasticsearch takes nothing, seconds since the epoch; None while it does."""
        return self.patience.failing_since

    @property
    def fault(self) -> str:
        """What it said last when it took nothing."""
        return self.patience.fault

    def facts(self) -> dict[str, Any]:
        """Elasticsearch as seen from here, and what it refused, for `/status.json`."""
        return {
            "elasticsearch": {
                "urls": without_credentials(self._settings.es_urls),
                "failing_since": self.failing_since,
                "fault": self.fault if self.failing_since else "",
                "trouble": self.places.trouble,
            },
            "refusals": self.settlement.refusals.facts(),
            "refusal_flood": self.settlement.flood.rises,
        }

    def submit(self, parcel: Parcel, settled: Callable[[], None]) -> None:
        """Take a parcel; `settled` is called once, later, on the loop."""
        for rule, number in parcel.dropped.items():
            self._metrics.add("crisp_worker_events_dropped", number, rule=rule)
        for rule, number in parcel.faults.items():
            self._metrics.add("crisp_worker_hook_errors", number, rule=rule)
        self._metrics.add("crisp_worker_events", len(parcel.documents) + parcel.dropped.total())
        self._waiting.append((parcel, settled))
        self._size += parcel.size
        self._more.set()
        if self._size >= self._settings.bulk_max_bytes:
            self._full.set()

    async def run(self) -> None:
        """Send until cancelled. An exception out of here is a bug and must end the process."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._more.wait()
                with contextlib.suppress(TimeoutError):  # lingered long enough: what there is goes now
                    async with asyncio.timeout(self._settings.bulk_linger_seconds):
                        await self._full.wait()
                while self._in_flight >= self.bulks.limit.allowed:
                    self._freed.clear()
                    await self._freed.wait()
                self._in_flight += 1
                self._metrics.set("crisp_worker_bulk_requests_in_flight", self._in_flight)
                group.create_task(self._send(self._take()))

    async def _send(self, taken: Taken) -> None:
        try:
            await self._settle([parcel for parcel, _ in taken])
        except asyncio.CancelledError as fault:
            if cancellation.asked_for():
                raise
            raise RuntimeError("a bulk was ended by nobody") from fault  # else its parcels would wait for ever
        self._in_flight -= 1
        self._metrics.set("crisp_worker_bulk_requests_in_flight", self._in_flight)
        self._freed.set()
        for _, settled in taken:
            settled()

    def _take(self) -> Taken:
        taken: Taken = []
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
        items = await self.bulks.answered(
            b"".join(itertools.chain.from_iterable(parcel.documents for parcel in parcels)), count
        )
        created = items.count(bulk_response.CREATED)
        self.settlement.created(created)
        if created < count:
            await self.settlement.settle(
                [one for parcel in parcels for one in pending_document.of_parcel(parcel)], items
            )

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
