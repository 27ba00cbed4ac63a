"""Fills the ledger of fields: documents from the raw topic, types, ignored and rejected values from the indices."""

import asyncio
from collections.abc import Callable

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.documents.record_processor import RecordProcessor
from pipeline.errors import RecordError
from pipeline.kafka.topic_reader import TopicReader
from pipeline.operations.inspect.field_ledger import FieldLedger
from pipeline.operations.inspect.index_fields import IndexFields
from pipeline.rules.ruleset import Ruleset

OnProgress = Callable[[int, int], None]
"""Called with the number of records read and their total."""


class FieldScan:
    """One run. `stop` ends the reading of the topic early; `truncated`: see `IndexFields`."""

    def __init__(self, settings: Settings, rules: Ruleset | None, ledger: FieldLedger) -> None:
        self.ledger = ledger
        self.records = 0
        self.truncated = False
        self.stop = asyncio.Event()
        self._settings = settings
        self._processor = RecordProcessor(settings, rules)

    async def run(self, client: AsyncElasticsearch, since: int, until: int | None, on_progress: OnProgress) -> None:
        """Read from `since` to `until`, milliseconds since the epoch. Raises KafkaError, CrispError."""
        await self._read_topic(since, until, on_progress)
        indices = IndexFields(client, self._settings, since, until)
        self.ledger.add_ignored(await indices.ignored())
        self.ledger.add_rejected(await indices.rejected())
        self.ledger.add_types(await indices.types())
        self.truncated = indices.truncated

    async def _read_topic(self, since: int, until: int | None, on_progress: OnProgress) -> None:
        async with TopicReader(self._settings, self._settings.topic_raw, since, until) as reader:
            async for value, headers, origin in reader.slices():
                self.records = reader.records_read
                try:
                    batch, _ = self._processor.process(value, headers, origin, origin.timestamp * 10**6)
                except RecordError:
                    continue  # the worker dead-letters it: `crisp dead-letters` lists it
                self.ledger.add(batch)
                on_progress(reader.records_read, reader.record_count)
                if self.stop.is_set():
                    break
