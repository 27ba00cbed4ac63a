"""Delivery of slices and gaps to Kafka, and what happens to a container whose record Kafka rejects.

Slice too large: the slice size is reduced; a container whose single event is too large is paused, the others continue.
The event is sent again with less metadata, which may be what makes it too large.
Any other error: everything unacknowledged is read again, with back-off.
"""

import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Collection

from agents.delivery.classification import DeliveryError, classify
from agents.delivery.link import KafkaLink
from agents.state.losses import LossTracker
from agents.tailing.container_tail import ContainerTail
from agents.tailing.pending_slice import InFlightSlice, PendingSlice
from pipeline.config.settings import KIB, ShipperSettings
from pipeline.contract import cri, gap, pod_metadata, record
from pipeline.contract.gap import GapRecord
from pipeline.kafka import client
from pipeline.monitoring.metrics import Metrics

PAUSE_SECONDS = 20.0
MIN_SLICE_BYTES = 16 * KIB

log = logging.getLogger(__name__)


class Delivery:
    """Sends slices and gaps over a connected link. While the link's state is FAILED, call `recover`."""

    def __init__(self, settings: ShipperSettings, metrics: Metrics, link: KafkaLink) -> None:
        self._settings = settings
        self._metrics = metrics
        self._link = link
        self._slice_bytes = settings.slice_max_bytes
        self._slices_reduced = False  # since the link was connected
        self._paused: dict[ContainerTail, tuple[float, str]] = {}  # until when, monotonic seconds, and why

    @property
    def problem(self) -> str:
        """Why lines do not reach Kafka; empty if they do."""
        return self._link.problem or next((message for _, message in self._paused.values()), "")

    def is_paused(self, tail: ContainerTail, now: float) -> bool:
        """Return whether sending of a container is paused."""
        return bool(self._paused) and now < self._paused.get(tail, (0.0, ""))[0]

    def send(self, tail: ContainerTail, pending: PendingSlice) -> None:
        """Send a slice; its acknowledgement reaches the tail in `_on_slice_acked` and nowhere else."""
        log_slice = pending.log_slice
        if tail in self._paused:
            log_slice = dataclasses.replace(log_slice, pod=pod_metadata.reduce(log_slice.pod))
        elif len(log_slice.pod) > pod_metadata.MAX_BYTES:
            log_slice = dataclasses.replace(log_slice, pod=pod_metadata.limit(log_slice.pod))
        value, headers = record.encode(log_slice)
        size, written = len(value), cri.first_time(value)
        self._metrics.inc("crisp_shipper_read_bytes", size)
        self._observe_latency("read", written)
        on_acked = functools.partial(self._on_slice_acked, tail, pending.in_flight, size, written)
        self._link.send(tail.key, value, headers, functools.partial(self._on_delivery, on_acked, tail, size))

    def send_gap(self, key: bytes, gap_record: GapRecord, on_acked: Callable[[], None]) -> None:
        """Send a gap; calls `on_acked` when Kafka has it."""
        gap_record = dataclasses.replace(gap_record, pod=pod_metadata.limit(gap_record.pod))
        self._link.send(key, b"", gap.encode(gap_record), functools.partial(self._on_delivery, on_acked, None, 0))

    def _on_delivery(
        self, on_acked: Callable[[], None], tail: ContainerTail | None, size: int, error: BaseException | None
    ) -> None:
        """Handle the response to a record; `tail`: of a slice, None of a gap."""
        if error is None:
            on_acked()
            return
        if tail is not None:
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

    def _on_slice_acked(self, tail: ContainerTail, in_flight: InFlightSlice, size: int, written: int | None) -> None:
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
        await self._link.reconnect(self._slice_bytes)
