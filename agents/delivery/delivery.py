"""Delivery to Kafka: one producer at a time, its replacement after a failure, and the handling of errors.

Slice too large: the slice size is reduced; a container whose single event is too large is paused, the others continue.
Any other error: everything unacknowledged is read again, with back-off. An unresponsive Kafka is diagnosed: if the
brokers are reachable, the producer is stuck and is replaced.
"""

import asyncio
import contextlib
import dataclasses
import logging
import math
import time
from collections.abc import Callable, Collection

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from agents.delivery.producer import RecordProducer
from agents.state.losses import LossTracker
from agents.tailing.container_tail import ContainerTail, PendingSlice
from pipeline.config.settings import KIB, Settings
from pipeline.contract import cri
from pipeline.contract.gap import GapRecord
from pipeline.errors import SettingsError
from pipeline.kafka import client
from pipeline.monitoring.metrics import Metrics

RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 15.0
CONNECT_TIMEOUT_SECONDS = 20.0
STOP_SECONDS = 10.0
WATCH_SECONDS = 2.0
UNRESPONSIVE_SECONDS = 10.0
STALLED_SECONDS = 60.0
PAUSE_SECONDS = 20.0
MIN_SLICE_BYTES = 16 * KIB

log = logging.getLogger(__name__)


class Delivery:
    """Sends slices and gaps, once `connect` has returned. While `failed` is set, call `recover`."""

    def __init__(self, settings: Settings, metrics: Metrics, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._slice_bytes = settings.slice_max_bytes
        self._producer = RecordProducer(settings, self._slice_bytes)
        self._paused: dict[ContainerTail, tuple[float, str]] = {}
        self._unavailable = "not connected to Kafka yet"
        self._rejection = ""
        self._leaderless = ""
        self._rejections = 0  # consecutive
        self._slices_reduced = False
        self.failed = False
        self.last_active = math.inf  # monotonic time of the last attempt to connect or recover; inf: none yet

    @property
    def problem(self) -> str:
        """Why lines do not reach Kafka; empty if they do."""
        paused = next((message for _, message in self._paused.values()), "")
        return self._unavailable or self._rejection or self._leaderless or paused

    @property
    def capacity(self) -> asyncio.Event:
        """Set while more may be sent."""
        return self._producer.capacity

    @property
    def acked(self) -> asyncio.Event:
        """Set at every response of Kafka; clear it before waiting for it."""
        return self._producer.acked

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and not acknowledged."""
        return self._producer.in_flight

    def has_capacity(self, tail: ContainerTail) -> bool:
        """Return whether more of a container may be sent to its partition."""
        return self._producer.has_capacity(tail.key)

    def unresponsive_seconds(self) -> float:
        """Return for how long a partition has left records unacknowledged, in seconds."""
        return self._producer.unresponsive_seconds()

    def reload(self) -> None:
        """Reload changed secrets and certificates."""
        self._producer.reload()

    def is_paused(self, tail: ContainerTail, now: float) -> bool:
        """Return whether sending of a container is paused."""
        return bool(self._paused) and now < self._paused.get(tail, (0.0, ""))[0]

    async def connect(self) -> None:
        """Connect; retry until it succeeds or the shipper stops."""
        while not self._stopping.is_set():
            self.last_active = time.monotonic()
            problem = await self._connect_problem()
            if not problem:
                self._unavailable = ""
                return
            self._unavailable = f"cannot use Kafka: {problem}"
            log.warning("%s; retrying until it succeeds", self._unavailable)
            await self._sleep(RETRY_SECONDS)

    async def _connect_problem(self) -> str:
        """Connect; return why that failed, empty if it succeeded."""
        settings = self._settings
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                problem = await client.connection_problem(settings, settings.topic_raw)
                if not problem:
                    await self._producer.start()
                return problem
        except TimeoutError:
            return f"no response within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except (KafkaError, SettingsError) as error:
            return client.explain_error(settings, settings.topic_raw, error)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but no longer than until the shipper stops."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def send(self, tail: ContainerTail, pending: PendingSlice) -> None:
        """Send a slice; its acknowledgement reaches the tail here and nowhere else."""
        log_slice, in_flight = pending
        producer, size = self._producer, len(log_slice.value)
        self._metrics.inc("crisp_shipper_read_bytes", size)
        written = cri.first_time(log_slice.value)
        self._observe_latency("read", written)

        def on_delivery(error: BaseException | None) -> None:
            if producer is not self._producer:
                return
            if error is None:
                self._on_acked()
                self._paused.pop(tail, None)
                tail.acknowledge(in_flight)
                self._observe_latency("acked", written)
                self._metrics.inc("crisp_shipper_records_sent", result="acked")
                self._metrics.inc("crisp_shipper_acked_bytes", size)
            else:
                self._metrics.inc("crisp_shipper_records_sent", result="failed")
                self._metrics.inc("crisp_shipper_retried_bytes", size)
                self._on_rejected(error, tail, size)

        producer.send(tail.key, log_slice, on_delivery)

    def send_gap(self, key: bytes, gap: GapRecord, on_acked: Callable[[], None]) -> None:
        """Send a gap; calls `on_acked` when Kafka has it."""
        producer = self._producer

        def on_delivery(error: BaseException | None) -> None:
            if producer is not self._producer:
                return
            if error is None:
                self._on_acked()
                on_acked()
            else:
                self._on_rejected(error)

        producer.send(key, gap, on_delivery)

    def _on_acked(self) -> None:
        self._rejection = self._unavailable = ""
        self._rejections = 0

    def _observe_latency(self, stage: str, written: int | None) -> None:
        if written is not None:
            self._metrics.observe("crisp_shipper_latency_seconds", max(0.0, time.time() - written / 1e9), stage=stage)

    def _on_rejected(self, error: BaseException, tail: ContainerTail | None = None, size: int = 0) -> None:
        self.failed = True
        if isinstance(error, ProducerClosed):
            return
        message = client.explain_error(self._settings, self._settings.topic_raw, error)
        if isinstance(error, MessageSizeTooLargeError) and tail is not None:
            self._reduce_slices(tail, size, message)
        else:
            self._rejection = f"Kafka rejects records: {message}"
            log.error("Kafka rejected a record, everything unacknowledged is read again: %s", message)

    def _reduce_slices(self, tail: ContainerTail, size: int, message: str) -> None:
        """Reduce the slice size. Events are never split for this: an event must not depend on the topic's limit."""
        if tail.limits.slice_bytes > self._slice_bytes:
            return  # sent before the slice size was reduced
        if size <= self._slice_bytes and self._slice_bytes > MIN_SLICE_BYTES:
            if not self._slices_reduced:
                self._slices_reduced = True
                self._slice_bytes = max(MIN_SLICE_BYTES, self._slice_bytes // 2)
                log.error("slice of %d bytes is too large, slice size reduced: %s", size, message)
        elif tail.limits.slice_bytes > MIN_SLICE_BYTES:
            tail.limits = dataclasses.replace(tail.limits, slice_bytes=MIN_SLICE_BYTES)
        else:
            problem = f"an event of {size} bytes of {tail.key.decode()} is too large: {message}"
            self._paused[tail] = time.monotonic() + PAUSE_SECONDS, problem
            log.error("%s; retrying; later lines of this container are held back", problem)

    async def recover(self, tails: Collection[ContainerTail], losses: LossTracker) -> None:
        """Replace the producer; everything unacknowledged is read again."""
        self.last_active = time.monotonic()
        await self._producer.stop(min(STOP_SECONDS, self._settings.ship_grace_seconds))
        self._metrics.inc("crisp_shipper_retried_bytes", self._producer.in_flight)
        self._producer = RecordProducer(self._settings, self._slice_bytes)
        for tail in tails:
            tail.rewind()
            if tail.limits.slice_bytes > self._slice_bytes:
                tail.limits = dataclasses.replace(tail.limits, slice_bytes=self._slice_bytes)
        losses.report_again()
        self._paused = {tail: paused for tail, paused in self._paused.items() if tail in tails}
        await self._sleep(min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0**self._rejections))
        self._rejections = min(self._rejections + 1, 10)
        self._slices_reduced = False
        await self.connect()
        self.failed = False

    async def watch(self) -> None:
        """Diagnose an unresponsive Kafka, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._check_leaders()
            if self._producer.unresponsive_seconds(with_leader=True) > UNRESPONSIVE_SECONDS and not self.failed:
                await self._diagnose()

    def _check_leaders(self) -> None:
        """Report partitions without a leader; the others are unaffected."""
        partitions = (
            self._producer.leaderless_partitions()
            if self._producer.unresponsive_seconds() > UNRESPONSIVE_SECONDS
            else []
        )
        listed = ", ".join(map(str, partitions))
        message = f"no leader in {self._settings.topic_raw} for partition {listed}: records wait" if partitions else ""
        if message and message != self._leaderless:
            log.warning("%s", message)
        self._leaderless = message

    async def _diagnose(self) -> None:
        producer = self._producer
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                problem = await client.connection_problem(self._settings, self._settings.topic_raw)
        except TimeoutError:
            problem = f"no response within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except SettingsError as error:
            problem = str(error)
        seconds = producer.unresponsive_seconds(with_leader=True)
        if producer is not self._producer or seconds < UNRESPONSIVE_SECONDS:
            return
        if problem:
            self._unavailable = f"Kafka has not answered for {seconds:.0f} s: {problem}"
            log.warning("Kafka is unresponsive, reading is paused: %s", problem)
        elif seconds > STALLED_SECONDS:
            self._rejection = f"Kafka is reachable, but has not answered for {seconds:.0f} s"
            log.error("%s: replacing the producer", self._rejection)
            self.failed = True

    async def stop(self, grace_seconds: float) -> None:
        """Flush and disconnect."""
        await self._producer.stop(grace_seconds)
