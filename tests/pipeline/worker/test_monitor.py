"""The consumer lag of a worker: known, unknown, and last known."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError

from pipeline.config.settings import WorkerSettings
from pipeline.kafka.consumer_lag import Lag
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.worker import monitor as monitor_module
from pipeline.worker.monitor import WorkerMonitor
from pipeline.worker.ordered_acks import OrderedAcker

LAG = {0: Lag(first=10, end=1014, begin=0, seconds=3.0)}


class Reader:
    """Stands for the reader of the lag: `answers` are returned or raised in turn, then the last one again."""

    answers: list[dict[int, Lag] | Exception]

    def __init__(self, _: object) -> None:
        pass

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def read(self, *_: Any) -> dict[int, Lag]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def monitor(monkeypatch: pytest.MonkeyPatch) -> WorkerMonitor:
    monkeypatch.setattr(monitor_module, "LagReader", Reader)
    settings = WorkerSettings(lag_poll_seconds=0.01)
    return WorkerMonitor(settings, Metrics(WORKER), lambda: {0}, OrderedAcker(lambda: 1, lambda *_: None))


async def run_until(monitor: WorkerMonitor, condition: Callable[[], bool]) -> None:
    task = asyncio.create_task(monitor._measure_lag())
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})


async def test_lag_is_never_read_before_the_first_answer(monitor: WorkerMonitor) -> None:
    assert (monitor.lag_measured_at, monitor.lag_problem, monitor.lag()) == (None, "", ())


async def test_lag_is_known_after_an_answer(monitor: WorkerMonitor) -> None:
    Reader.answers = [LAG]

    await run_until(monitor, lambda: monitor.lag_measured_at is not None)

    assert monitor.lag_problem == ""
    assert monitor.lag()[0].records == 1004
    assert monitor._metrics.get("crisp_worker_consumer_lag_unknown") == 0


@pytest.mark.parametrize(
    ("error", "problem", "unavailable"),
    [
        (KafkaConnectionError("Unable to bootstrap from [('b', 9092, <AddressFamily.AF_INET: 2>)]"), "to b:9092", True),
        (TimeoutError(), "no answer in time", True),
        (GroupAuthorizationFailedError("crisp-worker"), "crisp-worker", False),
    ],
)
async def test_unreadable_lag_is_unknown_and_the_last_one_is_kept(
    monitor: WorkerMonitor,
    error: Exception,
    problem: str,
    unavailable: bool,  # noqa: FBT001
) -> None:
    Reader.answers = [LAG, error]

    await run_until(monitor, lambda: bool(monitor.lag_problem))

    assert problem in monitor.lag_problem
    assert "AddressFamily" not in monitor.lag_problem
    assert monitor.kafka_unavailable is unavailable
    assert monitor.lag()[0].records == 1004
    assert monitor._metrics.get("crisp_worker_consumer_lag_unknown") == 1
    assert monitor._metrics.get("crisp_worker_consumer_lag_records", partition="0") == 1004


async def test_lag_is_unknown_when_the_answer_is_late(monitor: WorkerMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    Reader.answers = [LAG]
    await run_until(monitor, lambda: monitor.lag_measured_at is not None)
    later = time.monotonic() + 11

    monkeypatch.setattr(time, "monotonic", lambda: later)

    assert monitor.lag_problem.startswith("Kafka has not answered for 1")


async def test_lag_is_known_again_after_the_next_answer(monitor: WorkerMonitor) -> None:
    Reader.answers = [TimeoutError(), LAG]

    await run_until(monitor, lambda: monitor.lag_measured_at is not None)

    assert (monitor.lag_problem, monitor.kafka_unavailable) == ("", False)


async def test_partition_filled_by_large_records_is_near_its_retention_by_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(monitor_module, "LagReader", Reader)
    settings = WorkerSettings(lag_poll_seconds=0.01, topic_retention_bytes=1_000_000)
    monitor = WorkerMonitor(settings, Metrics(WORKER), lambda: {0, 1}, OrderedAcker(lambda: 1, lambda *_: None))
    for _ in range(2500):
        monitor.observe_consumed(b"x" * 10, 0)
        monitor.observe_consumed(b"x" * 10_000, 1)
    Reader.answers = [{number: Lag(0, 70, 0, 1.0) for number in (0, 1)}]

    await run_until(monitor, lambda: monitor.lag_measured_at is not None)

    small, large = monitor.lag()
    assert (small.bytes, small.retention_limit) == (700, "size")
    assert large.bytes == pytest.approx(700_000, rel=0.01)
    assert large.retention_ratio == pytest.approx(0.7, rel=0.01)
    ratios = monitor._metrics.values_by_label("crisp_worker_consumer_lag_retention_ratio", "partition")
    assert ratios == {"0": small.retention_ratio, "1": large.retention_ratio}
