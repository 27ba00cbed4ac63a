"""The records that a topic holds between two moments, read without a consumer group: nobody's offsets move."""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.config.settings import Settings
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.kafka import client

POLL_TIMEOUT_MS = 1000


class TopicReader:
    """From `since` to `until`, milliseconds since the epoch (None: all there is); ends where the topic ends now."""

    def __init__(self, settings: Settings, topic: str, since: int | None = None, until: int | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._since = since
        self._until = until
        self.record_count = 0
        self.records_read = 0

    async def __aenter__(self) -> "TopicReader":
        """Raises KafkaError, also when there is no such topic."""
        numbers = await client.partitions(self._settings, self._topic)
        partitions = [TopicPartition(self._topic, number) for number in numbers]
        self._consumer = AIOKafkaConsumer(
            **client.connection(self._settings), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await self._consumer.start()
        self._consumer.assign(partitions)
        starts = await self._consumer.beginning_offsets(partitions)
        self._ends = await self._consumer.end_offsets(partitions)
        starts = await self._offsets_at(self._since, starts)
        self._ends = await self._offsets_at(self._until, self._ends)
        for one in partitions:
            self._consumer.seek(one, starts[one])
        self.record_count = sum(max(0, self._ends[one] - starts[one]) for one in partitions)
        return self

    async def _offsets_at(self, timestamp: int | None, default: dict[Any, int]) -> dict[Any, int]:
        """The offset of the first record of that moment or later, by partition."""
        if timestamp is None:
            return default
        found = await self._consumer.offsets_for_times(dict.fromkeys(default, timestamp))
        return {one: found[one].offset if found[one] else self._ends[one] for one in default}

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator[tuple[bytes, Headers, KafkaPosition]]:
        """Value, headers and place of each record."""
        consumer = self._consumer
        while left := [one for one, end in self._ends.items() if await consumer.position(one) < end]:
            for one, messages in (await consumer.getmany(*left, timeout_ms=POLL_TIMEOUT_MS)).items():
                for message in messages:
                    if message.offset < self._ends[one]:
                        self.records_read += 1
                        headers = [(str(name), data or b"") for name, data in message.headers]
                        yield (
                            message.value or b"",
                            headers,
                            KafkaPosition(one.topic, one.partition, message.offset, message.timestamp),
                        )


async def committed_offsets(settings: Settings) -> dict[int, int]:
    """What the workers' group has committed of the raw topic, by partition. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**client.connection(settings))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(settings.kafka_group)
    finally:
        await admin.close()
    return {tp.partition: at.offset for tp, at in found.items() if tp.topic == settings.topic_raw and at.offset >= 0}
