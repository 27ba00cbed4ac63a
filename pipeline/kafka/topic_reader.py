"""Reads the records of a topic between two times, without a consumer group: no committed offset changes."""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.config.settings import KafkaSettings
from pipeline.contract import bundle
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.kafka import client

POLL_TIMEOUT_MS = 1000


class TopicReader:
    """Records from `since` to `until`, ms since the epoch (None: no limit); stops at the current end offsets."""

    def __init__(self, settings: KafkaSettings, topic: str, since: int | None = None, until: int | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._since = since
        self._until = until
        self.record_count = 0
        self.records_read = 0

    async def __aenter__(self) -> "TopicReader":
        """Find the offsets. Raises KafkaError, also if the topic does not exist."""
        numbers = await client.partitions(self._settings, self._topic)
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        self._consumer = AIOKafkaConsumer(
            **client.connection(self._settings), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        try:
            await self._consumer.start()
            await self._seek_to_start(partitions)
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def _seek_to_start(self, partitions: list[Any]) -> None:
        self._consumer.assign(partitions)
        starts = await self._consumer.beginning_offsets(partitions)
        self._ends = await self._consumer.end_offsets(partitions)
        starts = await self._offsets_at(self._since, starts)
        self._ends = await self._offsets_at(self._until, self._ends)
        for tp in partitions:
            self._consumer.seek(tp, starts[tp])
        self.record_count = sum(max(0, self._ends[tp] - starts[tp]) for tp in partitions)

    async def _offsets_at(self, timestamp: int | None, default: dict[Any, int]) -> dict[Any, int]:
        """The offset of the first record at or after the timestamp, by partition."""
        if timestamp is None:
            return default
        offsets = await self._consumer.offsets_for_times(dict.fromkeys(default, timestamp))
        return {tp: offsets[tp].offset if offsets[tp] else self._ends[tp] for tp in default}

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator[tuple[bytes, Headers, KafkaPosition]]:
        """Value, headers and position of each record."""
        consumer = self._consumer
        while unfinished := [tp for tp, end in self._ends.items() if await consumer.position(tp) < end]:
            for tp, records in (await consumer.getmany(*unfinished, timeout_ms=POLL_TIMEOUT_MS)).items():
                for record in records:
                    if record.offset < self._ends[tp]:
                        self.records_read += 1
                        headers = [(str(name), data or b"") for name, data in record.headers]
                        yield (
                            record.value or b"",
                            headers,
                            KafkaPosition(tp.topic, tp.partition, record.offset, record.timestamp),
                        )

    async def slices(self) -> AsyncIterator[tuple[bytes, Headers, KafkaPosition]]:
        """Value, headers and position of each record; of a bundle those of its parts, as records of one slice."""
        async for value, headers, position in self:
            for part_value, part_headers in bundle.expand(value, headers):
                yield part_value, part_headers, position


async def committed_offsets(settings: KafkaSettings) -> dict[int, int]:
    """The offsets that the workers' group has committed on the raw topic, by partition. Raises KafkaError."""
    async with client.admin_client(settings) as admin:
        offsets = await admin.list_consumer_group_offsets(settings.kafka_group)
    return {
        tp.partition: metadata.offset
        for tp, metadata in offsets.items()
        if tp.topic == settings.topic_raw and metadata.offset >= 0
    }
