"""Dead letters sent again, as a worker would send them; what is searchable by now is not."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.builder import DocumentBatch
from pipeline.documents.record_processor import RecordProcessor
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.operations.reindex import dead_letter_summary
from pipeline.operations.reindex.reindexer import Reindexer

OnProgress = Callable[[int, dict[str, int], str], None]
"""Shows the progress: letters read, documents by outcome, and what is in the way."""


class DeadLetterRetry:
    """One run. `stop` ends it early. The topic stays as it is."""

    def __init__(
        self, settings: Settings, client: AsyncElasticsearch, processor: RecordProcessor, on_progress: OnProgress
    ) -> None:
        self._settings = settings
        self._client = client
        self._processor = processor
        self._on_progress = on_progress
        self._rejected: Counter[str] = Counter()
        self.stop = asyncio.Event()

    async def run(self, since: int | None) -> dict[str, Any]:
        """Send every letter again that is not searchable; what became of them. Raises KafkaError, LookupFailure."""
        read, met, strange = 0, set[tuple[str, ...]](), 0
        async with Reindexer(self._settings, self._client, self._count_rejection) as refill:
            async for letter, _ in dead_letter_topic.read_dead_letters(self._settings, since):
                if letter is None:
                    strange += 1
                elif not dead_letter_summary.is_repeated(letter, met):
                    read += 1
                    await self._retry(refill, letter)
                self._on_progress(read, refill.outcomes(), refill.problem)
                if self.stop.is_set():
                    break
        return {
            "letters": read,
            "strange": strange,
            **{name: number for name, number in refill.outcomes().items() if name != "dead_lettered"},
            "refused_again": self._rejected.total(),
            "reasons": dict(self._rejected),
            "interrupted": self.stop.is_set(),
        }

    async def _retry(self, reindexer: Reindexer, letter: DeadLetter) -> None:
        if letter.id:
            await reindexer.add(_document_batch(letter))
            return
        try:
            parcel, _ = self._processor.process(letter.value, letter.headers, letter.origin, time.time_ns())
        except RecordError as fault:
            self._rejected[dead_letter_summary.normalize_reason(str(fault))] += 1
            return
        await reindexer.add(parcel)

    async def _count_rejection(self, letter: DeadLetter) -> None:
        """Refused again: its letter lies there already."""
        self._rejected[dead_letter_summary.normalize_reason(letter.reason)] += 1


def _document_batch(letter: DeadLetter) -> DocumentBatch:
    """A document's letter as the worker had it."""
    action = orjson.dumps({"create": {"_index": letter.index, "_id": letter.id}})
    document = b"%b\n%b\n" % (action, letter.value)
    indices = frozenset({letter.index})
    return DocumentBatch(
        [document], len(document), indices, {}, Counter(), origin=letter.origin, headers=letter.headers
    )
