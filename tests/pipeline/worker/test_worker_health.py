"""A worker's health: signs of hanging count, waiting for a dependency does not."""

import asyncio
import contextlib
from typing import Any, cast

import pytest

from pipeline.worker import liveness, worker_health
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from pipeline.worker.memory_budget import MemoryBudget
from pipeline.worker.worker_health import WorkerHealth
from tests.support.fake_worker import RAW, FakeApp, FakeIndexer, FakeMonitor, FakeTopic


class Observed:
    """The health of fakes, at a time that the test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)
        self.app = FakeApp()
        self.budget = MemoryBudget(10)
        self.monitor = FakeMonitor()
        self.indexer = FakeIndexer()
        self.dead_letters = DeadLetterProducer(cast(Any, FakeTopic()), 1.0, 1 << 20)
        self.health = WorkerHealth(
            cast(Any, self.app), self.budget, cast(Any, self.monitor), cast(Any, self.indexer), self.dead_letters
        )

    def failure_after(self, seconds: float) -> str:
        """Why the worker counts as hung after this time, sampled every 10 seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now += worker_health.SAMPLE_SECONDS
            self.health.record_heartbeat()
            self.health.sample()
        return self.health.liveness_failure()


@pytest.fixture
def observed(monkeypatch: pytest.MonkeyPatch) -> Observed:
    return Observed(monkeypatch)


def test_idle_worker_is_live(observed: Observed) -> None:
    assert observed.failure_after(2 * liveness.PROGRESS_TIMEOUT_SECONDS) == ""


def test_blocked_loop_is_a_failure(observed: Observed) -> None:
    observed.now += liveness.LOOP_TIMEOUT_SECONDS + 1

    assert observed.health.liveness_failure().startswith("event loop blocked")


def test_ended_consumer_thread_is_a_failure(observed: Observed) -> None:
    observed.app.thread_alive = False

    assert observed.failure_after(10) == "Kafka client thread has ended"


def test_paused_consumer_is_a_failure_unless_kafka_is_unavailable(observed: Observed) -> None:
    observed.app.consuming = False
    observed.monitor.kafka_unavailable = True
    assert observed.failure_after(liveness.CONSUMER_TIMEOUT_SECONDS + 20) == ""

    observed.monitor.kafka_unavailable = False
    assert observed.failure_after(liveness.CONSUMER_TIMEOUT_SECONDS + 20).startswith("consumer paused")


@pytest.mark.parametrize("waiting_for", ["elasticsearch", "index", "dead_letters", ""])
def test_worker_without_progress_is_a_failure_unless_a_dependency_is_unavailable(
    waiting_for: str, observed: Observed
) -> None:
    observed.budget.grow(5)
    observed.indexer.failing_since = 1.0 if waiting_for == "elasticsearch" else None
    observed.indexer.problem = "not ours" if waiting_for == "index" else ""
    observed.dead_letters.pending = int(waiting_for == "dead_letters")

    assert bool(observed.failure_after(liveness.PROGRESS_TIMEOUT_SECONDS + 20)) is (waiting_for == "")


def test_lag_without_progress_is_a_failure_until_progress(observed: Observed) -> None:
    observed.monitor.lag = True
    assert observed.failure_after(liveness.PROGRESS_TIMEOUT_SECONDS + 20).startswith("no record processed")

    observed.health.record_progress()
    assert observed.health.liveness_failure() == ""


def test_worker_is_ready_when_it_has_partitions(observed: Observed) -> None:
    assert observed.health.readiness_failure() == "no partitions assigned yet"
    observed.app.partitions = frozenset({RAW})
    assert observed.health.readiness_failure() == ""


async def test_signs_are_updated_while_the_health_runs(observed: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(worker_health, "SAMPLE_SECONDS", 0.01)
    observed.app.thread_alive = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.1):
            await observed.health.run()

    assert observed.health.liveness_failure() == "Kafka client thread has ended"
