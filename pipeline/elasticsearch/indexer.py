"""Index document batches by bulk requests and report when each batch is complete.

A batch is complete when each of its documents was created, existed already, or is acknowledged in the dead-letter
topic (`RejectionHandler`). Until then its record is not acked; retries are unlimited.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable

from elasticsearch import AsyncElasticsearch

from pipeline import cancellation
from pipeline.config.settings import Settings
from pipeline.documents.batch import DocumentBatch
from pipeline.elasticsearch import bulk_body, bulk_response
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.index_guard import IndexResolver
from pipeline.elasticsearch.rejections import pending_document
from pipeline.elasticsearch.rejections.rejection_handler import RejectionHandler, SendDeadLetter
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.elasticsearch.stored_indices import StoredIndices
from pipeline.monitoring.measurements.hook_error_log import HookErrorLog
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import ElasticsearchStatus

SubmittedBatches = list[tuple[DocumentBatch, Callable[[], None]]]


class Indexer:
    """Collects batches into bulk requests; the number in flight adapts to Elasticsearch's response times."""

    def __init__(
        self, client: AsyncElasticsearch, settings: Settings, metrics: Metrics, send_dead_letter: SendDeadLetter
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self.retrying_client = RetryingClient(client, settings, metrics)
        self.index_resolver = IndexResolver(settings, self.retrying_client.request_until, metrics)
        self._stored_indices = StoredIndices(self.retrying_client, settings)
        self.bulk_sender = BulkSender(self.retrying_client, settings, metrics)
        self.rejection_handler = RejectionHandler(self.bulk_sender, self.retrying_client, metrics, send_dead_letter)
        self.hook_error_log = HookErrorLog(metrics)
        self._pending: deque[tuple[DocumentBatch, Callable[[], None]]] = deque()
        self._pending_bytes = 0
        self._in_flight = 0
        self._has_pending = asyncio.Event()
        self._bulk_full = asyncio.Event()
        self._slot_freed = asyncio.Event()

    @property
    def failing_since(self) -> float | None:
        """When Elasticsearch's last good response was, seconds since the epoch; None while it is available."""
        return self.retrying_client.failing_since

    @property
    def last_error(self) -> str:
        """The last error while Elasticsearch was unavailable."""
        return self.retrying_client.last_error

    def elasticsearch_status(self) -> ElasticsearchStatus:
        """Return whether Elasticsearch accepts documents."""
        since = self.retrying_client.unresponsive_since
        error = self.last_error if self.failing_since else "no response yet"
        return ElasticsearchStatus(
            urls=self._settings.es_address,
            failing_since=since,
            last_error=error if since else "",
            index_problem=self.index_resolver.problem,
        )

    async def keep_stored_indices(self, batch: DocumentBatch) -> DocumentBatch:
        """Return the batch to submit if its documents may exist in other indices: those keep theirs. Never fails."""
        return await self._stored_indices.keep(batch)

    def submit(self, batch: DocumentBatch, on_complete: Callable[[], None]) -> None:
        """Queue a batch; `on_complete` is called once, later, on the event loop."""
        for rule, number in batch.dropped.items():
            self._metrics.inc("crisp_worker_events_dropped", number, rule=rule)
        if batch.hook_errors:
            self.hook_error_log.add(batch.hook_errors, batch.hook_tracebacks, time.time())
        self._metrics.inc("crisp_worker_events", len(batch) + batch.dropped.total())
        self._metrics.inc("crisp_worker_events_without_metadata", batch.metadata_missing)
        self._pending.append((batch, on_complete))
        self._pending_bytes += batch.size
        self._has_pending.set()
        if self._pending_bytes >= self._settings.bulk_max_bytes:
            self._bulk_full.set()

    async def run(self) -> None:
        """Send bulk requests until cancelled. Any other exception is a bug and must end the process."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._has_pending.wait()
                with contextlib.suppress(TimeoutError):  # lingered long enough: send what is queued
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
            await self._index([batch for batch, _ in submitted])
        except asyncio.CancelledError as error:
            if cancellation.was_requested():
                raise
            # Without this error its batches would never complete.
            raise RuntimeError("bulk request cancelled unexpectedly") from error
        self._in_flight -= 1
        self._metrics.set("crisp_worker_bulk_requests_in_flight", self._in_flight)
        self._slot_freed.set()
        for _, on_complete in submitted:
            on_complete()

    def _next_bulk(self) -> SubmittedBatches:
        bulk: SubmittedBatches = []
        size = 0
        while self._pending and (not bulk or size + self._pending[0][0].size <= self._settings.bulk_max_bytes):
            bulk.append(self._pending.popleft())
            size += bulk[-1][0].size
        self._pending_bytes -= size
        if not self._pending:
            self._has_pending.clear()
        if self._pending_bytes < self._settings.bulk_max_bytes:
            self._bulk_full.clear()
        return bulk

    async def _index(self, batches: list[DocumentBatch]) -> None:
        """Send the documents of the batches; handle those that are not created individually."""
        count = sum(map(len, batches))
        if not count:
            return
        indices = set[str]().union(*(batch.indices for batch in batches))
        targets = {index: await self.index_resolver.resolve(index) for index in sorted(indices)}
        results = await self.bulk_sender.send(bulk_body.encode_batches(batches, targets), count)
        created = results.count(bulk_response.CREATED)
        self.rejection_handler.count_created(created)
        if created < count:
            await self.rejection_handler.handle(pending_document.pending_items(batches, targets, results))
