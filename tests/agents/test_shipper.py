"""Discovery by a running shipper, while Kafka is unavailable: by events, by polling, and by both."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.shipper import Shipper
from pipeline.config.settings import Settings
from pipeline.local.process import free_ports

LINE = b"2026-11-24T09:42:30.%09dZ stdout F line %d\n"


class RunningShipper:
    """A shipper without Kafka, and the containers that its node starts."""

    def __init__(self, shipper: Shipper, logs: Path) -> None:
        self.shipper = shipper
        self.logs = logs

    def start_container(self, number: int) -> Path:
        directory = self.logs / f"shop_pay-{number}_0000-{number}" / "app"
        directory.mkdir(parents=True)
        (directory / "0.log").write_bytes(LINE % (number, number))
        return directory

    def read_open_log(self, number: int) -> bytes | None:
        """Read a container's log by the shipper's descriptor; None while the shipper has not opened it."""
        for instance, tail in self.shipper._containers.tails.items():
            if instance.pod == f"pay-{number}" and tail.files:
                return tail.files[0].read_at(0, 1 << 20)
        return None

    async def seconds_until_opened(self, number: int) -> float:
        """Start a container, and measure how long the shipper needs to open its log."""
        started_at = time.monotonic()
        self.start_container(number)
        while self.read_open_log(number) is None:
            await asyncio.sleep(0.01)
            assert time.monotonic() - started_at < 10
        return time.monotonic() - started_at


@pytest.fixture(params=["events", "poll", "both"])
async def running_shipper(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RunningShipper]:
    (tmp_path / "pods").mkdir()
    (port,) = free_ports(1)
    settings = Settings(
        kafka_brokers=(f"127.0.0.1:{port}",),
        logs_dir=str(tmp_path / "pods"),
        state_dir=str(tmp_path / "state"),
        discovery=request.param,
        kubernetes="off",
        node_name="n",
        ship_grace_seconds=0.1,
    )
    shipper = Shipper(settings)
    task = asyncio.create_task(shipper.run())
    await asyncio.sleep(0.2)
    yield RunningShipper(shipper, tmp_path / "pods")
    shipper.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(task, 10)


@pytest.mark.parametrize("iterations", range(6))
async def test_scan_loop_can_be_cancelled_while_a_scan_is_requested(tmp_path: Path, iterations: int) -> None:
    """At any iteration of the event loop: else a stopping shipper never ends."""
    (tmp_path / "pods").mkdir()
    shipper = Shipper(Settings(logs_dir=str(tmp_path / "pods"), kubernetes="off", node_name="n", discovery="poll"))
    loop = asyncio.create_task(shipper._scan_loop())
    await asyncio.sleep(0.01)
    shipper._scan_requested.set()
    for _ in range(iterations):
        await asyncio.sleep(0)
    loop.cancel()

    await asyncio.wait({loop}, timeout=1)

    assert loop.cancelled()
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]


async def test_log_of_new_container_is_opened_within_a_second(running_shipper: RunningShipper) -> None:
    durations = [await running_shipper.seconds_until_opened(number) for number in range(5)]

    assert min(durations) < 1.0, durations  # the others may be those of a busy machine


async def test_log_of_short_lived_container_is_held_after_deletion(running_shipper: RunningShipper) -> None:
    directory = running_shipper.start_container(7)
    live = directory / "0.log"
    number = 0
    while running_shipper.read_open_log(7) is None or number < 10:
        await asyncio.sleep(0.06)
        number += 1
        assert number < 200
        with live.open("ab") as log:
            log.write(LINE % (number, number))
    last = live.read_bytes()
    shutil.rmtree(directory.parent)
    await asyncio.sleep(1.2)

    assert running_shipper.read_open_log(7) == last


async def test_first_scan_that_hangs_is_not_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(logs_dir=str(tmp_path), state_dir=str(tmp_path / "state"), kubernetes="off", node_name="n")
    shipper = Shipper(settings)
    problems: list[str] = []

    def hang() -> None:
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 61)
        problems.append(shipper._liveness_problem())
        raise InterruptedError

    monkeypatch.setattr(shipper._discovery, "scan", hang)
    assert shipper._liveness_problem() == ""
    with pytest.raises(InterruptedError):
        await shipper.run()

    assert problems == ["no scan for log files for 61 s"]
