"""A producer that hangs or fails while Kafka is healthy: it is replaced, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from agents.delivery import link
from agents.delivery.producer import RecordProducer
from agents.shipper import Shipper
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from tests.faults.rawtopic import RawTopic
from tests.faults.rotated import RotatedLog
from tests.integration.flow import Flow, eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short
LINES = 200


def skip_sequence_numbers(producer: AIOKafkaProducer) -> None:
    """Skip sequence numbers, as after an expired batch: the broker rejects every later batch."""
    for partition in list(producer._txn_manager._sequence_numbers):
        producer._txn_manager.increment_sequence_number(partition, 7)


def cancel_sender(producer: AIOKafkaProducer) -> None:
    """Cancel the sender task: accepted records are never sent."""
    producer._sender.sender_task.cancel()


def break_sender(producer: AIOKafkaProducer) -> None:
    """Make the sender task raise an exception."""
    producer._sender._in_flight = None


class EmbeddedShipper:
    """A shipper in the test's process, so that faults can be injected into its producer."""

    def __init__(self, stack: Stack, directory: Path) -> None:
        self.flow = Flow(stack, directory)
        self.log = RotatedLog(self.flow.logs, "shop", 1 << 40, 4)
        self.shipper = Shipper(self.flow.settings)

    async def wait_until_complete(self, seconds: float) -> None:
        """Wait until everything is acknowledged."""
        await asyncio.sleep(1)
        await asyncio.to_thread(eventually, self._is_complete, seconds)

    def _is_complete(self) -> bool:
        return not self.shipper._link.in_flight.total and self.shipper._all_shipped()


@pytest.fixture
async def embedded(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedShipper]:
    for name, seconds in (("WATCH_SECONDS", 0.5), ("UNRESPONSIVE_SECONDS", 1.0), ("STALLED_SECONDS", 3.0)):
        monkeypatch.setattr(link, name, seconds)
    embedded = EmbeddedShipper(stack, tmp_path)
    await topics.create_topics(embedded.flow.settings)
    task = asyncio.create_task(embedded.shipper.run())
    yield embedded
    embedded.shipper.stop()
    await asyncio.wait_for(task, 30)


@pytest.mark.parametrize(
    "inject",
    [pytest.param(skip_sequence_numbers, marks=short), pytest.param(break_sender, marks=short), cancel_sender],
    ids=lambda inject: inject.__name__,
)
async def test_failed_producer_is_replaced(
    embedded: EmbeddedShipper, inject: Callable[[AIOKafkaProducer], None]
) -> None:
    embedded.log.write("stdout", b"before")
    await embedded.wait_until_complete(20)
    first = embedded.shipper._link._producer

    assert isinstance(first, RecordProducer)
    assert first._producer is not None
    inject(first._producer)
    for number in range(LINES):
        embedded.log.write("stdout", b"after %d" % number)
    await embedded.wait_until_complete(40)

    assert embedded.shipper._link._producer is not first
    assert embedded.shipper._delivery.problem == ""
    embedded.log.close()
    records = await asyncio.to_thread(embedded.flow.records, embedded.flow.settings.topic_raw)
    assert RawTopic(records).count_missing(embedded.log.closed_files) == 0
