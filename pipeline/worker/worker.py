"""The worker: takes records from the raw topic, has them indexed, acks each when it is settled."""

import asyncio
import logging
import os
import socket
import time
from typing import Any, cast

from faust.exceptions import ConsumerNotStarted
from faust.types import TP

from pipeline import cancellation
from pipeline.config.secrets import Watched
from pipeline.config.settings import Settings
from pipeline.contract import gap
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.gap import Gap, GapRecord
from pipeline.contract.record import Origin
from pipeline.documents.builder import Parcel
from pipeline.documents.record_processor import Intake
from pipeline.elasticsearch.client import connect
from pipeline.elasticsearch.freshness_probe import Probe
from pipeline.elasticsearch.indexer import Indexer
from pipeline.errors import RecordError
from pipeline.monitoring import process_info
from pipeline.monitoring.http_server import Web
from pipeline.monitoring.metrics import WORKER, Metrics
from pipeline.monitoring.pages import worker_page
from pipeline.rules.reload import Renewal
from pipeline.worker import app, credential_reload, liveness, totals
from pipeline.worker.consumer import Consumer
from pipeline.worker.dead_letter_producer import Burial
from pipeline.worker.liveness import Signs
from pipeline.worker.memory_budget import Budget
from pipeline.worker.monitor import Watch
from pipeline.worker.ordered_acks import OrderedAcker, Slot

LOOK_SECONDS = 10.0
NO_POD = b'{"namespace":"","pod":"","container":""}'

WELL = "Every line that came is indexed or on its way."

log = logging.getLogger(__name__)


class Worker:
    """What one worker process does with its records; `app` is the Faust app around it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(WORKER)
        self.budget = Budget(settings.worker_memory_budget_bytes)
        self.intake = Intake(settings)
        self.renewal = Renewal(settings, self.intake.use)
        self.metrics.set("crisp_worker_rules_last_reload_successful", 1)
        self.secrets = Watched(settings)  # before anything reads one
        self.app = app.build(settings, self._lost, self._anew)
        self._taking = asyncio.Event()
        self._taking.set()
        self._client = connect(settings)
        dead = self.app.topic(settings.topic_dead, value_serializer="raw", key_serializer="raw")
        self.burial = Burial(dead, settings)
        self.indexer = Indexer(self._client, settings, self.metrics, self.burial.bury)
        self.probe = Probe(self.indexer.patience, self.metrics, settings.search_probe_seconds)
        self.acker = OrderedAcker(lambda: int(self.app.consumer_generation_id))
        self._tasks: set[asyncio.Task[None]] = set()
        self._bound = False
        self.watch = Watch(settings, self.metrics, self._numbers, self.acker)
        self.name = f"{socket.gethostname()}/{os.getpid()}"
        self._accounts = totals.of(self.metrics, 0)
        self.web = Web(self.metrics, self._alive, self._ready, self.status, worker_page.render)
        now = time.monotonic()
        self._signs = Signs(beat_at=now, flowing_at=now, idle_at=now, progress_at=now)
        raw = self.app.topic(
            settings.topic_raw, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        self.app.agent(raw, name="index")(self._index)
        self.app.task(self._run_indexer)
        self.app.task(self._keep_beat)
        self.app.task(self._run_watch)
        self.app.task(self._look)
        self.app.task(self._renew_rules)
        self.app.task(self._renew)
        self.app.on_partitions_revoked.connect(self._revoked)

    async def _index(self, stream: Any) -> None:
        async for event in stream.noack().events():
            value = event.message.value or b""
            await self.budget.acquire(len(value))
            await self._taking.wait()
            self._take(event, value, self.acker.add(event))

    def stop_taking(self) -> None:
        """Take no more records; what is in work goes on."""
        self._taking.clear()
        self._consumer.stop_flow()

    def _take(self, event: Any, value: bytes, slot: Slot) -> None:
        """Turn a record into documents and hand them over; a record that breaks the contract is dead-lettered."""
        self.metrics.add("crisp_worker_received_bytes", len(value))
        self.metrics.add("crisp_worker_received_lines", value.count(b"\n"))
        message = event.message
        headers = [(str(name), data or b"") for name, data in message.headers or ()]
        origin = Origin(message.topic, message.partition, message.offset, round((message.timestamp or 0) * 1000))
        try:
            parcel, outcome = self.intake.of(value, headers, origin, time.time_ns())
        except RecordError as fault:
            letter = DeadLetter(self.intake.redacted(value), str(fault), origin, headers)
            self._spawn(self._bury_record(letter, message.key, slot))
            return
        self.metrics.add("crisp_worker_records_received", outcome=outcome)
        self._signs.progress_at = time.monotonic()
        written = self.watch.written(value)
        self.budget.charge(parcel.size)
        self.indexer.submit(parcel, lambda: self._indexed(parcel, written, slot, len(value) + parcel.size))

    def _indexed(self, parcel: Parcel, written: float | None, slot: Slot, size: int) -> None:
        self.watch.settled(written, parcel.documents, self.probe)
        self._settled(slot, size)

    def _settled(self, slot: Slot, size: int) -> None:
        self.budget.release(size)
        self.metrics.set("crisp_worker_in_flight_bytes", self.budget.used)
        self._signs.progress_at = time.monotonic()
        self.acker.done(slot)

    def _lost(self, tp: TP, first: int, message: Any) -> None:
        """Kafka's retention took records before this worker came to them: say so, in the index too."""
        number = message.offset - first
        log.error("Kafka's retention took %d records of %s/%d before they were indexed", number, *tp)
        self.metrics.add("crisp_worker_records_lost", number)
        moment = round((message.timestamp or 0) * 1e9)
        identity = gap.partition_identity(*tp)
        lost = Gap(identity, first, "", None, gap.KAFKA_RETENTION, until=moment, records=number)
        headers = gap.encode(GapRecord(lost, "", time.time_ns(), NO_POD))
        parcel, _ = self.intake.of(b"", headers, Origin(*tp, first, moment // 10**6), time.time_ns())
        slot = self.acker.hold(int(self.app.consumer_generation_id), tp)
        self.indexer.submit(parcel, lambda: self.acker.done(slot))

    def _anew(self, tp: TP) -> None:
        """A partition's offsets began again: what is in work has offsets of the log that is gone."""
        log.error("the log of %s/%d began anew: it is read from its beginning", *tp)
        self.metrics.add("crisp_worker_partition_resets")
        self.acker.forget(tp)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Any) -> None:
        """Whatever gets out of a task is a bug: end the process, the offset stays where it was."""
        try:
            await work
        except asyncio.CancelledError as fault:
            if not cancellation.asked_for():
                await self._end(fault)
            raise
        except Exception as fault:
            await self._end(fault)
            raise

    async def _end(self, fault: BaseException) -> None:
        log.critical("the worker ends itself", exc_info=fault)
        await self.app.crash(fault)

    async def _bury_record(self, letter: DeadLetter, key: bytes | None, slot: Slot) -> None:
        await self.burial.bury(letter, key)
        self.metrics.add("crisp_worker_records_received", kind="invalid")
        self._settled(slot, len(letter.value))

    async def _run_indexer(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._guard(self.indexer.run()))
                group.create_task(self._guard(self.probe.run()))
        finally:
            await self._client.close()

    async def _renew(self) -> None:
        await self._guard(credential_reload.run(self.settings, self.secrets, self._client, self._kafka_clients))

    def _kafka_clients(self) -> list[Any]:
        # Faust has no name for the clients that it wraps.
        return [self._consumer._thread._ensure_consumer()._client, self.app.producer._producer.client]  # type: ignore[attr-defined]  # noqa: SLF001

    async def _run_watch(self) -> None:
        await self._guard(self.watch.run())

    async def _renew_rules(self) -> None:
        while self.settings.rules_file:
            await asyncio.sleep(self.settings.rules_poll_seconds)
            self.renewal.look()
            self.metrics.set("crisp_worker_rules_last_reload_successful", int(not self.renewal.refused))

    async def _keep_beat(self) -> None:
        while True:
            self.beat()
            self._accounts = totals.of(self.metrics, self.acker.in_work())
            await asyncio.sleep(1.0)

    def beat(self) -> None:
        """Note that the loop turns."""
        self._signs.beat_at = time.monotonic()

    @property
    def _consumer(self) -> Consumer:
        return cast(Consumer, self.app.consumer)

    async def _look(self) -> None:
        """Look at oneself now and then, for `liveness`."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            consumer, now = self._consumer, time.monotonic()
            self.indexer.settlement.look()
            self._signs.thread_lives = consumer.thread_lives()
            if self.watch.away or (consumer.flow_active and not self.app.rebalancing):
                self._signs.flowing_at = now
            if self._waits_for_others() or not (self.budget.used or self.watch.behind()):
                self._signs.idle_at = now

    def _waits_for_others(self) -> bool:
        return bool(self.indexer.failing_since or self.indexer.places.trouble or self.burial.waiting)

    def _alive(self) -> str:
        """Why the process has to be started again, for `/livez`."""
        return liveness.trouble(self._signs, time.monotonic())

    def _ready(self) -> str:
        return "" if self.partitions() else "no partitions yet"

    def bind(self) -> None:
        """Have Faust make its consumer now, in the loop that runs.

        It is made when first asked for: by a page asked for early, that would be in the pages' own thread and loop.
        So no page asks before.
        """
        self._bound = bool(self.app.consumer)

    def partitions(self) -> list[str]:
        """The partitions that this worker has now."""
        return sorted(f"{tp.topic}/{tp.partition}" for tp in self._assigned())

    def _numbers(self) -> set[int]:
        return {tp.partition for tp in self._assigned() if tp.topic == self.settings.topic_raw}

    def _assigned(self) -> frozenset[TP]:
        if not self._bound:
            return frozenset()
        try:
            return frozenset(self.app.consumer.assignment())
        except ConsumerNotStarted:
            return frozenset()

    def status(self) -> dict[str, Any]:
        """Where the worker stands, for its page and `/status.json`."""
        return process_info.judged(
            {
                **process_info.facts("worker", self.name, WELL, self.settings),
                "partitions": self.partitions(),
                **self._accounts,
                "topic_raw": self.settings.topic_raw,
                "topic_dead": self.settings.topic_dead,
                "retention_seconds": self.settings.topic_retention_seconds,
                "dead_trouble": self.burial.trouble,
                "lost_records": int(self.metrics.get("crisp_worker_records_lost")),
                "in_work_bytes": self.budget.used,
                "budget_bytes": self.settings.worker_memory_budget_bytes,
                "rules": self.renewal.facts(),
                **self.watch.facts(),
                **self.indexer.facts(),
            }
        )

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self.acker.forget_others()
