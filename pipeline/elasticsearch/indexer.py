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
from pipeline.config.settings import Settings, strip_credentials
from pipeline.documents.builder import DocumentBatch
from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.index_guard import IndexResolver
from pipeline.elasticsearch.rejections import pending_document
from pipeline.elasticsearch.rejections.rejection_handler import RejectionHandler, SendDeadLetter
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metrics import Metrics

SubmittedBatches = list[tuple[DocumentBatch, Callable[[], None]]]


class Indexer:
    """Collects parcels into bulks and sends as many at a time as Elasticsearch is quick with."""

    def __init__(
        self, client: AsyncElasticsearch, settings: Settings, metrics: Metrics, send_dead_letter: SendDeadLetter
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self.retrying_client = RetryingClient(client, settings, metrics)
        self.index_resolver = IndexResolver(settings, self.retrying_client.get_until, metrics)
        self.bulk_sender = BulkSender(self.retrying_client, settings, metrics)
        self.rejection_handler = RejectionHandler(self.bulk_sender, self.retrying_client, metrics, send_dead_letter)
        self._pending: deque[tuple[DocumentBatch, Callable[[], None]]] = deque()
        self._pending_bytes = 0
        self._in_flight = 0
        self._has_pending = asyncio.Event()
        self._bulk_full = asyncio.Event()
        self._slot_freed = asyncio.Event()

    @property
    def failing_since(self) -> float | None:
        """Since when Elasticsearch takes nothing, seconds since the epoch; None while it does."""
        return self.retrying_client.failing_since

    @property
    def last_error(self) -> str:
        """What it said last when it took nothing."""
        return self.retrying_client.last_error

    def snapshot(self) -> dict[str, Any]:
        """Elasticsearch as seen from here, and what it refused, for `/status.json`."""
        return {
            "elasticsearch": {
                "urls": strip_credentials(self._settings.es_urls),
                "failing_since": self.failing_since,
                "fault": self.last_error if self.failing_since else "",
                "trouble": self.index_resolver.problem,
            },
            "refusals": self.rejection_handler.rejection_log.snapshot(),
            "refusal_flood": self.rejection_handler.rejection_rate.exceeded,
        }

    def submit(self, batch: DocumentBatch, on_complete: Callable[[], None]) -> None:
        """Take a parcel; `settled` is called once, later, on the loop."""
        for rule, number in batch.dropped.items():
            self._metrics.inc("crisp_worker_events_dropped", number, rule=rule)
        for rule, number in batch.hook_errors.items():
            self._metrics.inc("crisp_worker_hook_errors", number, rule=rule)
        self._metrics.inc("crisp_worker_events", len(batch.documents) + batch.dropped.total())
        self._pending.append((batch, on_complete))
        self._pending_bytes += batch.size
        self._has_pending.set()
        if self._pending_bytes >= self._settings.bulk_max_bytes:
            self._bulk_full.set()

    async def run(self) -> None:
        """Send until cancelled. An exception out of here is a bug and must end the process."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._has_pending.wait()
                with contextlib.suppress(TimeoutError):  # lingered long enough: what there is goes now
                    async with asyncio.timeout(self._settings.bulk_linger_seconds):
                        await self._bulk_full.wait()
                while self._in_flight >= self.bulk_sender.limit.allowed:
                    self._slot_freed.clear()
                    await self._slot_freed.wait()
                self._in_flight += 1
                self._metrics.set("crisp_worker_bulk_requests_in_flight", self._in_flight)
                group.create_task(self._send(self._next_bulk()))

    async def _send(self, submitted: SubmittedBatches) -> None:
        try:
            await self._index([parcel for parcel, _ in submitted])
        except asyncio.CancelledError as fault:
            if cancellation.was_requested():
                raise
            raise RuntimeError("a bulk was ended by nobody") from fault  # else its parcels would wait for ever
        self._in_flight -= 1
        self._metrics.set("crisp_worker_bulk_requests_in_flight", self._in_flight)
        self._slot_freed.set()
        for _, settled in submitted:
            settled()

    def _next_bulk(self) -> SubmittedBatches:
        taken: SubmittedBatches = []
        size = 0
        while self._pending and (not taken or size + self._pending[0][0].size <= self._settings.bulk_max_bytes):
            taken.append(self._pending.popleft())
            size += taken[-1][0].size
        self._pending_bytes -= size
        if not self._pending:
            self._has_pending.clear()
        if self._pending_bytes < self._settings.bulk_max_bytes:
            self._bulk_full.clear()
        return taken

    async def _index(self, batches: list[DocumentBatch]) -> None:
        """Send the parcels' documents; whatever is not created at once is settled one by one."""
        count = sum(len(parcel.documents) for parcel in batches)
        if not count:
            return
        for parcel in batches:
            await self._resolve_indices(parcel)
        items = await self.bulk_sender.send(
            b"".join(itertools.chain.from_iterable(parcel.documents for parcel in batches)), count
        )
        created = items.count(bulk_response.CREATED)
        self.rejection_handler.count_created(created)
        if created < count:
            await self.rejection_handler.handle(
                [one for parcel in batches for one in pending_document.split_batch(parcel)], items
            )

    async def _resolve_indices(self, batch: DocumentBatch) -> None:
        """Name the index that stands for the parcel's, where that is not ours to write to."""
        for index in batch.indices:
            place = await self.index_resolver.resolve(index)
            if place != index:
                old, new = (b'{"create":{"_index":"%b",' % name.encode() for name in (index, place))
                batch.documents = [
                    new + document[len(old) :] if document.startswith(old) else document for document in batch.documents
                ]
