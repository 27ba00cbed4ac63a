"""Sends records to Kafka and reports their acknowledgement: acks=all, idempotent.

Nothing is dropped: a record that Kafka rejects is reported as failed, and the caller reads it again.
"""

import asyncio
import functools
import itertools
import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError, ProducerClosed

from agents.delivery import compression
from agents.delivery.partitioner import choose_partition
from pipeline.config import secrets
from pipeline.config.secrets import SecretFileWatcher
from pipeline.config.settings import KIB, ShipperSettings
from pipeline.contract.record import Headers
from pipeline.errors import SettingsError
from pipeline.kafka import client

CLOSE_TIMEOUT_SECONDS = 3.0
REQUEST_TIMEOUT_MS = 30_000
METADATA_MAX_AGE_MS = 30_000
"""Changes of the topic's partitions are noticed after this."""

DeliveryCallback = Callable[[BaseException | None], None]
"""Called once for each record: with None when every in-sync replica has it, else with the error.

ProducerClosed: this producer was stopped before Kafka acknowledged the record.
"""

log = logging.getLogger(__name__)


class Producer(Protocol):
    """One idempotent producer of the raw topic.

    A producer that failed permanently must be replaced: a rejected batch leaves a hole in its sequence numbers, and
    the broker rejects every later batch.
    """

    async def start(self) -> list[int]:
        """Connect; return the partitions of the topic.

        Raises KafkaError if no broker is reachable, SettingsError if a secret cannot be read.
        """

    def send(self, key: bytes, value: bytes, headers: Headers, on_delivery: DeliveryCallback) -> None:
        """Send a record; the records of one key keep their order."""

    def has_leader(self, partition: int) -> bool:
        """Return whether the partition has a leader, as far as is known."""

    def partitions(self) -> list[int]:
        """Return the partitions that the topic has now, as far as is known; empty if it is not known."""

    def reload(self) -> None:
        """Reload secrets and certificates whose files have changed."""

    async def stop(self, grace_seconds: float) -> None:
        """Flush for up to `grace_seconds`, and disconnect; unacknowledged records get ProducerClosed."""


class RecordProducer:
    """The producer of the shipper; see `Producer`. `batch_bytes`: size of the largest slice."""

    def __init__(self, settings: ShipperSettings, batch_bytes: int) -> None:
        self._settings = settings
        self._batch_bytes = batch_bytes
        self._producer: AIOKafkaProducer | None = None
        self._secret_watcher = SecretFileWatcher(secrets.kafka_files(settings))
        self._queues: dict[bytes, deque[tuple[bytes, Headers, DeliveryCallback]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> list[int]:
        """Connect; return the partitions of the topic."""
        codec = self._settings.compression
        compression.use_fast_levels()
        producer = AIOKafkaProducer(
            **client.connection(self._settings),
            client_id=f"crisp-ship-{self._settings.node_name}",
            acks="all",
            enable_idempotence=True,
            compression_type=None if codec == "none" else codec,
            max_batch_size=self._batch_bytes + 16 * KIB,
            max_request_size=self._settings.record_max_bytes,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            retry_backoff_ms=200,
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            partitioner=choose_partition,
        )
        # A batch waits for a leader of its partition without limit: dropped after a timeout, it would leave a hole.
        producer._message_accumulator._batch_ttl = math.inf  # noqa: SLF001 - its only setting is the request timeout
        try:
            await producer.start()
            partitions = sorted(await producer.partitions_for(self._settings.topic_raw))
        except BaseException:
            await producer.stop()
            raise
        self._producer = producer
        return partitions

    def has_leader(self, partition: int) -> bool:
        """Return whether the partition has a leader, by the client's metadata."""
        assert self._producer is not None, "start first"
        leader = self._producer.client.cluster.leader_for_partition(TopicPartition(self._settings.topic_raw, partition))
        return leader not in (None, -1)

    def partitions(self) -> list[int]:
        """Return the partitions that the topic has now, by the client's metadata; empty if it is not known."""
        assert self._producer is not None, "start first"
        return sorted(self._producer.client.cluster.partitions_for_topic(self._settings.topic_raw) or ())

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

    def send(self, key: bytes, value: bytes, headers: Headers, on_delivery: DeliveryCallback) -> None:
        """Send a record; the records of one key keep their order."""
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
                on_delivery(error)
            else:
                future.add_done_callback(functools.partial(_on_delivered, on_delivery))
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
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_TIMEOUT_SECONDS)
        for close in (producer.client.close, producer.stop, producer.client.close):
            try:
                async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                    await close()
            except Exception as error:  # noqa: BLE001 - batches to be retried make it fail
                log.debug("cannot close a producer cleanly: %r", error)
        self._fail_queued()

    def _fail_queued(self) -> None:
        """Report the records that were never passed to the client."""
        queues, self._queues = self._queues, {}
        for _, _, on_delivery in itertools.chain.from_iterable(queues.values()):
            on_delivery(ProducerClosed())


def _on_delivered(on_delivery: DeliveryCallback, future: asyncio.Future[Any]) -> None:
    on_delivery(asyncio.CancelledError() if future.cancelled() else future.exception())
