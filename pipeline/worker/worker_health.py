"""Observes a worker's health signs, for `/livez` and `/readyz`."""

import asyncio
import time

from pipeline.elasticsearch.indexer import Indexer
from pipeline.worker import liveness
from pipeline.worker.app import WorkerApp
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.liveness import HealthSigns
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.monitor import WorkerMonitor

HEARTBEAT_SECONDS = 1.0
SAMPLE_SECONDS = 10.0


class WorkerHealth:
    """The health signs of one worker. `run` updates those that no other part records."""

    def __init__(
        self,
        app: WorkerApp,
        budget: MemoryBudget,
        monitor: WorkerMonitor,
        indexer: Indexer,
        dead_letter_producer: DeadLetterProducer,
    ) -> None:
        self._app = app
        self._budget = budget
        self._monitor = monitor
        self._indexer = indexer
        self._dead_letter_producer = dead_letter_producer
        now = time.monotonic()
        self._signs = HealthSigns(heartbeat_at=now, consuming_at=now, idle_at=now, progress_at=now)

    def record_heartbeat(self) -> None:
        """Record that the event loop runs."""
        self._signs.heartbeat_at = time.monotonic()

    def record_progress(self) -> None:
        """Record that a record was processed or settled."""
        self._signs.progress_at = time.monotonic()

    async def run(self) -> None:
        """Update the signs until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._record_heartbeats())
            group.create_task(self._sample_periodically())

    async def _record_heartbeats(self) -> None:
        while True:
            self.record_heartbeat()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _sample_periodically(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.sample()

    def sample(self) -> None:
        """Update the signs of the consumer, and of an idle or waiting worker."""
        now = time.monotonic()
        self._signs.consumer_thread_alive = self._app.is_consumer_thread_alive()
        if self._monitor.kafka_unavailable or self._app.is_consuming():
            self._signs.consuming_at = now
        if self._is_dependency_unavailable() or not (self._budget.used or self._monitor.has_lag()):
            self._signs.idle_at = now

    def _is_dependency_unavailable(self) -> bool:
        return bool(
            self._indexer.failing_since or self._indexer.index_resolver.problem or self._dead_letter_producer.pending
        )

    def liveness_failure(self) -> str:
        """Return why the process must be restarted, for `/livez`; empty while it is live."""
        return liveness.failure_reason(self._signs, time.monotonic())

    def readiness_failure(self) -> str:
        """Return why the worker is not ready, for `/readyz`; empty when it is."""
        return "" if self._app.assigned() else "no partitions assigned yet"
