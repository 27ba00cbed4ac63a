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
from pipeline.documents.builder import Parcel
from pipeline.elasticsearch.id_lookup import MOST, Lookup, document_id
from pipeline.elasticsearch.indexer import Indexer
from pipeline.elasticsearch.rejections.rejection_handler import Dead
from pipeline.monitoring.metrics import WORKER, Metrics
from pipeline.worker.memory_budget import Budget


class Refill:
    """An asynchronous context: at its end everything taken is settled, unless an exception ends it."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, bury: Dead) -> None:
        self._metrics = Metrics(WORKER)
        self._indexer = Indexer(client, settings, self._metrics, bury)
        self._lookup = Lookup(client, settings)
        self._budget = Budget(settings.worker_memory_budget_bytes)
        self._batch: list[Parcel] = []
        self._waiting = 0
        self.there = 0

    async def __aenter__(self) -> Self:
        """Start the indexer."""
        self._run = asyncio.create_task(self._indexer.run())
        return self

    async def take(self, parcel: Parcel) -> None:
        """Take a parcel. Raises LookupFailure, and whatever ended the indexer."""
        self._batch.append(parcel)
        self._waiting += len(parcel.documents)
        if self._waiting >= MOST:
            await self.flush()

    async def flush(self) -> None:
        """Look up what was taken and hand over what is absent."""
        batch, self._batch, self._waiting = self._batch, [], 0
        ids = [document_id(document) for parcel in batch for document in parcel.documents]
        there: dict[str, list[str]] = {}
        for start in range(0, len(ids), MOST):
            there |= await self._lookup.of(ids[start : start + MOST])
        for parcel in batch:
            left = absent(parcel, there)
            self.there += len(parcel.documents) - len(left.documents)
            if left.documents:
                await self._or_end(self._budget.acquire(left.size))
                self._indexer.submit(left, lambda size=left.size: self._budget.release(size))  # type: ignore[misc]

    async def __aexit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self.flush()
                while self._budget.used:
                    await self._or_end(asyncio.sleep(0.02))
        finally:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _or_end(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait, but not for an indexer that has ended: that is a bug, and told."""
        task = asyncio.create_task(waiting)
        await asyncio.wait([task, self._run], return_when=asyncio.FIRST_COMPLETED)
        if self._run.done():
            task.cancel()
            self._run.result()

    def outcomes(self) -> dict[str, int]:
        """Documents by what became of them until now."""
        value = self._metrics.get
        names = ("created", "fallback", "extended", "dead_lettered")
        found = {name: int(value("crisp_worker_documents", result=name)) for name in names}
        return {**found, "duplicate": self.there + int(value("crisp_worker_documents", result="duplicate"))}

    @property
    def trouble(self) -> str:
        """Why Elasticsearch takes nothing now; empty if it does."""
        return self._indexer.fault if self._indexer.failing_since else self._indexer.places.trouble


def _index(document: bytes) -> str:
    return document.split(b'"', 6)[5].decode()


def absent(parcel: Parcel, there: dict[str, list[str]]) -> Parcel:
    """The documents that are not there; and, of several lines, those there in the same index: ours may be longer."""
    left = Parcel([], 0, parcel.indices, {}, parcel.dropped.copy(), parcel.origin, parcel.headers)
    left.dropped.clear()
    for number, document in enumerate(parcel.documents):
        indices = there.get(document_id(document))
        if indices is None or (number in parcel.lengths and _index(document) in indices):
            if number in parcel.lengths:
                left.lengths[len(left.documents)] = parcel.lengths[number]
            left.documents.append(document)
    left.size = sum(map(len, left.documents))
    return left
