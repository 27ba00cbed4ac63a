"""The way to Kafka: one publisher at a time, a new one when it cannot go on, and what is done about each refusal.

A fault that concerns one slice's size: slices are cut smaller; an event that is too long by itself is withheld, and
the other containers go on. Any other: everything unacknowledged is read again, after a pause that grows. Kafka being
silent is looked into: if brokers can be reached all the same, the producer is stuck, and another is made.
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
    """Slices and gaps go in by `send` and `tell`, once `connect` has returned; `failed` asks for `recover`."""

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
        self._rejections = 0  # in a row
        self._slices_reduced = False
        self.failed = False
        self.last_active = math.inf  # monotonic time of the last step, where a step may take long; not yet

    @property
    def problem(self) -> str:
        """Why lines do not come to Kafka; empty when they do."""
        withheld = next((words for _, words in self._paused.values()), "")
        return self._unavailable or self._rejection or self._leaderless or withheld

    @property
    def capacity(self) -> asyncio.Event:
        """Set while more may be handed over."""
        return self._producer.capacity

    @property
    def acked(self) -> asyncio.Event:
        """Set whenever Kafka has answered; whoever waits for it clears it first."""
        return self._producer.acked

    @property
    def in_flight(self) -> int:
        """Bytes that were handed over and not answered."""
        return self._producer.in_flight

    def has_capacity(self, tail: ContainerTail) -> bool:
        """Whether the partition of a container has room for more."""
        return self._producer.has_capacity(tail.key)

    def unresponsive_seconds(self) -> float:
        """Seconds for which a partition has not answered although it should."""
        return self._producer.unresponsive_seconds()

    def reload(self) -> None:
        """Take up changed secrets and certificates."""
        self._producer.reload()

    def is_paused(self, tail: ContainerTail, now: float) -> bool:
        """Whether the next event of a container is not to be sent now."""
        return bool(self._paused) and now < self._paused.get(tail, (0.0, ""))[0]

    async def connect(self) -> None:
        """Return when Kafka takes us, or the shipper is to stop."""
        while not self._stopping.is_set():
            self.last_active = time.monotonic()
            why = await self._connect_problem()
            if not why:
                self._unavailable = ""
                return
            self._unavailable = f"Kafka cannot be used: {why}"
            log.warning("%s; tried again for ever", self._unavailable)
            await self._sleep(RETRY_SECONDS)

    async def _connect_problem(self) -> str:
        """Connect; why it cannot be done now."""
        settings = self._settings
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                why = await client.connection_problem(settings, settings.topic_raw)
                if not why:
                    await self._producer.start()
                return why
        except TimeoutError:
            return f"no answer within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except (KafkaError, SettingsError) as fault:
            return client.explain_error(settings, settings.topic_raw, fault)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def send(self, tail: ContainerTail, pending: PendingSlice) -> None:
        """Hand over a slice; Kafka's answer is noted at the tail, and only here."""
        part, flight = pending
        publisher, size = self._producer, len(part.value)
        self._metrics.inc("crisp_shipper_read_bytes", size)
        written = cri.first_time(part.value)
        self._observe_latency("read", written)

        def answer(fault: BaseException | None) -> None:
            if publisher is not self._producer:
                return
            if fault is None:
                self._on_acked()
                self._paused.pop(tail, None)
                tail.acknowledge(flight)
                self._observe_latency("acked", written)
                self._metrics.inc("crisp_shipper_records_sent", result="acked")
                self._metrics.inc("crisp_shipper_acked_bytes", size)
            else:
                self._metrics.inc("crisp_shipper_records_sent", result="failed")
                self._metrics.inc("crisp_shipper_retried_bytes", size)
                self._on_rejected(fault, tail, size)

        publisher.send(tail.key, part, answer)

    def send_gap(self, key: bytes, gap: GapRecord, on_acked: Callable[[], None]) -> None:
        """Hand over a gap; calls `told` when Kafka has it."""
        publisher = self._producer

        def answer(fault: BaseException | None) -> None:
            if publisher is not self._producer:
                return
            if fault is None:
                self._on_acked()
                on_acked()
            else:
                self._on_rejected(fault)

        publisher.send(key, gap, answer)

    def _on_acked(self) -> None:
        self._rejection = self._unavailable = ""
        self._rejections = 0

    def _observe_latency(self, stage: str, written: int | None) -> None:
        if written is not None:
            self._metrics.observe("crisp_shipper_latency_seconds", max(0.0, time.time() - written / 1e9), stage=stage)

    def _on_rejected(self, fault: BaseException, tail: ContainerTail | None = None, size: int = 0) -> None:
        self.failed = True
        if isinstance(fault, ProducerClosed):
            return
        words = client.explain_error(self._settings, self._settings.topic_raw, fault)
        if isinstance(fault, MessageSizeTooLargeError) and tail is not None:
            self._reduce_slices(tail, size, words)
        else:
            self._rejection = f"Kafka refuses lines: {words}"
            log.error("Kafka refused a slice, everything unacknowledged is read again: %s", words)

    def _reduce_slices(self, tail: ContainerTail, size: int, words: str) -> None:
        """The topic takes less than a slice, or than an event. What an event is must not hang on what a topic takes."""
        if tail.limits.slice_bytes > self._slice_bytes:
            return  # cut before slices were made smaller, as all are from now on
        if size <= self._slice_bytes and self._slice_bytes > MIN_SLICE_BYTES:
            if not self._slices_reduced:
                self._slices_reduced = True
                self._slice_bytes = max(MIN_SLICE_BYTES, self._slice_bytes // 2)
                log.error("a slice of %d bytes is made smaller: %s", size, words)
        elif tail.limits.slice_bytes > MIN_SLICE_BYTES:
            tail.limits = dataclasses.replace(tail.limits, slice_bytes=MIN_SLICE_BYTES)
        else:
            held = f"an event of {size} bytes of {tail.key.decode()} waits: {words}"
            self._paused[tail] = time.monotonic() + PAUSE_SECONDS, held
            log.error("%s; tried again for ever, nothing later of that container is sent", held)

    async def recover(self, tails: Collection[ContainerTail], losses: LossTracker) -> None:
        """A new producer; what is not acknowledged is read again."""
        self.last_active = time.monotonic()
        await self._producer.stop(min(STOP_SECONDS, self._settings.ship_grace_seconds))
        self._metrics.inc("crisp_shipper_retried_bytes", self._producer.in_flight)
        self._producer = RecordProducer(self._settings, self._slice_bytes)
        for tail in tails:
            tail.rewind()
            if tail.limits.slice_bytes > self._slice_bytes:
                tail.limits = dataclasses.replace(tail.limits, slice_bytes=self._slice_bytes)
        losses.report_again()
        self._paused = {tail: held for tail, held in self._paused.items() if tail in tails}
        await self._sleep(min(MAX_RETRY_SECONDS, RETRY_SECONDS * 2.0**self._rejections))
        self._rejections = min(self._rejections + 1, 10)
        self._slices_reduced = False
        await self.connect()
        self.failed = False

    async def watch(self) -> None:
        """Say why Kafka is silent, for as long as it is."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._check_leaders()
            if self._producer.unresponsive_seconds(with_leader=True) > UNRESPONSIVE_SECONDS and not self.failed:
                await self._diagnose()

    def _check_leaders(self) -> None:
        """Tell of partitions to which nothing can go; what goes to the others goes on."""
        numbers = (
            self._producer.leaderless_partitions()
            if self._producer.unresponsive_seconds() > UNRESPONSIVE_SECONDS
            else []
        )
        listed = ", ".join(map(str, numbers))
        words = (
            f"no leader in {self._settings.topic_raw} for partition {listed}: what goes there waits" if numbers else ""
        )
        if words and words != self._leaderless:
            log.warning("%s", words)
        self._leaderless = words

    async def _diagnose(self) -> None:
        publisher = self._producer
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                why = await client.connection_problem(self._settings, self._settings.topic_raw)
        except TimeoutError:
            why = f"no answer within {CONNECT_TIMEOUT_SECONDS:.0f} s"
        except SettingsError as fault:
            why = str(fault)
        silent = publisher.unresponsive_seconds(with_leader=True)
        if publisher is not self._producer or silent < UNRESPONSIVE_SECONDS:
            return
        if why:
            self._unavailable = f"Kafka has not answered for {silent:.0f} s: {why}"
            log.warning("Kafka does not answer, nothing more is read until it does: %s", why)
        elif silent > STALLED_SECONDS:
            self._rejection = f"Kafka can be reached, but has not answered for {silent:.0f} s"
            log.error("%s: a new producer is made", self._rejection)
            self.failed = True

    async def stop(self, grace_seconds: float) -> None:
        """Flush, and disconnect."""
        await self._producer.stop(grace_seconds)
