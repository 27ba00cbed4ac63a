"""Processes the records of the raw topic: builds and submits their documents, settles or dead-letters each record."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP, EventT

from pipeline.contract import gap
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.documents.batch import DocumentBatch
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.elasticsearch.indexer import Indexer
from pipeline.errors import RecordError
from pipeline.kafka.record_batches import UnreadableBatch
from pipeline.monitoring.metrics import Metrics
from pipeline.worker import record_mark
from pipeline.worker.background_tasks import BackgroundTasks
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.monitor import WorkerMonitor
from pipeline.worker.ordered_acks import OrderedAcker, PendingRecord
from pipeline.worker.worker_health import WorkerHealth

UNKNOWN_POD = b'{"namespace":"","pod":"","container":""}'

log = logging.getLogger(__name__)


class SettlementCount:
    """Counts what is open of a record: its building, and its parts. Calls `on_settled` when the last is settled."""

    __slots__ = ("_on_settled", "_open", "parts")

    def __init__(self, on_settled: Callable[[], None]) -> None:
        self._on_settled = on_settled
        self._open = 1
        self.parts = 0

    def add(self) -> None:
        """Add a part."""
        self.parts += 1
        self._open += 1

    def settle(self) -> None:
        """Settle a part, or the building."""
        self._open -= 1
        if not self._open:
            self._on_settled()


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
    part_bytes: int
    """Documents are built in parts of about this size."""
    _running: asyncio.Event = field(default_factory=_set_event, init=False)
    _rerouted: dict[TP, int] = field(default_factory=dict, init=False)

    async def handle(self, event: EventT[Any]) -> None:
        """Process a record when the memory budget allows it."""
        message: Any = event.message
        headers = [(str(name), data or b"") for name, data in message.headers or ()]
        size = len(message.value or b"") + sum(len(name) + len(data) for name, data in headers)
        await self.budget.acquire(size)
        await self._running.wait()
        routing = "" if self._may_be_indexed(message) else self.routing()
        record = self.acker.add(message.tp, message.generation_id, record_mark.mark(message, routing))
        await self._process(message, headers, SettlementCount(lambda: self._settle(record, size)), size)

    def pause(self) -> None:
        """Process no more records; records in flight are completed."""
        self._running.clear()

    async def _process(self, message: Any, headers: Headers, settlement: SettlementCount, size: int) -> None:
        """Build and submit the record's documents part by part, each when the memory budget allows it."""
        value = message.value or b""
        if isinstance(value, UnreadableBatch):
            self.tasks.spawn(self._dead_letter(self._batch_dead_letter(message, value), message.key, settlement))
            return
        self.metrics.inc("crisp_worker_received_bytes", len(value))
        origin = KafkaPosition(message.topic, message.partition, message.offset, round((message.timestamp or 0) * 1000))
        parts = self.processor.process_in_parts(value, headers, origin, time.time_ns(), self.part_bytes)
        written_at, last_size = None, self.part_bytes
        try:
            while part := await self._build_part(parts, size, last_size):
                if not settlement.parts:
                    self.metrics.inc("crisp_worker_records_received", kind=part[1])
                    written_at = self.monitor.observe_consumed(value, message.partition)
                self._count_traffic(part[0])
                self.health.record_progress()
                batch = part[0]
                if self._may_be_indexed(message):
                    batch = await self.indexer.keep_stored_indices(batch)
                self._submit(batch, written_at, settlement)
                last_size = batch.size
        except RecordError as error:
            if not settlement.parts:
                self.metrics.inc("crisp_worker_received_lines", value.count(b"\n"))
            dead_letter = DeadLetter(self.processor.redact(value), str(error), origin, headers)
            self.tasks.spawn(self._dead_letter(dead_letter, message.key, settlement))
            return
        settlement.settle()

    def _count_traffic(self, batch: DocumentBatch) -> None:
        """Count the raw lines of a part by their containers; those of a bundle's invalid parts are nobody's."""
        unknown = (part.value for part, _ in batch.invalid)
        rows = [*((*names, *counts) for names, counts in batch.traffic.items())]
        rows += [("", "", value.count(b"\n"), len(value)) for value in unknown]
        for namespace, container, lines, size in rows:
            self.metrics.inc("crisp_worker_received_lines", lines)
            self.monitor.traffic.add(namespace, container, lines, size)

    def _may_be_indexed(self, message: Any) -> bool:
        """Return whether the record may have been indexed before, in other indices than today's."""
        return int(message.offset) < self._rerouted.get(message.tp, 0)

    async def _build_part(
        self, parts: Iterator[tuple[DocumentBatch, str]], held: int, last_size: int
    ) -> tuple[DocumentBatch, str] | None:
        """Build the next part when the budget allows it; after a part that was not nearly full there is no other."""
        if 4 * last_size < self.part_bytes:
            return next(parts, None)
        await self.budget.acquire(self.part_bytes, held)
        try:
            return next(parts, None)
        finally:
            self.budget.release(self.part_bytes)

    def _submit(self, batch: DocumentBatch, written_at: float | None, settlement: SettlementCount) -> None:
        """Submit one part of a record; its bytes are in the budget until it is indexed.

        The parts of a bundle that are invalid are dead-lettered, each as a record of its own.
        """
        settlement.add()
        self.budget.grow(batch.size)

        def on_indexed() -> None:
            self.monitor.observe_indexed(written_at, batch, self.probe)
            self.budget.release(batch.size)
            settlement.settle()

        self.indexer.submit(batch, on_indexed)
        for part, reason in batch.invalid:
            settlement.add()
            dead_letter = DeadLetter(self.processor.redact(part.value), reason, batch.origin, part.headers)
            self.tasks.spawn(self._dead_letter(dead_letter, part.key, settlement))

    def _batch_dead_letter(self, message: Any, batch: UnreadableBatch) -> DeadLetter:
        """Return the dead letter of a batch that cannot be unpacked; with its bytes, unless anything is redacted."""
        last = message.offset
        origin = KafkaPosition(message.topic, message.partition, batch.first, round((message.timestamp or 0) * 1000))
        reason = f"batch of the records {batch.first} to {last}: {batch.reason}"
        value = b"" if self.processor.redacts else bytes(batch)
        whole = batch.complete and value
        return DeadLetter(value, reason, origin, [], incomplete="unpacked records" if whole else "its bytes")

    async def _dead_letter(self, dead_letter: DeadLetter, key: bytes | None, settlement: SettlementCount) -> None:
        """Write a record that violates the contract to the dead-letter topic; the rest of its partition goes on."""
        await self.dead_letter_producer.send(dead_letter, key)
        self.metrics.inc("crisp_worker_records_received", kind="invalid")
        settlement.settle()

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

    def on_rerouted(self, tp: TP, end: int) -> None:
        """Look up the documents of the partition's records before `end`: they may have been indexed elsewhere.

        A worker with other rules, routes or retention may have indexed them without committing the offset.
        """
        log.info("documents of %s/%d before offset %d may be in other indices: they are looked up first", *tp, end)
        self._rerouted[tp] = end

    def routing(self) -> str:
        """Return the digest of what decides the indices of documents, now."""
        return self.processor.routing

    def on_partitions_revoked(self) -> None:
        """Drop the pending records of older generations."""
        self.acker.drop_revoked()
