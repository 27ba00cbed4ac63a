"""Sends slices to Kafka and reports their acknowledgement: acks=all, idempotent, within a budget of bytes in flight.

Nothing is dropped: a slice that Kafka rejects is reported as failed, and the caller reads it again.
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
"""Called once for each record: with None when every in-sync replica has it, else with the error.

ProducerClosed: this producer was stopped before Kafka acknowledged the record.
"""

log = logging.getLogger(__name__)


_cached_murmur2: Callable[[bytes], int] = functools.lru_cache(maxsize=16384)(murmur2)
"""In pure Python, murmur2 would be the most expensive step of a short slice."""


def _choose_partition(key: bytes, partitions: list[int], _available: list[int]) -> int:
    """Choose the partition as Kafka's own clients do by default."""
    return partitions[(_cached_murmur2(key) & 0x7FFFFFFF) % len(partitions)]


@dataclass(slots=True)
class PartitionState:
    """Of one partition: the unacknowledged bytes, and since when it has not responded, monotonic seconds."""

    in_flight_bytes: int = 0
    waiting_since: float = 0.0


class RecordProducer:
    """One idempotent producer. `capacity` is set while more may be sent; `acked` at every response.

    A producer that failed permanently must be replaced: a rejected batch leaves a hole in its sequence numbers, and
    the broker rejects every later batch.
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
        """Connect. Raises KafkaError if no broker is reachable, SettingsError if a secret cannot be read."""
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
        # A batch waits for a leader of its partition without limit: dropped after a timeout, it would leave a hole.
        producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - its only setting is the request timeout
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
        """Return whether more of a key may be sent: one unresponsive partition must not use the whole budget.

        The limit is two slices: per partition the client has one request in flight, and one that waits.
        """
        return self._partition_state(key).in_flight_bytes < 2 * self._settings.slice_max_bytes

    def unresponsive_seconds(self, *, with_leader: bool = False) -> float:
        """Return for how long a partition has not responded, in seconds; `with_leader`: skip leaderless partitions."""
        leaderless = set(self.leaderless_partitions()) if with_leader else set()
        since = [
            state.waiting_since
            for number, state in self._partition_states.items()
            if state.in_flight_bytes and number not in leaderless
        ]
        return time.monotonic() - min(since) if since else 0.0

    def leaderless_partitions(self) -> list[int]:
        """Return the partitions with waiting records and no known leader."""
        if self._producer is None:
            return []
        leader, topic = self._producer.client.cluster.leader_for_partition, self._settings.topic_raw
        waiting = sorted(number for number, state in self._partition_states.items() if state.in_flight_bytes)
        return [number for number in waiting if leader(TopicPartition(topic, number)) in (None, -1)]

    def reload(self) -> None:
        """Reload secrets and certificates whose files have changed."""
        changed = self._secret_watcher.poll()
        if not changed or self._producer is None:
            return
        try:
            client.reload(self._settings, self._producer.client)
        except (SettingsError, OSError) as error:
            log.error("cannot reload %s: %s", ", ".join(changed), error)
        else:
            log.info("reloaded %s", ", ".join(changed))

    def send(self, key: bytes, item: LogSlice | GapRecord, on_delivery: DeliveryCallback) -> None:
        """Send a slice or a gap; the records of one key keep their order."""
        value, headers = (b"", gap.encode(item)) if isinstance(item, GapRecord) else encode(item)
        state, size = self._partition_state(key), len(value)
        if not state.in_flight_bytes:
            state.waiting_since = time.monotonic()
        state.in_flight_bytes += size
        self.in_flight += size
        if self.in_flight >= self._settings.inflight_max_bytes:
            self.capacity.clear()
        queue = self._queues.get(key)
        if queue is not None:
            queue.append((value, headers, on_delivery))
            return
        self._queues[key] = deque([(value, headers, on_delivery)])
        task = asyncio.create_task(self._drain(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, key: bytes) -> None:
        """Pass one key's records to the client, which blocks while its own queue for the partition is full."""
        queue = self._queues[key]
        while queue:
            value, headers, on_delivery = queue[0]
            try:
                future = await self._produce(key, value, headers)
            except Exception as error:  # noqa: BLE001 - without a callback the slice would wait indefinitely
                self._release(key, len(value))
                on_delivery(error)
            else:
                future.add_done_callback(functools.partial(self._on_delivered, key, len(value), on_delivery))
            queue.popleft()
        del self._queues[key]

    async def _produce(self, key: bytes, value: bytes, headers: Headers) -> asyncio.Future[Any]:
        assert self._producer is not None, "start first"
        while True:
            try:
                future: asyncio.Future[Any] = await self._producer.send(
                    self._settings.topic_raw, value=value, key=key, headers=headers
                )
                return future
            except KafkaTimeoutError as error:
                log.warning("Kafka produce timed out; retrying: %s", error)

    def _on_delivered(self, key: bytes, size: int, on_delivery: DeliveryCallback, future: asyncio.Future[Any]) -> None:
        self._release(key, size)
        on_delivery(asyncio.CancelledError() if future.cancelled() else future.exception())

    def _release(self, key: bytes, size: int) -> None:
        state = self._partition_state(key)
        state.in_flight_bytes -= size
        state.waiting_since = time.monotonic()
        self.in_flight -= size
        self.acked.set()
        if self.in_flight < self._settings.inflight_max_bytes:
            self.capacity.set()

    async def stop(self, grace_seconds: float) -> None:
        """Flush for up to `grace_seconds`, and disconnect; unacknowledged records get ProducerClosed."""
        if self._producer is None:
            return
        try:
            async with asyncio.timeout(grace_seconds):
                while self._tasks:
                    await asyncio.wait(self._tasks)
                await self._producer.flush()
        except TimeoutError:
            log.warning("Kafka did not acknowledge in time: unacknowledged records are sent again")
        producer, self._producer = self._producer, None
        await self._close_now(producer)

    async def _close_now(self, producer: AIOKafkaProducer) -> None:
        """Close a producer at once: otherwise it would go on retrying next to its successor."""
        producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - there is no hard stop
        for task in self._tasks:
            task.cancel()
        for close in (producer.client.close, producer.stop, producer.client.close):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await close()
            except Exception as error:  # noqa: BLE001 - batches to be retried make it fail
                log.debug("cannot close a producer cleanly: %r", error)
