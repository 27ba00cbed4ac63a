"""Retries dead letters by the worker's own code; documents that are indexed meanwhile are skipped."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract import bundle
from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.batch import Document, from_documents
from pipeline.documents.record_processor import RecordProcessor
from pipeline.errors import RecordError
from pipeline.kafka import dead_letter_topic
from pipeline.operations.reindex import dead_letter_summary
from pipeline.operations.reindex.reindexer import Reindexer

OnProgress = Callable[[int, dict[str, int], str], None]
"""Called with the number of dead letters read, documents by outcome, and the current problem."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOutcome:
    """What a retry did: dead letters, documents by outcome, those rejected again and why."""

    dead_letters: int
    invalid_records: int
    created: int
    fallback: int
    extended: int
    duplicate: int
    rejected_again: int
    reasons: dict[str, int]
    interrupted: bool


class DeadLetterRetry:
    """One run. `stop` ends it early. The topic is not changed."""

    def __init__(
        self, settings: Settings, client: AsyncElasticsearch, processor: RecordProcessor, on_progress: OnProgress
    ) -> None:
        self._settings = settings
        self._client = client
        self._processor = processor
        self._on_progress = on_progress
        self._rejected: Counter[str] = Counter()
        self.stop = asyncio.Event()

    async def run(self, since: int | None) -> RetryOutcome:
        """Retry every dead letter that is not indexed; return the outcomes. Raises KafkaError, DocumentLookupError."""
        read, seen, invalid = 0, set[tuple[str, ...]](), 0
        async with Reindexer(self._settings, self._client, self._count_rejection) as reindexer:
            async for dead_letter, _ in dead_letter_topic.read_dead_letters(self._settings, since):
                if dead_letter is None:
                    invalid += 1
                elif not dead_letter_summary.is_repeated(dead_letter, seen):
                    read += 1
                    await self._retry(reindexer, dead_letter)
                self._on_progress(read, reindexer.outcomes(), reindexer.problem)
                if self.stop.is_set():
                    break
        return RetryOutcome(
            dead_letters=read,
            invalid_records=invalid,
            **{name: count for name, count in reindexer.outcomes().items() if name != "dead_lettered"},
            rejected_again=self._rejected.total(),
            reasons=dict(self._rejected),
            interrupted=self.stop.is_set(),
        )

    async def _retry(self, reindexer: Reindexer, dead_letter: DeadLetter) -> None:
        if dead_letter.incomplete:
            reason = f"not whole, without {dead_letter.incomplete}: see dead-source; first rejected for: "
            self._rejected[dead_letter_summary.normalize_reason(reason + dead_letter.reason)] += 1
            return
        if dead_letter.id:
            document = Document(dead_letter.index, dead_letter.id, dead_letter.value)
            await reindexer.add(from_documents([document], dead_letter.origin, dead_letter.headers))
            return
        # A bundle is dead-lettered as a whole by a worker that does not know its version.
        for value, headers in bundle.expand(dead_letter.value, dead_letter.headers):
            try:
                batch, _ = self._processor.process(value, headers, dead_letter.origin, time.time_ns())
            except RecordError as error:
                self._rejected[dead_letter_summary.normalize_reason(str(error))] += 1
            else:
                await reindexer.add(batch)

    async def _count_rejection(self, dead_letter: DeadLetter) -> None:
        """Count a document that is rejected again; it is in the dead-letter topic already."""
        self._rejected[dead_letter_summary.normalize_reason(dead_letter.reason)] += 1
