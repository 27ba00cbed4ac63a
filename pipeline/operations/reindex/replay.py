"""A range of the raw topic indexed again: the worker's intake and indexer, nobody's offsets moved."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import Headers, Origin
from pipeline.documents.record_processor import Intake
from pipeline.elasticsearch.id_lookup import Lookup
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.kafka.topic_reader import TopicRange
from pipeline.operations.reindex.reindexer import Refill

Tell = Callable[[int, int, dict[str, int], str], None]
"""Shows the progress: records read, of how many, documents by outcome, and what is in the way."""


class Replay:
    """One run. `stop` ends it early; what was read until then is indexed, and another run does the rest."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, intake: Intake, tell: Tell) -> None:
        self._settings = settings
        self._client = client
        self._intake = intake
        self._tell = tell
        self._dropped: Counter[str] = Counter()
        self._events = 0
        self._refused = 0
        self._dead: set[str] = set()
        self.stop = asyncio.Event()

    async def run(self, since: int, until: int | None) -> dict[str, Any]:
        """Index the records from `since` to `until`, milliseconds since the epoch; what became of them.

        Raises KafkaError, LookupFailure.
        """
        settings = self._settings
        self._dead = await dead_letter_topic.ids(settings, since)
        async with (
            TopicRange(settings, settings.topic_raw, since, until) as held,
            Refill(settings, self._client, self._bury) as refill,
        ):
            async for value, headers, origin in held:
                await self._record(refill, value, headers, origin)
                self._tell(held.read, held.size, refill.outcomes(), refill.trouble)
                if self.stop.is_set():
                    break
        return {
            "records": held.read,
            "records_refused": self._refused,
            "events": self._events,
            **refill.outcomes(),
            "dropped": dict(self._dropped),
            "interrupted": self.stop.is_set(),
        }

    async def _record(self, refill: Refill, value: bytes, headers: Headers, origin: Origin) -> None:
        try:
            parcel, _ = self._intake.of(value, headers, origin, time.time_ns())
        except RecordError:
            self._refused += 1  # the worker has dead-lettered it
            return
        self._events += len(parcel.documents) + parcel.dropped.total()
        self._dropped += parcel.dropped
        await refill.take(parcel)

    async def _bury(self, letter: DeadLetter) -> None:
        """A document that is refused for good: once in the dead-letter topic is enough."""
        if letter.id not in self._dead:
            await dead_letter_topic.bury(self._settings, letter)
            self._dead.add(letter.id)


async def rules_met(lookup: Lookup, since: int, until: int | None) -> dict[str, int]:
    """Documents of that time by the digest of the rules that made them; empty: by none. Raises LookupFailure."""
    span = {"gte": since, "format": "epoch_millis", **({"lt": until} if until else {})}
    body = {
        "size": 0,
        "query": {"range": {"event.created": span}},
        "aggs": {"rules": {"terms": {"field": "crisp.rules", "missing": "", "size": 100}}},
    }
    answer = await lookup.search(body)
    return {one["key"]: one["doc_count"] for one in answer.get("aggregations", {}).get("rules", {}).get("buckets", ())}
