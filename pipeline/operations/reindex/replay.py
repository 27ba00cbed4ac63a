"""Re-indexes a time range of the raw topic by the worker's record processor and indexer; commits no offsets."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicReader
from pipeline.operations.reindex.reindexer import Reindexer

OnProgress = Callable[[int, int, dict[str, int], str], None]
"""Called with the number of records read, their total, documents by outcome, and the current problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOutcome:
    """What a replay did: records, events in them, documents by outcome, events dropped by each rule."""

    records: int
    invalid_records: int
    events: int
    created: int
    fallback: int
    extended: int
    dead_lettered: int
    duplicate: int
    dropped: dict[str, int]
    interrupted: bool


class Replay:
    """One run. `stop` ends it early: records read until then are indexed, another run indexes the rest."""

    def __init__(
        self, settings: Settings, client: AsyncElasticsearch, processor: RecordProcessor, on_progress: OnProgress
    ) -> None:
        self._settings = settings
        self._client = client
        self._processor = processor
        self._on_progress = on_progress
        self._dropped: Counter[str] = Counter()
        self._events = 0
        self._invalid_records = 0
        self._dead_letter_ids: set[str] = set()
        self.stop = asyncio.Event()

    async def run(self, since: int, until: int | None) -> ReplayOutcome:
        """Index the records from `since` to `until`, milliseconds since the epoch; return the outcomes.

        Raises KafkaError, DocumentLookupError.
        """
        settings = self._settings
        self._dead_letter_ids = await dead_letter_topic.read_document_ids(settings, since)
        async with (
            TopicReader(settings, settings.topic_raw, since, until) as reader,
            Reindexer(settings, self._client, self._send_dead_letter) as reindexer,
        ):
            async for value, headers, origin in reader.slices():
                await self._index_record(reindexer, value, headers, origin)
                self._on_progress(reader.records_read, reader.record_count, reindexer.outcomes(), reindexer.problem)
                if self.stop.is_set():
                    break
        return ReplayOutcome(
            records=reader.records_read,
            invalid_records=self._invalid_records,
            events=self._events,
            **reindexer.outcomes(),
            dropped=dict(self._dropped),
            interrupted=self.stop.is_set(),
        )

    async def _index_record(self, reindexer: Reindexer, value: bytes, headers: Headers, origin: KafkaPosition) -> None:
        try:
            batch, _ = self._processor.process(value, headers, origin, time.time_ns())
        except RecordError:
            self._invalid_records += 1  # the worker has dead-lettered it
            return
        self._events += len(batch) + batch.dropped.total()
        self._dropped += batch.dropped
        await reindexer.add(batch)

    async def _send_dead_letter(self, dead_letter: DeadLetter) -> None:
        """Dead-letter a rejected document, unless the dead-letter topic has it already."""
        if dead_letter.id not in self._dead_letter_ids:
            await dead_letter_topic.produce(self._settings, dead_letter)
            self._dead_letter_ids.add(dead_letter.id)


async def count_by_rules(lookup: DocumentLookup, since: int, until: int | None) -> dict[str, int]:
    """Count the documents of a time range by the digest of their rules, empty if none. Raises DocumentLookupError."""
    time_range = {"gte": since, "format": "epoch_millis", **({"lt": until} if until else {})}
    body = {
        "size": 0,
        "query": {"range": {"event.created": time_range}},
        "aggs": {"rules": {"terms": {"field": "crisp.rules", "missing": "", "size": 100}}},
    }
    response = await lookup.search(body)
    buckets = requests.read_buckets(response, "rules")
    return {requests.read_member(entry, str, "key"): requests.read_member(entry, int, "doc_count") for entry in buckets}
