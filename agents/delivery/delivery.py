"""Delivery of slices and gaps to Kafka, and what happens to a container whose record Kafka rejects.

Small slices that are sent in one pass over the containers share a record, a bundle; `flush` sends it. After Kafka has
rejected one, every slice is a record of its own for a while. A bundle whose partition has no leader, or does not
respond while others do, is read again: its slices go to other partitions.
Slice too large: the slice size is reduced; a container whose single event is too large is paused, the others continue.
The event is sent again with less metadata, which may be what makes it too large.
Any other error: everything unacknowledged is read again, with back-off.
"""

import dataclasses
import functools
import logging
import math
import time
from collections.abc import Callable, Collection
from typing import NamedTuple

from agents.delivery.classification import DeliveryError, classify
from agents.delivery.link import KafkaLink
from agents.state.losses import LossTracker
from agents.tailing.container_tail import ContainerTail
from agents.tailing.pending_slice import InFlightSlice, PendingSlice
from pipeline.config.settings import KIB, ShipperSettings
from pipeline.contract import cri, gap, pod_metadata, record
from pipeline.contract.bundle import Bundle
from pipeline.contract.gap import GapRecord
from pipeline.contract.record import LogSlice
from pipeline.kafka import client
from pipeline.monitoring.metrics import Metrics

BUNDLED_SLICE_MAX_BYTES = 16 * KIB
"""A larger slice costs little per line as a record of its own."""
BUNDLE_PAUSE_SECONDS = 600.0
PAUSE_SECONDS = 20.0
MIN_SLICE_BYTES = 16 * KIB

log = logging.getLogger(__name__)


class SentSlice(NamedTuple):
    """A slice that was sent: its container, what to acknowledge, its bytes, and the time of its first line in ns."""

    tail: ContainerTail
    in_flight: InFlightSlice
    size: int
    written: int | None


class Delivery:
    """Sends slices and gaps over a connected link. While the link's state is FAILED, call `recover`."""

    def __init__(self, settings: ShipperSettings, metrics: Metrics, link: KafkaLink) -> None:
        self._settings = settings
        self._metrics = metrics
        self._link = link
        self._slice_bytes = settings.slice_max_bytes
        self._slices_reduced = False  # since the link was connected
        self._bundle = Bundle(self._slice_bytes)
        self._bundled: list[tuple[SentSlice, LogSlice]] = []  # the slices of `_bundle`, which was not sent yet
        self._bundles_in_flight: dict[int, tuple[bytes, list[SentSlice]]] = {}  # by number: key, slices
        self._bundle_number = 0
        self._no_bundles_until = 0.0 if settings.bundles else math.inf  # monotonic
        self._paused: dict[ContainerTail, tuple[float, str]] = {}  # until when, monotonic seconds, and why

    @property
    def problem(self) -> str:
        """Why lines do not reach Kafka; empty if they do."""
        return self._link.problem or next((message for _, message in self._paused.values()), "")

    def is_paused(self, tail: ContainerTail, now: float) -> bool:
        """Return whether sending of a container is paused."""
        return bool(self._paused) and now < self._paused.get(tail, (0.0, ""))[0]

    def send(self, tail: ContainerTail, pending: PendingSlice) -> None:
        """Send a slice, a small one with the next `flush`; its acknowledgement reaches the tail in `_on_acked`."""
        log_slice = pending.log_slice
        if tail in self._paused:
            log_slice = dataclasses.replace(log_slice, pod=pod_metadata.reduce(log_slice.pod))
        elif len(log_slice.pod) > pod_metadata.MAX_BYTES:
            log_slice = dataclasses.replace(log_slice, pod=pod_metadata.limit(log_slice.pod))
        size, written = len(log_slice.value), cri.first_time(log_slice.value)
        self._metrics.inc("crisp_shipper_read_bytes", size)
        self._observe_latency("read", written)
        sent = SentSlice(tail, pending.in_flight, size, written)
        if not self._add_to_bundle(sent, log_slice):
            self._send_alone(sent, log_slice)

    def _add_to_bundle(self, sent: SentSlice, log_slice: LogSlice) -> bool:
        if sent.size > BUNDLED_SLICE_MAX_BYTES or sent.tail in self._paused:
            return False
        if self._no_bundles_until and time.monotonic() < self._no_bundles_until:
            return False
        if not self._bundle.add(sent.tail.key, log_slice):
            self.flush()
            if not self._bundle.add(sent.tail.key, log_slice):
                return False
        self._bundled.append((sent, log_slice))
        return True

    def _send_alone(self, sent: SentSlice, log_slice: LogSlice) -> None:
        value, headers = record.encode(log_slice)
        on_acked = functools.partial(self._on_acked, [sent], sent.size)
        self._link.send(
            sent.tail.key, value, headers, functools.partial(self._on_delivery, on_acked, sent.tail, sent.size)
        )

    def flush(self) -> None:
        """Send the bundle of the slices that wait for it; a single one as a record of its own."""
        if not self._bundled:
            return
        (bundle, bundled), self._bundle, self._bundled = (self._bundle, self._bundled), Bundle(self._slice_bytes), []
        if len(bundled) == 1:
            self._send_alone(*bundled[0])
            return
        slices, key = [sent for sent, _ in bundled], self._link.next_bundle_key()
        value, headers = bundle.encode()
        self._bundle_number += 1
        self._bundles_in_flight[self._bundle_number] = key, slices
        on_delivery = functools.partial(self._on_bundle_delivery, self._bundle_number, slices, len(value))
        self._link.send(key, value, headers, on_delivery)

    def send_gap(self, key: bytes, gap_record: GapRecord, on_acked: Callable[[], None]) -> None:
        """Send a gap; calls `on_acked` when Kafka has it."""
        gap_record = dataclasses.replace(gap_record, pod=pod_metadata.limit(gap_record.pod))
        self._link.send(key, b"", gap.encode(gap_record), functools.partial(self._on_delivery, on_acked, None, 0))

    def resend_held_bundles(self) -> None:
        """Read the slices again whose bundle is held by its partition: the next bundle avoids that."""
        held = self._link.held_partitions() if self._bundles_in_flight else ()
        for number, (key, slices) in list(self._bundles_in_flight.items()) if held else ():
            if self._link.in_flight.partition(key) in held:
                del self._bundles_in_flight[number]
                self._metrics.inc("crisp_shipper_retried_bytes", sum(sent.size for sent in slices))
                for sent in slices:
                    sent.tail.rewind()

    def _on_bundle_delivery(self, number: int, slices: list[SentSlice], size: int, error: BaseException | None) -> None:
        """Handle the response to a bundle. Its slices that were read again meanwhile are not acknowledged by it."""
        self._bundles_in_flight.pop(number, None)
        if error is not None and classify(error) is not DeliveryError.CLOSED:
            self._no_bundles_until = time.monotonic() + BUNDLE_PAUSE_SECONDS
            message = "a bundle of %d bytes was rejected, slices are records of their own for %.0f s"
            log.error(message, size, BUNDLE_PAUSE_SECONDS)
        self._on_delivery(functools.partial(self._on_acked, slices, size), None, size, error)

    def _on_delivery(
        self, on_acked: Callable[[], None], tail: ContainerTail | None, size: int, error: BaseException | None
    ) -> None:
        """Handle the response to a record; `tail`: of a slice, None of a gap or a bundle; `size`: 0 of a gap."""
        if error is None:
            on_acked()
            return
        if size:
            self._metrics.inc("crisp_shipper_records_sent", result="failed")
            self._metrics.inc("crisp_shipper_retried_bytes", size)
        message = client.explain_error(self._settings, self._settings.topic_raw, error)
        match classify(error):
            case DeliveryError.CLOSED:
                pass
            case DeliveryError.TOO_LARGE if tail is not None:
                self._reduce_slices(tail, size, message)
            case _:
                self._link.report_rejection(f"Kafka rejects records: {message}")
                log.error("Kafka rejected a record, everything unacknowledged is read again: %s", message)

    def _on_acked(self, slices: list[SentSlice], size: int) -> None:
        for tail, in_flight, _, written in slices:
            self._paused.pop(tail, None)
            tail.acknowledge(in_flight)
            self._observe_latency("acked", written)
        self._metrics.inc("crisp_shipper_records_sent", result="acked")
        self._metrics.inc("crisp_shipper_acked_bytes", size)

    def _observe_latency(self, stage: str, written: int | None) -> None:
        if written is not None:
            self._metrics.observe("crisp_shipper_latency_seconds", max(0.0, time.time() - written / 1e9), stage=stage)

    def _reduce_slices(self, tail: ContainerTail, size: int, message: str) -> None:
        """Reduce the slice size. Events are never split for this: an event must not depend on the topic's limit."""
        if tail.slice_bytes > self._slice_bytes:
            return  # sent before the slice size was reduced
        if size <= self._slice_bytes and self._slice_bytes > MIN_SLICE_BYTES:
            if not self._slices_reduced:
                self._slices_reduced = True
                self._slice_bytes = max(MIN_SLICE_BYTES, self._slice_bytes // 2)
                log.error("slice of %d bytes is too large, slice size reduced: %s", size, message)
        elif tail.slice_bytes > MIN_SLICE_BYTES:
            tail.shrink(MIN_SLICE_BYTES)
        else:
            problem = f"an event of {size} bytes of {tail.key.decode()} is too large: {message}"
            self._paused[tail] = time.monotonic() + PAUSE_SECONDS, problem
            log.error("%s; retrying; later lines of this container are held back", problem)

    async def recover(self, tails: Collection[ContainerTail], losses: LossTracker) -> None:
        """Replace the producer; everything unacknowledged is read again."""
        self._metrics.inc("crisp_shipper_retried_bytes", await self._link.close())
        for tail in tails:
            tail.rewind()
            tail.shrink(self._slice_bytes)
        losses.report_again()
        self._paused = {tail: paused for tail, paused in self._paused.items() if tail in tails}
        self._slices_reduced = False
        self._bundles_in_flight.clear()
        await self._link.reconnect(self._slice_bytes)
