"""Sends slices to Kafka and says when they are there: acks=all, idempotent, within a budget of bytes.

Nothing is dropped: a slice that Kafka will not take by itself is reported failed, and the caller reads it again.
"""

import asyncio
import functools
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, ProducerClosed
from aiokafka.partitioner import murmur2

from agents.delivery import compression
from pipeline.config.secrets import SecretFileWatcher
from pipeline.config.settings import KIB, Settings, record_max_bytes
from pipeline.contract import gap
from pipeline.contract.gap import GapRecord
from pipeline.contract.record import Headers, LogSlice, encode
from pipeline.errors import SettingsError
from pipeline.kafka import client

CLOSE_TIMEOUT_SECONDS = 3.0
REQUEST_TIMEOUT_MS = 30_000

DeliveryCallback = Callable[[BaseException | None], None]
"""Called once for each slice: with None when Kafka has it on every in-sync replica, else with the fault.

ProducerClosed says that this publisher was stopped before Kafka answered.
"""

log = logging.getLogger(__name__)


_cached_murmur2: Callable[[bytes], int] = functools.lru_cache(maxsize=16384)(murmur2)
"""In pure Python as it is, it would be the dearest step of a short slice."""


def _choose_partition(key: bytes, partitions: list[int], _available: list[int]) -> int:
    """As Kafka's own clients choose it by default."""
    return partitions[(_cached_murmur2(key) & 0x7FFFFFFF) % len(partitions)]


@dataclass(slots=True)
class PartitionState:
    """To one partition: bytes handed over and not answered; since when no answer came, monotonic."""

    in_flight_bytes: int = 0
    unresponsive_since: float = 0.0


class RecordProducer:
    """One producer. `room` is set while more may be handed over; `freed` whenever something was answered.

    Whoever has one that fails for good makes another: a batch that was refused leaves a hole in the numbers by which
    the broker knows what it has, and then it takes nothing more.
    """

    def __init__(self, settings: Settings, batch_bytes: int) -> None:
        self._settings = settings
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._secret_watcher = SecretFileWatcher(settings)
        self._queues: dict[bytes, deque[tuple[bytes, Headers, DeliveryCallback]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._partitions = [0]
        self._partition_states: dict[int, PartitionState] = {}
        self.in_flight = 0
        self.capacity = asyncio.Event()
        self.capacity.set()
        self.acked = asyncio.Event()

    async def start(self) -> None:
        """Connect. Raises KafkaError while no broker can be reached, SettingsError while a secret cannot be read."""
        codec = self._settings.compression
        compression.use_fast_levels()
        producer = AIOKafkaProducer(
            **client.connection(self._settings),
            client_id=f"crisp-ship-{self._settings.node_name}",
            acks="all",
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            max_batch_size=self._batch_bytes + 16 * KIB,
            max_request_size=record_max_bytes(self._settings),
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=200,
            partitioner=_choose_partition,
        )
        # A batch whose partition has no leader waits for one: given up after a while, it would leave a hole.
        producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - it has no setting but the requests' own
        try:
            await producer.start()
            self._partitions = sorted(await producer.partitions_for(self._settings.topic_raw))
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer

    def _partition_state(self, key: bytes) -> PartitionState:
        return self._partition_states.setdefault(_choose_partition(key, self._partitions, []), PartitionState())

    def has_capacity(self, key: bytes) -> bool:
        """Whether more of a key may be handed over: a partition that does not answer must not have all the room.

        Two slices: the client has one request a partition under way, and one that waits.
        """
        return self._partition_state(key).in_flight_bytes < 2 * self._settings.slice_max_bytes

    def unresponsive_seconds(self, *, with_leader: bool = False) -> float:
        """For how many seconds a partition has not answered although it should; `led`: of those with a leader."""
        headless = set(self.leaderless_partitions()) if with_leader else set()
        since = [
            way.unresponsive_since
            for number, way in self._partition_states.items()
            if way.in_flight_bytes and number not in headless
        ]
        return time.monotonic() - min(since) if since else 0.0

    def leaderless_partitions(self) -> list[int]:
        """Partitions for which something waits, and which have no leader as far as is known."""
        if self._producer is None:
            return []
        leader, topic = self._producer.client.cluster.leader_for_partition, self._settings.topic_raw
        waiting = sorted(number for number, way in self._partition_states.items() if way.in_flight_bytes)
        return [number for number in waiting if leader(TopicPartition(topic, number)) in (None, -1)]

    def reload(self) -> None:
        """Have the producer use secrets and certificates whose files have changed."""
        changed = self._secret_watcher.poll()
        if not changed or self._producer is None:
            return
        try:
            client.reload(self._settings, self._producer.client)
        except (SettingsError, OSError) as fault:
            log.error("%s changed, but cannot be used: %s", ", ".join(changed), fault)
        else:
            log.info("%s changed, and is used from now on", ", ".join(changed))

    def send(self, key: bytes, part: LogSlice | GapRecord, on_delivery: DeliveryCallback) -> None:
        """Take a slice, or a gap; those of one key go out in the order in which they were handed over."""
        value, headers = (b"", gap.encode(part)) if isinstance(part, GapRecord) else encode(part)
        way, size = self._partition_state(key), len(value)
        if not way.in_flight_bytes:
            way.unresponsive_since = time.monotonic()
        way.in_flight_bytes += size
        self.in_flight += size
        if self.in_flight >= self._settings.inflight_max_bytes:
            self.capacity.clear()
        lane = self._queues.get(key)
        if lane is not None:
            lane.append((value, headers, on_delivery))
            return
        self._queues[key] = deque([(value, headers, on_delivery)])
        task = asyncio.create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: bytes) -> None:
        """Hand one key's slices to the producer, which blocks while its own queue for the partition is full."""
        lane = self._queues[key]
        while lane:
            value, headers, answer = lane[0]
            try:
                future = await self._produce(key, value, headers)
            except Exception as fault:  # noqa: BLE001 - whatever it is: unanswered, the slice would wait for ever
                self._release(key, len(value))
                answer(fault)
            else:
                future.add_done_callback(functools.partial(self._on_delivered, key, len(value), answer))
            lane.popleft()
        del self._queues[key]

    async def _produce(self, key: bytes, value: bytes, headers: Headers) -> asyncio.Future[Any]:
        assert self._producer is not None, "start first"
        while True:
            try:
                future: asyncio.Future[Any] = await self._producer.send(
                    self._settings.topic_raw, value=value, key=key, headers=headers
                )
                return future
            except KafkaTimeoutError as fault:
                log.warning("Kafka takes nothing for the moment, tried again for ever: %s", fault)

    def _on_delivered(self, key: bytes, size: int, answer: DeliveryCallback, future: asyncio.Future[Any]) -> None:
        self._release(key, size)
        answer(asyncio.CancelledError() if future.cancelled() else future.exception())

    def _release(self, key: bytes, size: int) -> None:
        way = self._partition_state(key)
        way.in_flight_bytes -= size
        way.unresponsive_since = time.monotonic()
        self.in_flight -= size
        self.acked.set()
        if self.in_flight < self._settings.inflight_max_bytes:
            self.capacity.set()

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
        await self._close_now(producer)

    async def _close_now(self, producer: AIOKafkaProducer) -> None:
        """Close a producer at once, whatever it waits for; left alone, it would go on trying beside the next one."""
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - it has no such thing as a hard stop
        for task in self._tasks:
            task.cancel()
        for close in (producer.client.close, producer.stop, producer.client.close):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await close()
            except Exception as fault:  # noqa: BLE001 - it stumbles over batches that it was to send again
                log.debug("a producer did not end well: %r", fault)
