"""The records that a topic holds between two moments, read without a consumer group: nobody's offsets move."""

from collections.abc import AsyncIterator
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.config.settings import Settings
from pipeline.contract.record import Headers, Origin
from pipeline.kafka import client

WAIT_MS = 1000


class TopicRange:
    """From `since` to `until`, milliseconds since the epoch (None: all there is); ends where the topic ends now."""

    def __init__(self, settings: Settings, topic: str, since: int | None = None, until: int | None = None) -> None:
        self._settings = settings
        self._topic = topic
        self._since = since
        self._until = until
        self.size = 0
        self.read = 0

    async def __aenter__(self) -> "TopicRange":
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
        starts = await self._at(self._since, starts)
        self._ends = await self._at(self._until, self._ends)
        for one in partitions:
            self._consumer.seek(one, starts[one])
        self.size = sum(max(0, self._ends[one] - starts[one]) for one in partitions)
        return self

    async def _at(self, moment: int | None, else_: dict[Any, int]) -> dict[Any, int]:
        """The offset of the first record of that moment or later, by partition."""
        if moment is None:
            return else_
        found = await self._consumer.offsets_for_times(dict.fromkeys(else_, moment))
        return {one: found[one].offset if found[one] else self._ends[one] for one in else_}

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def __aiter__(self) -> AsyncIterator[tuple[bytes, Headers, Origin]]:
        """Value, headers and place of each record."""
        consumer = self._consumer
        while left := [one for one, end in self._ends.items() if await consumer.position(one) < end]:
            for one, messages in (await consumer.getmany(*left, timeout_ms=WAIT_MS)).items():
                for message in messages:
                    if message.offset < self._ends[one]:
                        self.read += 1
                        headers = [(str(name), data or b"") for name, data in message.headers]
                        yield (
                            message.value or b"",
                            headers,
                            Origin(one.topic, one.partition, message.offset, message.timestamp),
                        )


async def committed(settings: Settings) -> dict[int, int]:
    """What the workers' group has committed of the raw topic, by partition. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**client.connection(settings))
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(settings.kafka_group)
    finally:
        await admin.close()
    return {tp.partition: at.offset for tp, at in found.items() if tp.topic == settings.topic_raw and at.offset >= 0}
