"""Brings into Elasticsearch what is absent there, by the worker's own indexer; what is there is not sent.

Ids are looked up over all indices first, so that a document that went elsewhere (to `logs-late`, to another route
under older settings) does not come a second time.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.documents.builder import DocumentBatch
from pipeline.elasticsearch.id_lookup import MAX_IDS, DocumentLookup, document_id
from pipeline.elasticsearch.indexer import Indexer
from pipeline.elasticsearch.rejections.rejection_handler import SendDeadLetter
from pipeline.monitoring.metrics import WORKER, Metrics
from pipeline.worker.memory_budget import MemoryBudget


class Reindexer:
    """An asynchronous context: at its end everything taken is settled, unless an exception ends it."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, send_dead_letter: SendDeadLetter) -> None:
        self._metrics = Metrics(WORKER)
        self._indexer = Indexer(client, settings, self._metrics, send_dead_letter)
        self._lookup = DocumentLookup(client, settings)
        self._budget = MemoryBudget(settings.worker_memory_budget_bytes)
        self._batch: list[DocumentBatch] = []
        self._buffered_documents = 0
        self.existing = 0

    async def __aenter__(self) -> Self:
        """Start the indexer."""
        self._indexer_task = asyncio.create_task(self._indexer.run())
        return self

    async def add(self, batch: DocumentBatch) -> None:
        """Take a parcel. Raises LookupFailure, and whatever ended the indexer."""
        self._batch.append(batch)
        self._buffered_documents += len(batch.documents)
        if self._buffered_documents >= MAX_IDS:
            await self.flush()

    async def flush(self) -> None:
        """Look up what was taken and hand over what is absent."""
        batch, self._batch, self._buffered_documents = self._batch, [], 0
        ids = [document_id(document) for parcel in batch for document in parcel.documents]
        there: dict[str, list[str]] = {}
        for start in range(0, len(ids), MAX_IDS):
            there |= await self._lookup.find(ids[start : start + MAX_IDS])
        for parcel in batch:
            left = without_existing(parcel, there)
            self.existing += len(parcel.documents) - len(left.documents)
            if left.documents:
                await self._wait_for(self._budget.acquire(left.size))
                self._indexer.submit(left, lambda size=left.size: self._budget.release(size))  # type: ignore[misc]

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
                while self._budget.used:
                    await self._wait_for(asyncio.sleep(0.02))
        finally:
            self._indexer_task.cancel()
            await asyncio.wait([self._indexer_task])

    async def _wait_for(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but not for an indexer that has ended: that is a bug, and told."""
        task = asyncio.create_task(waiting)
        await asyncio.wait([task, self._indexer_task], return_when=asyncio.FIRST_COMPLETED)
        if self._indexer_task.done():
            task.cancel()
            self._indexer_task.result()

    def outcomes(self) -> dict[str, int]:
        """Documents by what became of them until now."""
        value = self._metrics.get
        names = ("created", "fallback", "extended", "dead_lettered")
        found = {name: int(value("crisp_worker_documents", result=name)) for name in names}
        return {**found, "duplicate": self.existing + int(value("crisp_worker_documents", result="duplicate"))}

    @property
    def problem(self) -> str:
        """Why Elasticsearch takes nothing now; empty if it does."""
        return self._indexer.last_error if self._indexer.failing_since else self._indexer.index_resolver.problem


def _index_name(document: bytes) -> str:
    return document.split(b'"', 6)[5].decode()


def without_existing(batch: DocumentBatch, existing: dict[str, list[str]]) -> DocumentBatch:
    """The documents that are not there; and, of several lines, those there in the same index: ours may be longer."""
    left = DocumentBatch([], 0, batch.indices, {}, batch.dropped.copy(), batch.origin, batch.headers)
    left.dropped.clear()
    for number, document in enumerate(batch.documents):
        indices = existing.get(document_id(document))
        if indices is None or (number in batch.lengths and _index_name(document) in indices):
            if number in batch.lengths:
                left.lengths[len(left.documents)] = batch.lengths[number]
            left.documents.append(document)
    left.size = sum(map(len, left.documents))
    return left
