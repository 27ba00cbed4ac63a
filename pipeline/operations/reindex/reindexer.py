"""Indexes the documents that Elasticsearch does not have, by the worker's own indexer; existing ones are not sent.

Ids are looked up in all indices first, so that a document in another index (`logs-late`, another route under older
settings) is not indexed twice.
"""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.documents.batch import Document, DocumentBatch
from pipeline.elasticsearch.id_lookup import MAX_IDS, DocumentLookup, StoredDocument
from pipeline.elasticsearch.indexer import Indexer
from pipeline.elasticsearch.rejections.rejection_handler import SendDeadLetter
from pipeline.elasticsearch.rejections.stored_event import Comparison, compare
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.worker.memory_budget import MemoryBudget


class Reindexer:
    """An asynchronous context manager: on exit every added document is settled, unless an exception ends it."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, send_dead_letter: SendDeadLetter) -> None:
        self._metrics = Metrics(WORKER)
        self._indexer = Indexer(client, settings, self._metrics, send_dead_letter)
        self._lookup = DocumentLookup(client, settings)
        self._budget = MemoryBudget(settings.worker_memory_budget_bytes)
        self._buffer: list[DocumentBatch] = []
        self._buffered_documents = 0
        self.existing = 0

    async def __aenter__(self) -> Self:
        """Start the indexer."""
        self._indexer_task = asyncio.create_task(self._indexer.run())
        return self

    async def add(self, batch: DocumentBatch) -> None:
        """Add a batch. Raises DocumentLookupError, and any exception of the indexer."""
        self._buffer.append(batch)
        self._buffered_documents += len(batch)
        if self._buffered_documents >= MAX_IDS:
            await self.flush()

    async def flush(self) -> None:
        """Look up the buffered documents and submit those that do not exist."""
        batches, self._buffer, self._buffered_documents = self._buffer, [], 0
        ids = [document_id.decode() for batch in batches for document_id in batch.ids]
        existing: dict[str, list[StoredDocument]] = {}
        for start in range(0, len(ids), MAX_IDS):
            existing |= await self._lookup.find(ids[start : start + MAX_IDS])
        for batch in batches:
            rest = without_existing(batch, existing)
            self.existing += len(batch) - len(rest)
            if rest:
                await self._wait_for(self._budget.acquire(rest.size))
                self._indexer.submit(rest, lambda size=rest.size: self._budget.release(size))  # type: ignore[misc]

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

    async def _wait_for(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Await a coroutine while the indexer runs; raise the indexer's exception if it ends, which is a bug."""
        task = asyncio.create_task(coroutine)
        await asyncio.wait([task, self._indexer_task], return_when=asyncio.FIRST_COMPLETED)
        if self._indexer_task.done():
            task.cancel()
            self._indexer_task.result()

    def outcomes(self) -> dict[str, int]:
        """Return the number of documents so far, by outcome."""
        value = self._metrics.get
        names = ("created", "fallback", "extended", "dead_lettered")
        counts = {name: int(value("crisp_worker_documents", result=name)) for name in names}
        return {**counts, "duplicate": self.existing + int(value("crisp_worker_documents", result="duplicate"))}

    @property
    def problem(self) -> str:
        """Why Elasticsearch cannot index now; empty if it can."""
        return self._indexer.last_error if self._indexer.failing_since else self._indexer.index_resolver.problem


def without_existing(batch: DocumentBatch, existing: dict[str, list[StoredDocument]]) -> DocumentBatch:
    """Return the batch without existing documents.

    Multi-line documents that exist in the same index are kept: the new ones may be longer. So are those whose ids only
    documents of other events have.
    """

    def is_needed(number: int, document: Document) -> bool:
        stored = existing.get(document.id)
        if stored is None:
            return True
        source = orjson.loads(document.source)
        indices = [index for index, fields in stored if compare(source, fields) is not Comparison.OTHER]
        return not indices or (number in batch.lengths and document.index in indices)

    return batch.select([number for number, document in enumerate(batch) if is_needed(number, document)])
