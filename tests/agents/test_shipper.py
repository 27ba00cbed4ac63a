"""The shipper's looks, with Kafka away: what appears is opened within a second, by either way of finding it."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agents.delivery import compression
from agents.shipper import Shipper
from pipeline.config.settings import Settings
from pipeline.local.process import free_ports

LINE = b"2026-11-24T09:42:30.%09dZ stdout F line %d\n"


class RunningShipper:
    """A shipper whose Kafka is not there, and the containers that its node starts."""

    def __init__(self, shipper: Shipper, logs: Path) -> None:
        self.shipper = shipper
        self.logs = logs

    def start_container(self, number: int) -> Path:
        directory = self.logs / f"shop_pay-{number}_0000-{number}" / "app"
        directory.mkdir(parents=True)
        (directory / "0.log").write_bytes(LINE % (number, number))
        return directory

    def read_open_log(self, number: int) -> bytes | None:
        """What the shipper could read of a container; None while it has not opened it."""
        for instance, tail in self.shipper._containers.tails.items():
            if instance.pod == f"pay-{number}" and tail.files:
                return os.pread(tail.files[0].descriptor, 1 << 20, 0)
        return None

    async def seconds_until_opened(self, number: int) -> float:
        """How long it took until a container that starts now was opened."""
        began = time.monotonic()
        self.start_container(number)
        while self.read_open_log(number) is None:
            await asyncio.sleep(0.01)
            assert time.monotonic() - began < 10
        return time.monotonic() - began


@pytest.fixture(params=["events", "poll", "both"])
async def looking(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RunningShipper]:
    for encode in compression.CODECS.values():
        monkeypatch.setattr(encode, "__defaults__", encode.__defaults__)  # a shipper lightens them for the process
    (tmp_path / "pods").mkdir()
    (port,) = free_ports(1)
    settings = Settings(
        kafka_brokers=f"127.0.0.1:{port}",
        logs_dir=str(tmp_path / "pods"),
        state_dir=str(tmp_path / "state"),
        discovery=request.param,
        kubernetes="off",
        node_name="n",
        ship_grace_seconds=0.1,
    )
    shipper = Shipper(settings)
    running = asyncio.create_task(shipper.run())
    await asyncio.sleep(0.2)
    yield RunningShipper(shipper, tmp_path / "pods")
    shipper.stop()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)


async def test_what_appears_is_opened_within_a_second(looking: RunningShipper) -> None:
    took = sorted([await looking.seconds_until_opened(number) for number in range(3)])

    assert took[1] < 1.0, took


async def test_a_container_of_half_a_second_is_held_after_it_is_gone(looking: RunningShipper) -> None:
    directory = looking.start_container(7)
    live = directory / "0.log"
    for number in range(10):
        await asyncio.sleep(0.06)
        with live.open("ab") as log:
            log.write(LINE % (number, number))
    last = live.read_bytes()
    shutil.rmtree(directory.parent)
    await asyncio.sleep(1.2)

    assert looking.read_open_log(7) == last
