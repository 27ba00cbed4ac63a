"""The Faust app of a worker, with every setting that prevents data loss.

Faust 0.15.3 loses data or hangs in five known ways with its defaults. The guards, here, in `ordered_acks` and in
`consumer`: manual acks in offset order; an agent that raises no exception, and a supervisor that ends the process if
one escapes; a memory budget in bytes; a maximum poll interval so long that a blocked worker never leaves the group;
no wait for empty streams in a rebalance; no tables, no leader topic, the round-robin assignor.

This module and `consumer` are the only ones that use members of Faust and mode which are not public.
"""

import logging
import warnings
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import faust
from faust.exceptions import AlreadyConfiguredWarning, ConsumerNotStarted
from faust.types import TP, EventT, TopicT
from mode.supervisors import CrashingSupervisor

from pipeline.config.settings import MIB, WorkerSettings
from pipeline.kafka import record_batches
from pipeline.worker import consumer, credentials
from pipeline.worker.consumer import Consumer
from pipeline.worker.record_mark import RecordMark

UNPACK_RECORDS = 4
"""A batch may unpack to so many records of the maximum size; a part-read batch is kept for each partition."""
NO_TIMEOUT_SECONDS = 30 * 86400.0

log = logging.getLogger(__name__)


class EventHandler(Protocol):
    """What an app calls, on its event loop."""

    async def handle(self, event: EventT[Any]) -> None:
        """Handle a consumed record; called in the order of each partition's offsets, without an ack."""

    def on_records_lost(self, tp: TP, first: int, message: Any) -> None:
        """Handle that the records from offset `first` to a message expired before they were consumed."""

    def on_log_reset(self, tp: TP) -> None:
        """Handle that a partition's log was recreated."""

    def on_rerouted(self, tp: TP, end: int) -> None:
        """Handle that records of a partition before offset `end` may already be indexed, in other indices."""

    def routing(self) -> str:
        """Return the digest of what decides the indices of documents."""

    def on_partitions_revoked(self) -> None:
        """Handle that partitions were reassigned; the generation is the new one."""


def _log_partitions(change: str, partitions: Iterable[TP]) -> None:
    numbers = sorted(f"{tp.topic}/{tp.partition}" for tp in partitions)
    if numbers:
        # No two are the same message: each change is written, however soon after the last one.
        log.info(f"partitions {change}: {', '.join(numbers)}")  # noqa: G004


class WorkerApp:
    """The Faust app of one worker. It consumes the raw topic and runs the tasks from `start` to `stop`."""

    def __init__(self, settings: WorkerSettings) -> None:
        record_batches.install(UNPACK_RECORDS * settings.record_max_bytes)
        self._settings = settings
        self._app = _build(settings)
        self.dead_letter_topic: TopicT = self._app.topic(
            settings.topic_dead, value_serializer="raw", key_serializer="raw"
        )

    async def start(self, handler: EventHandler, tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
        """Connect with the current password, consume, and run the tasks."""
        app = self._app
        raw_topic = app.topic(
            self._settings.topic_raw, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw"
        )

        async def index(stream: Any) -> None:
            async for event in stream.noack().events():
                await handler.handle(event)

        async def on_partitions_revoked(*arguments: Any, **_: Any) -> None:
            _log_partitions("revoked", arguments[1])
            handler.on_partitions_revoked()

        async def on_partitions_assigned(*arguments: Any, **_: Any) -> None:
            _log_partitions("assigned", arguments[1])

        app.agent(raw_topic, name="index")(index)
        for task in tasks:
            app.task(task)
        app.on_partitions_revoked.connect(on_partitions_revoked, weak=False)
        app.on_partitions_assigned.connect(on_partitions_assigned, weak=False)
        consumer.install(app, handler.on_records_lost, handler.on_log_reset, handler.on_rerouted, handler.routing)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AlreadyConfiguredWarning)
            app.conf.broker_credentials = credentials.broker_credentials(self._settings)
        app.finalize()
        app.worker_init()
        app.worker_init_post_autodiscover()
        await app.start()

    async def stop(self) -> None:
        """Leave the group and close the connections; waits without limit for a broker that does not answer."""
        await self._app.stop()

    async def wait_until_stopped(self) -> None:
        """Return when the app has stopped or crashed."""
        await self._app.wait_until_stopped()

    async def crash(self, error: BaseException) -> None:
        """End the app because of an error."""
        await self._app.crash(error)

    @property
    def crashed(self) -> bool:
        """Whether an error ended the app."""
        return self._app.crashed

    async def commit(self) -> None:
        """Commit the offsets of the acked records."""
        await self._app.consumer.commit()

    async def change_routing(self, change: Callable[[], None]) -> None:
        """Call `change`, which changes the routing, when the group's offsets have no routing any more."""
        if self._consumer is not None:
            await self._consumer.change_routing(change)
        else:
            change()

    def ack(self, tp: TP, mark: RecordMark) -> None:
        """Commit, with the next commit, that this record and all earlier ones of its partition are settled."""
        if self._consumer is not None:
            self._consumer.set_settled(tp, mark)

    def pause(self) -> None:
        """Fetch no more records."""
        self._app.consumer.stop_flow()

    def generation(self) -> int:
        """Return the current generation of the consumer group."""
        return int(self._app.consumer_generation_id)

    def is_consuming(self) -> bool:
        """Return whether records are fetched: the flow is active, and the group is not rebalancing."""
        return self._consumer is not None and self._consumer.flow_active and not self._app.rebalancing

    def is_consumer_thread_alive(self) -> bool:
        """Return whether the Kafka client's thread is running."""
        return self._consumer is None or self._consumer.is_thread_alive()

    def assigned(self) -> frozenset[TP]:
        """Return the partitions assigned to this worker; none before the start. Any thread may call it."""
        if self._consumer is None:
            return frozenset()
        try:
            return frozenset(self._consumer.assignment())
        except ConsumerNotStarted:
            return frozenset()

    def kafka_clients(self) -> list[Any]:
        """Return the aiokafka clients of the running consumer and producer."""
        # Faust has no public name for the clients that it wraps.
        producer: Any = self._app.producer
        return [*(self._consumer.kafka_clients() if self._consumer else ()), producer._producer.client]  # noqa: SLF001

    @property
    def _consumer(self) -> Consumer | None:
        """The consumer, if it exists.

        Faust's public property creates it. A status request before the start would then create it in the status
        server's own thread and loop.
        """
        return self._app._consumer  # type: ignore[return-value]  # noqa: SLF001


def _build(settings: WorkerSettings) -> faust.App:
    return faust.App(
        settings.kafka_group,
        broker=";".join(f"kafka://{broker}" for broker in settings.kafka_brokers),
        broker_credentials=credentials.broker_credentials(settings),
        processing_guarantee="at_least_once",
        broker_max_poll_interval=NO_TIMEOUT_SECONDS,
        stream_wait_empty=False,
        agent_supervisor=CrashingSupervisor,
        stream_buffer_maxsize=16,
        broker_max_poll_records=16,
        consumer_max_fetch_size=max(2 * MIB, settings.record_max_bytes),
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=30_000,  # a topic that is created late, or recreated, is discovered after this
        broker_commit_interval=1.0,
        broker_commit_every=1_000_000,
        broker_session_timeout=settings.kafka_session_timeout_seconds,
        broker_heartbeat_interval=settings.kafka_session_timeout_seconds / 4,
        broker_rebalance_timeout=60.0,
        broker_request_timeout=60.0,
        stream_processing_timeout=NO_TIMEOUT_SECONDS,
        broker_commit_livelock_soft_timeout=NO_TIMEOUT_SECONDS,
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
        producer_max_request_size=settings.dead_letter_max_bytes,
        producer_request_timeout=60.0,
        producer_linger=0.05,
        producer_threaded=False,
        web_enabled=False,
        worker_redirect_stdouts=False,
        datadir="/tmp/crisp-faust",  # noqa: S108 - nothing is written there: the app has no tables
    )
