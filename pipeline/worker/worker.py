"""The worker: consumes records of the raw topic, indexes their documents, acks each record when it is settled."""

import asyncio
import logging
import os
import socket
import time
from typing import Any, cast

from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from pipeline import cancellation
from pipeline.config.secrets import SecretFileWatcher
from pipeline.config.settings import Settings
from pipeline.contract import gap
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.record import KafkaPosition
from pipeline.documents.builder import DocumentBatch
from pipeline.documents.record_processor import RecordProcessor
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.elasticsearch.indexer import Indexer
from pipeline.errors import RecordError
from pipeline.monitoring import process_info
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metrics import WORKER, Metrics
from pipeline.monitoring.pages import worker_page
from pipeline.rules.reload import RulesReloader
from pipeline.worker import app, credential_reload, liveness, totals
from pipeline.worker.consumer import Consumer
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.liveness import HealthSigns
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.monitor import WorkerMonitor
from pipeline.worker.ordered_acks import OrderedAcker, PendingRecord

HEALTH_SAMPLE_SECONDS = 10.0
UNKNOWN_POD = b'{"namespace":"","pod":"","container":""}'

HEALTHY = "Every received line is indexed or in flight."

log = logging.getLogger(__name__)


class Worker:
    """The record processing of one worker process; `app` is its Faust app."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(WORKER)
        self.budget = MemoryBudget(settings.worker_memory_budget_bytes)
        self.processor = RecordProcessor(settings)
        self.rules_reloader = RulesReloader(settings, self.processor.set_rules)
        self.metrics.set("crisp_worker_rules_last_reload_successful", 1)
        self.secret_watcher = SecretFileWatcher(settings)  # before anything reads a secret
        self.app = app.build(settings, self._records_lost, self._log_reset)
        self._consuming = asyncio.Event()
        self._consuming.set()
        self._client = connect(settings)
        dead_letter_topic = self.app.topic(settings.topic_dead, value_serializer="raw", key_serializer="raw")
        self.dead_letter_producer = DeadLetterProducer(dead_letter_topic, settings)
        self.indexer = Indexer(self._client, settings, self.metrics, self.dead_letter_producer.send)
        self.probe = FreshnessProbe(self.indexer.retrying_client, self.metrics, settings.search_probe_seconds)
        self.acker = OrderedAcker(lambda: int(self.app.consumer_generation_id))
        self._tasks: set[asyncio.Task[None]] = set()
        self._consumer_created = False
        self.monitor = WorkerMonitor(settings, self.metrics, self._raw_partitions, self.acker)
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self._totals = totals.snapshot(self.metrics, 0)
        self.status_server = StatusServer(
            self.metrics, self._liveness_failure, self._readiness_failure, self.status, worker_page.render
        )
        now = time.monotonic()
        self._health_signs = HealthSigns(heartbeat_at=now, consuming_at=now, idle_at=now, progress_at=now)
        raw_topic = self.app.topic(
            settings.topic_raw, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        self.app.agent(raw_topic, name="index")(self._index)
        self.app.task(self._run_indexer)
        self.app.task(self._heartbeat)
        self.app.task(self._run_monitor)
        self.app.task(self._sample_health)
        self.app.task(self._reload_rules)
        self.app.task(self._reload_credentials)
        self.app.on_partitions_revoked.connect(self._partitions_revoked)

    async def _index(self, stream: Any) -> None:
        async for event in stream.noack().events():
            value = event.message.value or b""
            await self.budget.acquire(len(value))
            await self._consuming.wait()
            self._process(event, value, self.acker.add(event))

    def pause(self) -> None:
        """Consume no more records; records in flight are completed."""
        self._consuming.clear()
        self._consumer.stop_flow()

    def _process(self, event: Any, value: bytes, record: PendingRecord) -> None:
        """Build a record's documents and submit them; dead-letter a record that violates the contract."""
        self.metrics.inc("crisp_worker_received_bytes", len(value))
        self.metrics.inc("crisp_worker_received_lines", value.count(b"\n"))
        message = event.message
        headers = [(str(name), data or b"") for name, data in message.headers or ()]
        origin = KafkaPosition(message.topic, message.partition, message.offset, round((message.timestamp or 0) * 1000))
        try:
            batch, kind = self.processor.process(value, headers, origin, time.time_ns())
        except RecordError as error:
            dead_letter = DeadLetter(self.processor.redact(value), str(error), origin, headers)
            self._spawn(self._dead_letter_record(dead_letter, message.key, record))
            return
        self.metrics.inc("crisp_worker_records_received", kind=kind)
        self._health_signs.progress_at = time.monotonic()
        written_at = self.monitor.observe_consumed(value)
        self.budget.grow(batch.size)
        self.indexer.submit(batch, lambda: self._on_indexed(batch, written_at, record, len(value) + batch.size))

    def _on_indexed(self, batch: DocumentBatch, written_at: float | None, record: PendingRecord, size: int) -> None:
        self.monitor.observe_indexed(written_at, batch.documents, self.probe)
        self._settle(record, size)

    def _settle(self, record: PendingRecord, size: int) -> None:
        self.budget.release(size)
        self.metrics.set("crisp_worker_in_flight_bytes", self.budget.used)
        self._health_signs.progress_at = time.monotonic()
        self.acker.settle(record)

    def _records_lost(self, tp: TP, first: int, message: Any) -> None:
        """Report records that expired by Kafka's retention before they were indexed; index a gap document."""
        count = message.offset - first
        log.error("%d records of %s/%d expired by retention before they were indexed", count, *tp)
        self.metrics.inc("crisp_worker_records_lost", count)
        until = round((message.timestamp or 0) * 1e9)
        identity = gap.partition_identity(*tp)
        lost = Gap(identity, first, "", None, gap.KAFKA_RETENTION, until=until, records=count)
        headers = gap.encode(GapRecord(lost, "", time.time_ns(), UNKNOWN_POD))
        batch, _ = self.processor.process(b"", headers, KafkaPosition(*tp, first, until // 10**6), time.time_ns())
        barrier = self.acker.add_barrier(int(self.app.consumer_generation_id), tp)
        self.indexer.submit(batch, lambda: self.acker.settle(barrier))

    def _log_reset(self, tp: TP) -> None:
        """Handle a recreated partition: pending records have offsets of the deleted log."""
        log.error("partition %s/%d was recreated; reading from the beginning", *tp)
        self.metrics.inc("crisp_worker_partition_resets")
        self.acker.drop_partition(tp)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._run_or_crash(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_or_crash(self, work: Any) -> None:
        """Await work; an exception from it is a bug and ends the process, with the offset unchanged."""
        try:
            await work
        except asyncio.CancelledError as error:
            if not cancellation.was_requested():
                await self._crash(error)
            raise
        except Exception as error:
            await self._crash(error)
            raise

    async def _crash(self, error: BaseException) -> None:
        log.critical("unrecoverable error, exiting", exc_info=error)
        await self.app.crash(error)

    async def _dead_letter_record(self, dead_letter: DeadLetter, key: bytes | None, record: PendingRecord) -> None:
        await self.dead_letter_producer.send(dead_letter, key)
        self.metrics.inc("crisp_worker_records_received", kind="invalid")
        self._settle(record, len(dead_letter.value))

    async def _run_indexer(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._run_or_crash(self.indexer.run()))
                group.create_task(self._run_or_crash(self.probe.run()))
        finally:
            await self._client.close()

    async def _reload_credentials(self) -> None:
        await self._run_or_crash(
            credential_reload.run(self.settings, self.secret_watcher, self._client, self._kafka_clients)
        )

    def _kafka_clients(self) -> list[Any]:
        # Faust has no public name for the clients that it wraps.
        return [self._consumer._thread._ensure_consumer()._client, self.app.producer._producer.client]  # type: ignore[attr-defined]  # noqa: SLF001

    async def _run_monitor(self) -> None:
        await self._run_or_crash(self.monitor.run())

    async def _reload_rules(self) -> None:
        while self.settings.rules_file:
            await asyncio.sleep(self.settings.rules_poll_seconds)
            self.rules_reloader.poll()
            self.metrics.set("crisp_worker_rules_last_reload_successful", int(not self.rules_reloader.problems))

    async def _heartbeat(self) -> None:
        while True:
            self.record_heartbeat()
            self._totals = totals.snapshot(self.metrics, self.acker.pending())
            await asyncio.sleep(1.0)

    def record_heartbeat(self) -> None:
        """Record that the event loop runs."""
        self._health_signs.heartbeat_at = time.monotonic()

    @property
    def _consumer(self) -> Consumer:
        return cast(Consumer, self.app.consumer)

    async def _sample_health(self) -> None:
        """Update the health signs periodically, for `liveness`."""
        while True:
            await asyncio.sleep(HEALTH_SAMPLE_SECONDS)
            consumer, now = self._consumer, time.monotonic()
            self.indexer.rejection_handler.refresh_rate()
            self._health_signs.consumer_thread_alive = consumer.is_thread_alive()
            if self.monitor.kafka_unavailable or (consumer.flow_active and not self.app.rebalancing):
                self._health_signs.consuming_at = now
            if self._dependency_unavailable() or not (self.budget.used or self.monitor.has_lag()):
                self._health_signs.idle_at = now

    def _dependency_unavailable(self) -> bool:
        return bool(
            self.indexer.failing_since or self.indexer.index_resolver.problem or self.dead_letter_producer.pending
        )

    def _liveness_failure(self) -> str:
        """Return why the process must be restarted, for `/livez`; empty while it is live."""
        return liveness.failure_reason(self._health_signs, time.monotonic())

    def _readiness_failure(self) -> str:
        return "" if self.partitions() else "no partitions assigned yet"

    def create_consumer(self) -> None:
        """Create Faust's consumer now, in the running loop.

        Faust creates it on first access. An early status request would create it in the status server's own thread
        and loop; until this call, such requests do not access it.
        """
        self._consumer_created = bool(self.app.consumer)

    def partitions(self) -> list[str]:
        """Return the partitions that are assigned to this worker, as TOPIC/PARTITION."""
        return sorted(f"{tp.topic}/{tp.partition}" for tp in self._assigned())

    def _raw_partitions(self) -> set[int]:
        return {tp.partition for tp in self._assigned() if tp.topic == self.settings.topic_raw}

    def _assigned(self) -> frozenset[TP]:
        if not self._consumer_created:
            return frozenset()
        try:
            return frozenset(self.app.consumer.assignment())
        except ConsumerNotStarted:
            return frozenset()

    def status(self) -> dict[str, Any]:
        """Return the worker's status, for its page and `/status.json`."""
        return process_info.with_health(
            {
                **process_info.snapshot("worker", self.name, HEALTHY, self.settings),
                "partitions": self.partitions(),
                **self._totals,
                "topic_raw": self.settings.topic_raw,
                "topic_dead": self.settings.topic_dead,
                "retention_seconds": self.settings.topic_retention_seconds,
                "dead_trouble": self.dead_letter_producer.problem,
                "lost_records": int(self.metrics.get("crisp_worker_records_lost")),
                "in_work_bytes": self.budget.used,
                "budget_bytes": self.settings.worker_memory_budget_bytes,
                "rules": self.rules_reloader.snapshot(),
                **self.monitor.snapshot(),
                **self.indexer.snapshot(),
            }
        )

    async def _partitions_revoked(self, *_: Any, **__: Any) -> None:
        self.acker.drop_revoked()
