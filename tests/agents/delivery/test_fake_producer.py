"""The fake producer keeps the contract; `tests/integration/test_record_producer.py` runs the same on Kafka."""

import dataclasses

import pytest

from agents.delivery.producer import Producer
from pipeline.config.settings import Settings
from pipeline.contract.record import Headers
from tests.support.fake_producer import FakeTopic
from tests.support.producer_contract import Harness, ProducerContract


class FakeHarness(Harness):
    """A topic in memory."""

    def __init__(self) -> None:
        self.settings = dataclasses.replace(Settings(), topic_partitions=3)
        self.topic = FakeTopic(self.settings.topic_partitions)

    def create(self, *, reachable: bool = True) -> Producer:
        self.topic.reachable = reachable
        return self.topic.create_producer(self.settings, self.settings.slice_max_bytes)

    def suspend(self) -> None:
        self.topic.holding = True

    def resume(self) -> None:
        self.topic.release()

    async def stored(self) -> list[tuple[bytes, bytes, Headers]]:
        records = [record for partition in self.topic.records.values() for record in partition]
        return [(record.key, record.value, record.headers) for record in records]


class TestFakeProducer(ProducerContract):
    """The contract, in memory."""

    @pytest.fixture
    def harness(self) -> Harness:
        return FakeHarness()
