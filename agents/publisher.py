"""Sends slices to Kafka and says when they are there: acks=all, idempotent, within a budget of bytes.

Nothing is dropped: a slice that Kafka will not take by itself is reported failed, and the caller reads it again.
"""

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaTimeoutError, ProducerClosed
from aiokafka.partitioner import murmur2

from agents import compression
from pipeline import gap, kafka_client
from pipeline.errors import SettingsError
from pipeline.gap import GapRecord
from pipeline.record import Headers, LogSlice, encode
from pipeline.secretfile import Watched
from pipeline.settings import KIB, Settings, record_max_bytes

ABANDON_SECONDS = 3.0
REQUEST_MS = 30_000

Answer = Callable[[BaseException | None], None]
"""Called once for each slice: with None when Kafka has it on every in-sync replica, else with the fault.

ProducerClosed says that this publisher was stopped before Kafka answered.
"""

log = logging.getLogger(__name__)


_hash: Callable[[bytes], int] = functools.lru_cache(maxsize=16384)(murmur2)
"""In pure Python as it is, it would be the dearest step of a short slice."""


def _partition(key: bytes, partitions: list[int], _available: list[int]) -> int:
    """As Kafka's own clients choose it by default."""
    return partitions[(_hash(key) & 0x7FFFFFFF) % len(partitions)]


class Publisher:
    """One producer. Whoever has one that fails for good makes another: a batch that was refused leaves a hole in the
    numbers by which the broker knows what it has, and then it takes nothing more.
    """

    def __init__(self, settings: Settings, batch_bytes: int) -> None:
        self._settings = settings
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._watched = Watched(settings)
        self._lanes: dict[bytes, deque[tuple[bytes, Headers, Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.room = asyncio.Event()
        self.room.set()

    async def start(self) -> None:
        """Connect. Raises KafkaError while no broker can be reached, SettingsError while a secret cannot be read."""
        codec = self._settings.compression
        compression.lighten()
        producer = AIOKafkaProducer(
            **kafka_client.connection(self._settings),
            client_id=f"crisp-ship-{self._settings.node_name}",
            acks="all",
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            max_batch_size=self._batch_bytes + 16 * KIB,
            max_request_size=record_max_bytes(self._settings),
            request_timeout_ms=REQUEST_MS,
            retry_backoff_ms=200,
            partitioner=_partition,
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    def renew(self) -> None:
        """Have the producer use secrets and certificates whose files have changed."""
        changed = self._watched.changed()
        if not changed or self._producer is None:
            return
        try:
            kafka_client.renew(self._settings, self._producer.client)
        except (SettingsError, OSError) as fault:
            log.error("%s changed, but cannot be used: %s", ", ".join(changed), fault)
        else:
            log.info("%s changed, and is used from now on", ", ".join(changed))

    def hand_over(self, key: bytes, part: LogSlice | GapRecord, answer: Answer) -> None:
        """Take a slice, or a gap; those of one key go out in the order in which they were handed over."""
        value, headers = (b"", gap.encode(part)) if isinstance(part, GapRecord) else encode(part)
        self.in_flight += len(value)
        if self.in_flight >= self._settings.inflight_max_bytes:
            self.room.clear()
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append((value, headers, answer))
            return
        self._lanes[key] = deque([(value, headers, answer)])
        task = asyncio.create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: bytes) -> None:
        """Hand one key's slices to the producer, which blocks while its own queue for the partition is full."""
        lane = self._lanes[key]
        while lane:
            value, headers, answer = lane[0]
            try:
                future = await self._send(key, value, headers)
            except Exception as fault:  # noqa: BLE001 - whatever it is: unanswered, the slice would wait for ever
                self._settle(len(value))
                answer(fault)
            else:
                future.add_done_callback(functools.partial(self._answered, len(value), answer))
            lane.popleft()
        del self._lanes[key]

    async def _send(self, key: bytes, value: bytes, headers: Headers) -> asyncio.Future[Any]:
        assert self._producer is not None, "start first"
        while True:
            try:
                future: asyncio.Future[Any] = await self._producer.send(
                    self._settings.topic_raw, value=value, key=key, headers=headers
                )
                return future
            except KafkaTimeoutError as fault:
                log.warning("Kafka takes nothing for the moment, tried again for ever: %s", fault)

    def _answered(self, size: int, answer: Answer, future: asyncio.Future[Any]) -> None:
        self._settle(size)
        answer(asyncio.CancelledError() if future.cancelled() else future.exception())

    def _settle(self, size: int) -> None:
        self.in_flight -= size
        if self.in_flight < self._settings.inflight_max_bytes:
            self.room.set()

    async def stop(self, grace_seconds: float) -> None:
        """Flush what was handed over, `grace_seconds` at most, and disconnect; the rest is answered ProducerClosed."""
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
                await self._producer.flush()
        except TimeoutError:
            log.warning("Kafka did not answer in time: what is not acknowledged is sent again")
        producer, self._producer = self._producer, None
        await self._abandon(producer)

    async def _abandon(self, producer: AIOKafkaProducer) -> None:
        """Close a producer at once, whatever it waits for; left alone, it would go on trying beside the next one."""
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - it has no such thing as a hard stop
        for task in self._tasks:
            task.cancel()
        for close in (producer.client.close, producer.stop, producer.client.close):
            try:
                async with asyncio.timeout(ABANDON_SECONDS):
                    await close()
            except Exception as fault:  # noqa: BLE001 - it stumbles over batches that it was to send again
                log.debug("a producer did not end well: %r", fault)
