"""A producer that is stuck, or dead, while Kafka is well: another takes its place, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from agents.delivery import delivery
from agents.shipper import Shipper
from pipeline.local.stack import Stack
from pipeline.operations.setup import setup
from tests.faults.rawtopic import RawTopic
from tests.faults.rotated import RotatedLog
from tests.integration.flow import Flow, eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short
LINES = 200


def skip_sequence_numbers(producer: AIOKafkaProducer) -> None:
    """The broker misses some of its numbers, as after a batch that was given up: it refuses all that comes."""
    for known in list(producer._txn_manager._sequence_numbers):
        producer._txn_manager.increment_sequence_number(known, 7)


def cancel_sender(producer: AIOKafkaProducer) -> None:
    """Its task is gone without a word: what is handed over is never sent."""
    producer._sender.sender_task.cancel()


def break_sender(producer: AIOKafkaProducer) -> None:
    """Its task comes upon a fault of its own."""
    producer._sender._in_flight = None


class EmbeddedShipper:
    """A shipper in this process, so that its producer can be harmed."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.flow = Flow(stack, directory)
        self.log = RotatedLog(self.flow.logs, "shop", 1 << 40, 4)
        self.shipper = Shipper(self.flow.settings)

    async def wait_until_complete(self, seconds: float) -> None:
        """Return when everything is acknowledged."""
        await asyncio.sleep(1)
        await asyncio.to_thread(eventually, self._is_complete, seconds)

    def _is_complete(self) -> bool:
        return not self.shipper._delivery.in_flight and self.shipper._all_shipped()


@pytest.fixture
async def running(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedShipper]:
    for name, seconds in (("WATCH_SECONDS", 0.5), ("UNRESPONSIVE_SECONDS", 1.0), ("STALLED_SECONDS", 3.0)):
        monkeypatch.setattr(delivery, name, seconds)
    made = EmbeddedShipper(stack, tmp_path)
    await setup.create_topics(made.flow.settings)
    task = asyncio.create_task(made.shipper.run())
    yield made
    made.shipper.stop()
    await asyncio.wait_for(task, 30)


@pytest.mark.parametrize(
    "harm",
    [pytest.param(skip_sequence_numbers, marks=short), pytest.param(break_sender, marks=short), cancel_sender],
    ids=lambda harm: harm.__name__,
)
async def test_failed_producer_is_replaced(running: EmbeddedShipper, harm: Callable[[AIOKafkaProducer], None]) -> None:
    running.log.write("stdout", b"before")
    await running.wait_until_complete(20)
    first = running.shipper._delivery._producer

    harm(first._producer)
    for number in range(LINES):
        running.log.write("stdout", b"after %d" % number)
    await running.wait_until_complete(40)

    assert running.shipper._delivery._producer is not first
    assert running.shipper._delivery.problem == ""
    running.log.close()
    records = await asyncio.to_thread(running.flow.records, running.flow.settings.topic_raw)
    assert RawTopic(records).count_missing(running.log.closed_files) == 0
