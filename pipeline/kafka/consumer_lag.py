"""The lag of the workers' consumer group on the raw topic, read by a consumer that does not join the group.

In records: end offset minus committed offset. In seconds: the age of the first record that is not committed; the
record is read if its age is unknown.
"""

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from pipeline.config.settings import KafkaSettings
from pipeline.kafka import client

_FETCH_MS = 1000


class Lag(NamedTuple):
    """Offsets of one partition: the first record that is not committed, the end, the beginning of the retained log.

    `seconds` is the age of the first record that is not committed; None if it could not be read.
    """

    first: int
    end: int
    begin: int
    seconds: float | None

    @property
    def records(self) -> int:
        """Records that are not committed."""
        return self.end - self.first


class RetentionUse(NamedTuple):
    """The share of a partition's retention that its lag has used: beyond 1, records expire that are not consumed.

    `limit`: which retention that is, "time" or "size". `ratio` is None if the age of the oldest record is unknown.
    """

    ratio: float | None
    limit: str


def retention_use(lag: Lag, lag_bytes: float, settings: KafkaSettings) -> RetentionUse:
    """The use of the retention by time or by size, whichever is larger. `lag_bytes`: raw bytes, estimated.

    Kafka's limit is on compressed bytes, whose number is not known: the raw bytes are their upper bound. Once Kafka
    deletes records by retention, the lag's share of the retained records is an upper bound too.
    """
    if not lag.records:
        return RetentionUse(0.0, "time")
    age = None if lag.seconds is None else lag.seconds / settings.topic_retention_seconds
    if settings.topic_retention_bytes:
        size = lag_bytes / settings.topic_retention_bytes
        if lag.begin:
            size = min(size, lag.records / (lag.end - lag.begin))
        if age is None or size > age:
            return RetentionUse(size, "size")
    return RetentionUse(age, "time")


class LagReader:
    """Reads the lag from Kafka. `start` and `read` raise KafkaError."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._consumer = AIOKafkaConsumer(
            **client.connection(settings),
            group_id=settings.kafka_group,
            client_id="crisp-lag",
            enable_auto_commit=False,
            max_partition_fetch_bytes=1024,  # the first batch of a partition is returned whatever its size
        )

    async def start(self) -> None:
        """Connect."""
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise

    async def stop(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def read(
        self,
        partitions: Collection[int] | None = None,
        times: Mapping[int, float] | None = None,
        *,
        ages: bool = True,
    ) -> dict[int, Lag]:
        """The lag of these partitions, or of all.

        `times` has the write time of the oldest record, by partition, if known, in seconds since the epoch. Without
        `ages`, missing times are not read.
        """
        numbers = await client.partitions(self._settings, self._settings.topic_raw) if partitions is None else ()
        wanted = [TopicPartition(self._settings.topic_raw, number) for number in partitions or numbers]
        if not wanted:
            return {}
        committed = {tp: await self._consumer.committed(tp) for tp in wanted}
        begins = await self._consumer.beginning_offsets(wanted)
        ends = await self._consumer.end_offsets(wanted)
        firsts = {tp: min(ends[tp], max(begins[tp], committed[tp] or 0)) for tp in wanted}
        written = dict(times or {})
        unknown = [tp for tp in wanted if firsts[tp] < ends[tp] and tp.partition not in written]
        written |= await self._write_times({tp: firsts[tp] for tp in unknown}) if unknown and ages else {}
        now = time.time()
        return {
            tp.partition: Lag(
                firsts[tp], ends[tp], begins[tp], _age(ends[tp] - firsts[tp], written.get(tp.partition), now)
            )
            for tp in wanted
        }

    async def _write_times(self, offsets: dict[TopicPartition, int]) -> dict[int, float]:
        """The write times of the records at these offsets, in seconds since the epoch, by partition."""
        self._consumer.assign(list(offsets))
        for tp, offset in offsets.items():
            self._consumer.seek(tp, offset)
        times: dict[int, float] = {}
        limit = time.monotonic() + _FETCH_MS / 1000
        while len(times) < len(offsets) and time.monotonic() < limit:
            for tp, records in (await self._consumer.getmany(timeout_ms=_FETCH_MS // 5)).items():
                times.setdefault(tp.partition, records[0].timestamp / 1000)
        self._consumer.unsubscribe()
        return times


def _age(records: int, written: float | None, now: float) -> float | None:
    if not records:
        return 0.0
    return None if written is None else max(0.0, now - written)


async def read_lag(settings: KafkaSettings, *, ages: bool = True) -> dict[int, Lag]:
    """The lag of every partition. Raises KafkaError."""
    reader = LagReader(settings)
    await reader.start()
    try:
        return await reader.read(ages=ages)
    finally:
        await reader.stop()
