"""A range of the raw topic indexed again: the worker's intake and indexer, nobody's offsets moved."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicReader
from pipeline.operations.reindex.reindexer import Reindexer

OnProgress = Callable[[int, int, dict[str, int], str], None]
"""Shows the progress: records read, of how many, documents by outcome, and what is in the way."""


class Replay:
    """One run. `stop` ends it early; what was read until then is indexed, and another run does the rest."""

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

    async def run(self, since: int, until: int | None) -> dict[str, Any]:
        """Index the records from `since` to `until`, milliseconds since the epoch; what became of them.

        Raises KafkaError, LookupFailure.
        """
        settings = self._settings
        self._dead_letter_ids = await dead_letter_topic.read_document_ids(settings, since)
        async with (
            TopicReader(settings, settings.topic_raw, since, until) as held,
            Reindexer(settings, self._client, self._send_dead_letter) as refill,
        ):
            async for value, headers, origin in held:
                await self._index_record(refill, value, headers, origin)
                self._on_progress(held.records_read, held.record_count, refill.outcomes(), refill.problem)
                if self.stop.is_set():
                    break
        return {
            "records": held.records_read,
            "records_refused": self._invalid_records,
            "events": self._events,
            **refill.outcomes(),
            "dropped": dict(self._dropped),
            "interrupted": self.stop.is_set(),
        }

    async def _index_record(self, reindexer: Reindexer, value: bytes, headers: Headers, origin: KafkaPosition) -> None:
        try:
            parcel, _ = self._processor.process(value, headers, origin, time.time_ns())
        except RecordError:
            self._invalid_records += 1  # the worker has dead-lettered it
            return
        self._events += len(parcel.documents) + parcel.dropped.total()
        self._dropped += parcel.dropped
        await reindexer.add(parcel)

    async def _send_dead_letter(self, letter: DeadLetter) -> None:
        """A document that is refused for good: once in the dead-letter topic is enough."""
        if letter.id not in self._dead_letter_ids:
            await dead_letter_topic.produce(self._settings, letter)
            self._dead_letter_ids.add(letter.id)


async def count_by_rules(lookup: DocumentLookup, since: int, until: int | None) -> dict[str, int]:
    """Documents of that time by the digest of the rules that made them; empty: by none. Raises LookupFailure."""
    span = {"gte": since, "format": "epoch_millis", **({"lt": until} if until else {})}
    body = {
        "size": 0,
        "query": {"range": {"event.created": span}},
        "aggs": {"rules": {"terms": {"field": "crisp.rules", "missing": "", "size": 100}}},
    }
    answer = await lookup.search(body)
    return {one["key"]: one["doc_count"] for one in answer.get("aggregations", {}).get("rules", {}).get("buckets", ())}
