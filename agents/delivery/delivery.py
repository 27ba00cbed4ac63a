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

from agents.delivery.producer import Publisher
from agents.state.losses import Losses
from agents.tailing.container_tail import Tail, Taken
from pipeline.config.settings import KIB, Settings
from pipeline.contract import cri
from pipeline.contract.gap import GapRecord
from pipeline.errors import SettingsError
from pipeline.kafka import client
from pipeline.monitoring.metrics import Metrics

RETRY_SECONDS = 1.0
MOST_RETRY_SECONDS = 15.0
START_SECONDS = 20.0
STOP_SECONDS = 10.0
WATCH_SECONDS = 2.0
SILENT_SECONDS = 10.0
WEDGED_SECONDS = 60.0
WITHHELD_SECONDS = 20.0
LEAST_SLICE_BYTES = 16 * KIB

log = logging.getLogger(__name__)


class Delivery:
    """Slices and gaps go in by `send` and `tell`, once `connect` has returned; `failed` asks for `recover`."""

    def __init__(self, settings: Settings, metrics: Metrics, stopping: asyncio.Event) -> None:
        self._settings = settings
        self._metrics = metrics
        self._stopping = stopping
        self._slice_bytes = settings.slice_max_bytes
        self._publisher = Publisher(settings, self._slice_bytes)
        self._withheld: dict[Tail, tuple[float, str]] = {}
        self._absence = "not connected to Kafka yet"
        self._refusal = ""
        self._headless = ""
        self._refusals = 0  # in a row
        self._narrowed = False
        self.failed = False
        self.stirred = math.inf  # monotonic time of the last step, where a step may take long; not yet

    @property
    def trouble(self) -> str:
        """Why lines do not come to Kafka; empty when they do."""
        withheld = next((words for _, words in self._withheld.values()), "")
        return self._absence or self._refusal or self._headless or withheld

    @property
    def room(self) -> asyncio.Event:
        """Set while more may be handed over."""
        return self._publisher.room

    @property
    def freed(self) -> asyncio.Event:
        """Set whenever Kafka has answered; whoever waits for it clears it first."""
        return self._publisher.freed

    @property
    def in_flight(self) -> int:
        """Bytes that were handed over and not answered."""
        return self._publisher.in_flight

    def takes(self, tail: Tail) -> bool:
        """Whether the partition of a container has room for more."""
        return self._publisher.takes(tail.key)

    def silent(self) -> float:
        """Seconds for which a partition has not answered although it should."""
        return self._publisher.silent()

    def renew(self) -> None:
        """Take up changed secrets and certificates."""
        self._publisher.renew()

    def withholds(self, tail: Tail, now: float) -> bool:
        """Whether the next event of a container is not to be sent now."""
        return bool(self._withheld) and now < self._withheld.get(tail, (0.0, ""))[0]

    async def connect(self) -> None:
        """Return when Kafka takes us, or the shipper is to stop."""
        while not self._stopping.is_set():
            self.stirred = time.monotonic()
            why = await self._hindrance()
            if not why:
                self._absence = ""
                return
            self._absence = f"Kafka cannot be used: {why}"
            log.warning("%s; tried again for ever", self._absence)
            await self._pause(RETRY_SECONDS)

    async def _hindrance(self) -> str:
        """Connect; why it cannot be done now."""
        settings = self._settings
        try:
            async with asyncio.timeout(START_SECONDS):
                why = await client.trouble(settings, settings.topic_raw)
                if not why:
                    await self._publisher.start()
                return why
        except TimeoutError:
            return f"no answer within {START_SECONDS:.0f} s"
        except (KafkaError, SettingsError) as fault:
            return client.refusal(settings, settings.topic_raw, fault)

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def send(self, tail: Tail, taken: Taken) -> None:
        """Hand over a slice; Kafka's answer is noted at the tail, and only here."""
        part, flight = taken
        publisher, size = self._publisher, len(part.value)
        self._metrics.add("crisp_shipper_read_bytes", size)
        written = cri.first_time(part.value)
        self._aged("read", written)

        def answer(fault: BaseException | None) -> None:
            if publisher is not self._publisher:
                return
            if fault is None:
                self._taken()
                self._withheld.pop(tail, None)
                tail.acknowledge(flight)
                self._aged("acked", written)
                self._metrics.add("crisp_shipper_records_sent", result="acked")
                self._metrics.add("crisp_shipper_acked_bytes", size)
            else:
                self._metrics.add("crisp_shipper_records_sent", result="failed")
                self._metrics.add("crisp_shipper_retried_bytes", size)
                self._refused(fault, tail, size)

        publisher.hand_over(tail.key, part, answer)

    def tell(self, key: bytes, gap: GapRecord, told: Callable[[], None]) -> None:
        """Hand over a gap; calls `told` when Kafka has it."""
        publisher = self._publisher

        def answer(fault: BaseException | None) -> None:
            if publisher is not self._publisher:
                return
            if fault is None:
                self._taken()
                told()
            else:
                self._refused(fault)

        publisher.hand_over(key, gap, answer)

    def _taken(self) -> None:
        self._refusal = self._absence = ""
        self._refusals = 0

    def _aged(self, stage: str, written: int | None) -> None:
        if written is not None:
            self._metrics.observe("crisp_shipper_latency_seconds", max(0.0, time.time() - written / 1e9), stage=stage)

    def _refused(self, fault: BaseException, tail: Tail | None = None, size: int = 0) -> None:
        self.failed = True
        if isinstance(fault, ProducerClosed):
            return
        words = client.refusal(self._settings, self._settings.topic_raw, fault)
        if isinstance(fault, MessageSizeTooLargeError) and tail is not None:
            self._too_large(tail, size, words)
        else:
            self._refusal = f"Kafka refuses lines: {words}"
            log.error("Kafka refused a slice, everything unacknowledged is read again: %s", words)

    def _too_large(self, tail: Tail, size: int, words: str) -> None:
        """The topic takes less than a slice, or than an event. What an event is must not hang on what a topic takes."""
        if tail.limits.slice_bytes > self._slice_bytes:
            return  # cut before slices were made smaller, as all are from now on
        if size <= self._slice_bytes and self._slice_bytes > LEAST_SLICE_BYTES:
            if not self._narrowed:
                self._narrowed = True
                self._slice_bytes = max(LEAST_SLICE_BYTES, self._slice_bytes // 2)
                log.error("a slice of %d bytes is made smaller: %s", size, words)
        elif tail.limits.slice_bytes > LEAST_SLICE_BYTES:
            tail.limits = dataclasses.replace(tail.limits, slice_bytes=LEAST_SLICE_BYTES)
        else:
            held = f"an event of {size} bytes of {tail.key.decode()} waits: {words}"
            self._withheld[tail] = time.monotonic() + WITHHELD_SECONDS, held
            log.error("%s; tried again for ever, nothing later of that container is sent", held)

    async def recover(self, tails: Collection[Tail], losses: Losses) -> None:
        """A new producer; what is not acknowledged is read again."""
        self.stirred = time.monotonic()
        await self._publisher.stop(min(STOP_SECONDS, self._settings.ship_grace_seconds))
        self._metrics.add("crisp_shipper_retried_bytes", self._publisher.in_flight)
        self._publisher = Publisher(self._settings, self._slice_bytes)
        for tail in tails:
            tail.rewind()
            if tail.limits.slice_bytes > self._slice_bytes:
                tail.limits = dataclasses.replace(tail.limits, slice_bytes=self._slice_bytes)
        losses.again()
        self._withheld = {tail: held for tail, held in self._withheld.items() if tail in tails}
        await self._pause(min(MOST_RETRY_SECONDS, RETRY_SECONDS * 2.0**self._refusals))
        self._refusals = min(self._refusals + 1, 10)
        self._narrowed = False
        await self.connect()
        self.failed = False

    async def watch(self) -> None:
        """Say why Kafka is silent, for as long as it is."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._look_at_leaders()
            if self._publisher.silent(led=True) > SILENT_SECONDS and not self.failed:
                await self._look_into()

    def _look_at_leaders(self) -> None:
        """Tell of partitions to which nothing can go; what goes to the others goes on."""
        numbers = self._publisher.headless() if self._publisher.silent() > SILENT_SECONDS else []
        listed = ", ".join(map(str, numbers))
        words = (
            f"no leader in {self._settings.topic_raw} for partition {listed}: what goes there waits" if numbers else ""
        )
        if words and words != self._headless:
            log.warning("%s", words)
        self._headless = words

    async def _look_into(self) -> None:
        publisher = self._publisher
        try:
            async with asyncio.timeout(START_SECONDS):
                why = await client.trouble(self._settings, self._settings.topic_raw)
        except TimeoutError:
            why = f"no answer within {START_SECONDS:.0f} s"
        except SettingsError as fault:
            why = str(fault)
        silent = publisher.silent(led=True)
        if publisher is not self._publisher or silent < SILENT_SECONDS:
            return
        if why:
            self._absence = f"Kafka has not answered for {silent:.0f} s: {why}"
            log.warning("Kafka does not answer, nothing more is read until it does: %s", why)
        elif silent > WEDGED_SECONDS:
            self._refusal = f"Kafka can be reached, but has not answered for {silent:.0f} s"
            log.error("%s: a new producer is made", self._refusal)
            self.failed = True

    async def stop(self, grace_seconds: float) -> None:
        """Flush, and disconnect."""
        await self._publisher.stop(grace_seconds)
