"""An indexer on an Elasticsearch in memory, for the tests of this folder."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.documents.batch import Document, DocumentBatch, from_documents
from pipeline.elasticsearch import index_template
from pipeline.elasticsearch.indexer import Indexer
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from tests.support.fake_elasticsearch import DocumentError, FakeElasticsearch

INDEX = "logs-2026.11.24"
IDENTITY = "AAAAAAAAAAAAAAAA"
OWNED = {"owner": index_template.OWNER}
ORIGIN = KafkaPosition("logs-raw", 1, 2, 3)
REJECTED = DocumentError(400, "document_parsing_exception", "[1:2] failed to parse field [n] of type [long]")

Source = dict[str, Any]


def document_id(number: int) -> str:
    return f"{IDENTITY}-{number:010x}"


def make_batch(*sources: Source, index: str = INDEX, first: int = 0, **lengths: int) -> DocumentBatch:
    """Return a batch of documents with consecutive ids; `lengths` by name `_NUMBER`."""
    documents = [
        Document(index, document_id(first + number), orjson.dumps(source)) for number, source in enumerate(sources)
    ]
    batch = from_documents(documents, ORIGIN, [("v", b"1")])
    batch.lengths.update({int(number.removeprefix("_")): length for number, length in lengths.items()})
    return batch


class Scene:
    """An indexer, its cluster, and what it dead-lettered and completed."""

    def __init__(self, **variables: str) -> None:
        self.settings: Settings = load_settings(
            {"CRISP_RETRY_MAX_SECONDS": "0.1", "CRISP_BULK_LINGER_SECONDS": "0", **variables}
        )
        self.elasticsearch = FakeElasticsearch()
        self.elasticsearch.add_index(INDEX, meta=OWNED)
        self.metrics = Metrics(WORKER)
        self.dead_letters: list[DeadLetter] = []
        self.completed: list[DocumentBatch] = []
        self.client = self.elasticsearch.connect(self.settings)
        self.indexer = Indexer(self.client, self.settings, self.metrics, self._send_dead_letter)

    async def _send_dead_letter(self, dead_letter: DeadLetter) -> None:
        self.dead_letters.append(dead_letter)

    def submit(self, batch: DocumentBatch) -> None:
        self.indexer.submit(batch, lambda: self.completed.append(batch))

    async def index(self, *batches: DocumentBatch) -> None:
        """Submit batches; return when all are complete."""
        async with self.running():
            for batch in batches:
                self.submit(batch)
            await until(lambda: len(self.completed) == len(batches))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.indexer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self.client.close()

    def sources(self, index: str = INDEX) -> dict[str, Source]:
        return self.elasticsearch.sources(index)

    def count(self, result: str) -> int:
        return int(self.metrics.get("crisp_worker_documents", result=result))

    def rejected(self, form: str) -> int:
        return int(self.metrics.get("crisp_worker_documents_rejected", form=form))

    def reject(self, *names: str) -> None:
        """Reject documents that have one of these fields."""
        self.elasticsearch.document_error = lambda _, source: REJECTED if source.keys() & set(names) else None


async def until(condition: Callable[[], bool]) -> None:
    """Return when a condition holds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - the conditions are of any kind
            await asyncio.sleep(0.001)
