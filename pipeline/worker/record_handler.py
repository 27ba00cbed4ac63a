"""Processes the records of the raw topic: builds and submits their documents, settles or dead-letters each record."""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP, EventT

from pipeline.contract import gap
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.record import KafkaPosition
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.elasticsearch.indexer import Indexer
from pipeline.errors import RecordError
from pipeline.monitoring.metrics import Metrics
from pipeline.worker.background_tasks import BackgroundTasks
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.monitor import WorkerMonitor
from pipeline.worker.ordered_acks import OrderedAcker, PendingRecord
from pipeline.worker.worker_health import WorkerHealth

UNKNOWN_POD = b'{"namespace":"","pod":"","container":""}'

log = logging.getLogger(__name__)


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True, kw_only=True)
class RecordHandler:
    """Handles what the app consumes. A record is settled when its documents are indexed or it is dead-lettered."""

    processor: RecordProcessor
    indexer: Indexer
    dead_letter_producer: DeadLetterProducer
    acker: OrderedAcker
    budget: MemoryBudget
    monitor: WorkerMonitor
    probe: FreshnessProbe
    health: WorkerHealth
    tasks: BackgroundTasks
    metrics: Metrics
    _running: asyncio.Event = field(default_factory=_set_event, init=False)

    async def handle(self, event: EventT[Any]) -> None:
        """Process a record when the memory budget allows it."""
        value = event.message.value or b""
        await self.budget.acquire(len(value))
        await self._running.wait()
        self._process(event.message, value, self.acker.add(event))

    def pause(self) -> None:
        """Process no more records; records in flight are completed."""
        self._running.clear()

    def _process(self, message: Any, value: bytes, record: PendingRecord) -> None:
        self.metrics.inc("crisp_worker_received_bytes", len(value))
        self.metrics.inc("crisp_worker_received_lines", value.count(b"\n"))
        headers = [(str(name), data or b"") for name, data in message.headers or ()]
        origin = KafkaPosition(message.topic, message.partition, message.offset, round((message.timestamp or 0) * 1000))
        try:
            batch, kind = self.processor.process(value, headers, origin, time.time_ns())
        except RecordError as error:
            dead_letter = DeadLetter(self.processor.redact(value), str(error), origin, headers)
            self.tasks.spawn(self._dead_letter(dead_letter, message.key, record))
            return
        self.metrics.inc("crisp_worker_records_received", kind=kind)
        self.health.record_progress()
        written_at = self.monitor.observe_consumed(value, message.partition)
        self.budget.grow(batch.size)

        def on_indexed() -> None:
            self.monitor.observe_indexed(written_at, batch, self.probe)
            self._settle(record, len(value) + batch.size)

        self.indexer.submit(batch, on_indexed)

    async def _dead_letter(self, dead_letter: DeadLetter, key: bytes | None, record: PendingRecord) -> None:
        """Write a record that violates the contract to the dead-letter topic; the rest of its partition goes on."""
        await self.dead_letter_producer.send(dead_letter, key)
        self.metrics.inc("crisp_worker_records_received", kind="invalid")
        self._settle(record, len(dead_letter.value))

    def _settle(self, record: PendingRecord, size: int) -> None:
        self.budget.release(size)
        self.metrics.set("crisp_worker_in_flight_bytes", self.budget.used)
        self.health.record_progress()
        record.settle()

    def on_records_lost(self, tp: TP, first: int, message: Any) -> None:
        """Report records that expired by Kafka's retention before they were indexed; index a gap document."""
        count = message.offset - first
        log.error("%d records of %s/%d expired by retention before they were indexed", count, *tp)
        self.metrics.inc("crisp_worker_records_lost", count)
        until = round((message.timestamp or 0) * 1e9)
        identity = gap.partition_identity(*tp)
        lost = Gap(identity, first, "", None, gap.KAFKA_RETENTION, until=until, records=count)
        headers = gap.encode(GapRecord(lost, "", time.time_ns(), UNKNOWN_POD))
        batch, _ = self.processor.process(b"", headers, KafkaPosition(*tp, first, until // 10**6), time.time_ns())
        self.indexer.submit(batch, self.acker.add_barrier(tp).settle)

    def on_log_reset(self, tp: TP) -> None:
        """Handle a recreated partition: pending records have offsets of the deleted log."""
        log.error("partition %s/%d was recreated; reading from the beginning", *tp)
        self.metrics.inc("crisp_worker_partition_resets")
        self.acker.drop_partition(tp)

    def on_partitions_revoked(self) -> None:
        """Drop the pending records of older generations."""
        self.acker.drop_revoked()
