"""The life of a worker process: it waits for Kafka, drains before it leaves, and exits in any case."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaConnectionError

from pipeline import forced_exit
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.kafka import client, consumer_lag
from pipeline.kafka.consumer_lag import Lag
from pipeline.worker import process
from pipeline.worker.ordered_acks import OrderedAcker, PendingRecord
from pipeline.worker.record_mark import RecordMark
from tests.support.fake_worker import RAW, FakeApp


class FakeStatusServer:
    """Records where it would listen."""

    def __init__(self) -> None:
        self.address = ("", 0)

    def start(self, host: str, port: int) -> None:
        self.address = (host, port)


class FakeHealth:
    """Counts heartbeats."""

    def __init__(self) -> None:
        self.heartbeats = 0

    def record_heartbeat(self) -> None:
        self.heartbeats += 1


class FakeWorker:
    """The parts of a worker that its process uses."""

    def __init__(self, on_start: Callable[[], None] = lambda: None, grace_seconds: float = 0.05) -> None:
        self.settings = Settings(retry_max_seconds=0.1, worker_grace_seconds=grace_seconds, worker_port=8080)
        self.app = FakeApp()
        self.acker = OrderedAcker(self.app.generation, lambda *_: None)
        self.health = FakeHealth()
        self.status_server = FakeStatusServer()
        self.on_start = on_start

    async def start(self) -> None:
        self.app.calls.append("start")
        self.on_start()

    def pause(self) -> None:
        self.app.pause()

    def add_record(self) -> PendingRecord:
        """A record in flight."""
        return self.acker.add(RAW, 1, RecordMark(0, 0, 0))


class Kafka:
    """What Kafka responds: one problem per connection, one lag or error per request; then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.problems: list[str] = []
        self.lags: list[int | Exception] = []
        self.exits: list[int] = []
        monkeypatch.setattr(client, "connection_problem", self._connection_problem)
        monkeypatch.setattr(consumer_lag, "read_lag", self._read_lag)
        monkeypatch.setattr(process, "LAG_POLL_SECONDS", 0.001)
        monkeypatch.setattr(process, "LEAVE_TIMEOUT_SECONDS", 3600.0)
        self.exited = threading.Event()
        monkeypatch.setattr(os, "_exit", self._exit)

    def _exit(self, code: int) -> None:
        self.exits.append(code)
        self.exited.set()

    async def _connection_problem(self, _: Settings) -> str:
        return self.problems.pop(0) if self.problems else ""

    async def _read_lag(self, _: Settings, *, ages: bool) -> dict[int, Lag]:
        assert not ages
        lag = self.lags.pop(0) if self.lags else 0
        if isinstance(lag, Exception):
            raise lag
        return {0: Lag(0, lag, 0, None), 1: Lag(5, 5, 0, None)}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Kafka:
    return Kafka(monkeypatch)


async def run(worker: FakeWorker, *, once: bool = False) -> int:
    """Run the process, at most for a few seconds."""
    async with asyncio.timeout(10):
        return await process.run(cast(Any, worker), once=once)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_ends_the_worker_with_a_commit(number: int, kafka: Kafka) -> None:
    worker = FakeWorker(on_start=lambda: os.kill(os.getpid(), number))

    assert await run(worker) == 0
    assert worker.app.calls == ["start", "pause", "commit", "stop"]
    assert worker.status_server.address == ("::", 8080)


@pytest.mark.parametrize(("once", "code"), [(True, 1), (False, 0)])
async def test_signal_ends_the_wait_for_a_broker_that_never_answers(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch, *, once: bool, code: int
) -> None:
    async def wait_forever(_: Settings) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(client, "connection_problem", wait_forever)

    assert await run(FakeWorker(), once=once) == code


class HangingWorker(FakeWorker):
    """Its start never returns, as Faust's when Kafka goes away meanwhile."""

    async def start(self) -> None:
        await super().start()
        await asyncio.Event().wait()


async def test_process_exits_when_the_start_never_returns(kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LEAVE_TIMEOUT_SECONDS", 0.05)
    monkeypatch.setattr(process, "COMMIT_TIMEOUT_SECONDS", 0.05)
    task = asyncio.create_task(run(HangingWorker(on_start=lambda: os.kill(os.getpid(), signal.SIGTERM))))

    assert await asyncio.to_thread(kafka.exited.wait, 5)
    assert kafka.exits == [0]
    task.cancel()


async def test_crash_ends_the_worker_without_a_commit(kafka: Kafka) -> None:
    worker = FakeWorker()
    worker.on_start = worker.app.set_crashed

    assert await run(worker) == 1
    assert worker.app.calls == ["start", "stop"]


class CrashingWorker(FakeWorker):
    """Crashes while it drains."""

    def pause(self) -> None:
        super().pause()
        self.app.set_crashed()


async def test_crash_during_the_drain_is_no_success(kafka: Kafka) -> None:
    assert await run(CrashingWorker(on_start=lambda: os.kill(os.getpid(), signal.SIGTERM))) == 1


async def test_worker_waits_for_kafka_with_heartbeats(kafka: Kafka, caplog: pytest.LogCaptureFixture) -> None:
    kafka.problems = ["refused", "refused"]
    worker = FakeWorker(on_start=lambda: os.kill(os.getpid(), signal.SIGTERM))

    assert await run(worker) == 0
    assert worker.health.heartbeats == 2
    assert "cannot use Kafka, retrying until it succeeds: refused" in caplog.text


async def test_signal_ends_the_wait_for_kafka(kafka: Kafka) -> None:
    kafka.problems = 1000 * ["refused"]
    worker = FakeWorker()
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)

    assert await run(worker) == 0
    assert worker.app.calls == []


async def test_once_ends_when_the_lag_is_zero_and_every_record_is_acked(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.lags = [3, KafkaConnectionError("no broker"), SettingsError(["a file cannot be read"]), 1, 0]
    worker = FakeWorker()
    record = worker.add_record()
    asyncio.get_running_loop().call_later(0.02, record.settle)

    assert await run(worker, once=True) == 0
    assert kafka.lags == []
    assert worker.app.calls == ["start", "pause", "commit", "stop"]
    assert "cannot read the consumer lag, retrying" in caplog.text


async def test_once_that_is_stopped_before_the_lag_is_zero_is_no_success(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.lags.extend(1000 * [3])
    worker = FakeWorker(on_start=lambda: os.kill(os.getpid(), signal.SIGTERM))

    assert await run(worker, once=True) == 1
    assert worker.app.calls == ["start", "pause", "commit", "stop"]
    assert "stopped before the lag was zero" in caplog.text


async def test_once_that_is_stopped_while_it_waits_for_kafka_is_no_success(kafka: Kafka) -> None:
    kafka.problems = 1000 * ["refused"]
    asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGTERM)

    assert await run(FakeWorker(), once=True) == 1


async def test_unexpected_error_while_the_lag_is_read_is_no_success(
    kafka: Kafka, caplog: pytest.LogCaptureFixture
) -> None:
    kafka.lags = [RuntimeError("no such event loop")]
    worker = FakeWorker()

    assert await run(worker, once=True) == 1
    assert worker.app.calls == ["start", "pause", "commit", "stop"]
    assert "no such event loop" in caplog.text


async def test_record_consumed_while_the_lag_was_read_delays_the_end(kafka: Kafka) -> None:
    worker = FakeWorker()
    waiting = asyncio.create_task(process.wait_until_drained(cast(Any, worker)))
    original = consumer_lag.read_lag
    records: list[Any] = []

    async def read_lag(*arguments: Any, **options: Any) -> Any:
        if not records:
            records.append(worker.add_record())
        return await original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consumer_lag, "read_lag", read_lag)
        await asyncio.sleep(0.05)
        assert not waiting.done()
        records[0].settle()
        await asyncio.wait_for(waiting, 5)


async def test_drain_waits_for_pending_records(kafka: Kafka) -> None:
    worker = FakeWorker(grace_seconds=10)
    record = worker.add_record()
    draining = asyncio.create_task(process.drain(cast(Any, worker)))
    await asyncio.sleep(0.01)

    assert worker.app.calls == ["pause"]
    record.settle()
    await draining
    assert worker.app.calls == ["pause", "commit"]


async def test_drain_ends_after_the_grace_period_and_an_unanswered_commit(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "COMMIT_TIMEOUT_SECONDS", 0.01)
    worker = FakeWorker()
    worker.add_record()
    worker.app.commit_blocks = True

    await asyncio.wait_for(process.drain(cast(Any, worker)), 5)

    assert worker.app.calls == ["pause", "commit"]
    assert worker.acker.pending() == 1


def test_process_exits_with_its_code_although_kafka_does_not_answer(
    kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LEAVE_TIMEOUT_SECONDS", 0.01)
    forced_exit.schedule(process.LEAVE_TIMEOUT_SECONDS, 1, "Kafka does not answer")

    assert kafka.exited.wait(5)
    assert kafka.exits == [1]
