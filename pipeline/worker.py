"""The Faust worker: takes slices from the raw topic, has them indexed, acks each when it is settled.

Faust 0.15.3 loses data or hangs in five known ways with its defaults. The guards, all here and in `acks`: acks
by hand and in order; an agent that lets no exception out, and a supervisor that ends the process if one gets
out; our own budget in bytes; a poll interval so long that a blocked worker never leaves the group; no waiting for
empty streams in a rebalance; no tables, no leader topic, the round-robin assignor.
"""

import asyncio
import logging
import time
from typing import Any

import faust
from faust.exceptions import ConsumerNotStarted
from mode.supervisors import CrashingSupervisor

from pipeline import deadletter, faust_credentials
from pipeline.acks import OrderedAcker, Slot
from pipeline.budget import Budget
from pipeline.deadletter import DeadLetter
from pipeline.document import Parcel
from pipeline.elastic.client import connect
from pipeline.elastic.indexer import Indexer
from pipeline.elastic.searchable import Probe
from pipeline.errors import RecordError
from pipeline.intake import Intake
from pipeline.metrics import WORKER, Metrics
from pipeline.record import Origin
from pipeline.settings import MIB, Settings, record_max_bytes
from pipeline.status.watch import Watch
from pipeline.web import Web

NEVER = 30 * 86400.0

log = logging.getLogger(__name__)


STUCK_SECONDS = 60.0


class Worker:
    """What one worker process does with its records; `app` is the Faust app around it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(WORKER)
        self.budget = Budget(settings.budget_bytes)
        self.intake = Intake(settings)
        self.app = build_app(settings)
        self.acker = OrderedAcker(lambda: int(self.app.consumer_generation_id))
        self._dead_topic = self.app.topic(settings.topic_dead, value_serializer="raw", key_serializer="raw")
        self._tasks: set[asyncio.Task[None]] = set()
        self.watch = Watch(settings, self.metrics, self._numbers, self.acker)
        self.web = Web(self.metrics, self._alive, self._ready, self.status)
        self._beat = time.monotonic()
        raw = self.app.topic(
            settings.topic_raw, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )
        self.app.agent(raw, name="index")(self._index)
        self.app.task(self._run_indexer)
        self.app.task(self._keep_beat)
        self.app.task(self._run_watch)
        self.app.on_partitions_revoked.connect(self._revoked)

    async def _index(self, stream: Any) -> None:
        async for event in stream.noack().events():
            value = event.message.value or b""
            await self.budget.acquire(len(value))
            self._take(event, value, self.acker.add(event))

    def _take(self, event: Any, value: bytes, slot: Slot) -> None:
        """Turn a record into documents and hand them over; a record that breaks the contract is dead-lettered."""
        self.metrics.add("crisp_worker_raw_bytes", len(value))
        message = event.message
        headers = [(str(name), data or b"") for name, data in message.headers or ()]
        origin = Origin(message.topic, message.partition, message.offset, round((message.timestamp or 0) * 1000))
        try:
            parcel, outcome = self.intake.of(value, headers, origin, time.time_ns())
        except RecordError as fault:
            self._spawn(self._bury_record(DeadLetter(value, str(fault), origin, headers), message.key, slot))
            return
        self.metrics.add("crisp_worker_records", outcome=outcome)
        written = self.watch.written(value)
        self.indexer.submit(parcel, lambda: self._indexed(parcel, written, slot, len(value)))

    def _indexed(self, parcel: Parcel, written: float | None, slot: Slot, size: int) -> None:
        self.watch.settled(written, parcel.documents, self.probe)
        self._settled(slot, size)

    def _settled(self, slot: Slot, size: int) -> None:
        self.budget.release(size)
        self.metrics.set("crisp_worker_in_work_bytes", self.budget.used)
        self.acker.done(slot)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(self._guard(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, work: Any) -> None:
        """Whatever gets out of a task is a bug: end the process, the offset stays where it was."""
        try:
            await work
        except Exception as fault:
            log.critical("the worker ends itself", exc_info=fault)
            await self.app.crash(fault)
            raise

    async def _bury_record(self, letter: DeadLetter, key: bytes | None, slot: Slot) -> None:
        await self._bury(letter, key)
        self.metrics.add("crisp_worker_records", outcome="dead")
        self._settled(slot, len(letter.value))

    async def _bury(self, letter: DeadLetter, key: bytes | None = None) -> None:
        """Put a letter into the dead-letter topic; returns when it is acknowledged there."""
        what = f"{letter.index}/{letter.id}" if letter.id else "/".join(map(str, letter.origin[:3]))
        log.error("dead-lettered: %s", letter.reason, extra={"crisp.dead": what})
        headers = deadletter.encode(letter)
        await (await self._dead_topic.send(key=key or letter.id.encode(), value=letter.value, headers=headers))

    async def _run_indexer(self) -> None:
        client = connect(self.settings)
        self.indexer = Indexer(client, self.settings, self.metrics, self._bury)
        try:
            self.probe = Probe(client, self.metrics, self.settings.probe_seconds)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._guard(self.indexer.run()))
                group.create_task(self._guard(self.probe.run()))
        finally:
            await client.close()

    async def _run_watch(self) -> None:
        await self._guard(self.watch.run())

    async def _keep_beat(self) -> None:
        self.web.start(self.settings.status_host, self.settings.worker_port)
        while True:
            self._beat = time.monotonic()
            await asyncio.sleep(1.0)

    def _alive(self) -> str:
        """Elasticsearch being away is no reason: then the worker waits, and Kafka keeps what comes."""
        stuck = time.monotonic() - self._beat
        return f"the worker's loop has not turned for {stuck:.0f} s" if stuck > STUCK_SECONDS else ""

    def _ready(self) -> str:
        return "" if self.partitions() else "no partitions yet"

    def partitions(self) -> list[str]:
        """The partitions that this worker has now."""
        consumer = self.app.consumer
        return sorted(f"{tp.topic}/{tp.partition}" for tp in (consumer.assignment() if consumer else ()))

    def _numbers(self) -> set[int]:
        try:
            assigned = self.app.consumer.assignment()
        except ConsumerNotStarted:
            return set()
        return {tp.partition for tp in assigned if tp.topic == self.settings.topic_raw}

    def status(self) -> dict[str, Any]:
        """Where the worker stands, for `/status.json`; the accounts add up to the events."""
        value = self.metrics.get
        outcomes = ("created", "there", "safe_form", "continued", "dead")
        return {
            "partitions": self.partitions(),
            "events": int(value("crisp_worker_events")),
            "documents": {name: int(value("crisp_worker_documents", outcome=name)) for name in outcomes},
            "dropped": {rule: int(number) for rule, number in self.metrics.by("crisp_worker_dropped", "rule").items()},
            "in_work_bytes": self.budget.used,
            **self.watch.facts(),
            "elasticsearch": {
                "failing_since": self.indexer.failing_since,
                "fault": self.indexer.fault if self.indexer.failing_since else "",
                "trouble": self.indexer.places.trouble,
            },
        }

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self.acker.forget_others()


def build_app(settings: Settings) -> faust.App:
    """The Faust app, with every setting that keeps it from losing data; each is explained in the notes above."""
    return faust.App(
        settings.group,
        broker=";".join(f"kafka://{broker.strip()}" for broker in settings.kafka_brokers.split(",")),
        broker_credentials=faust_credentials.credentials(settings),
        processing_guarantee="at_least_once",
        broker_max_poll_interval=NEVER,
        stream_wait_empty=False,
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=16,
        broker_max_poll_records=16,
        consumer_max_fetch_size=max(2 * MIB, record_max_bytes(settings)),
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=1.0,
        broker_commit_every=1_000_000,
        broker_session_timeout=settings.session_seconds,
        broker_heartbeat_interval=settings.session_seconds / 4,
        broker_rebalance_timeout=60.0,
        broker_request_timeout=60.0,
        stream_processing_timeout=NEVER,
        broker_commit_livelock_soft_timeout=NEVER,
        stream_publish_on_commit=False,
        cython_optimizations=False,
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        reply_create_topic=False,
        key_serializer="raw",
        value_serializer="raw",
        producer_acks=-1,
        producer_compression_type="zstd",
        producer_max_request_size=2 * record_max_bytes(settings),
        producer_request_timeout=60.0,
        producer_linger=0.05,
        producer_threaded=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        datadir="/tmp/crisp-faust",  # noqa: S108 - nothing is written there: there are no tables
    )
