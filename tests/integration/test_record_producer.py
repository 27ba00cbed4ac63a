"""The shipper's producer keeps its contract on a real Kafka."""

import asyncio
import dataclasses
from pathlib import Path

import pytest

from agents.delivery.producer import Producer, RecordProducer
from pipeline.contract.record import Headers
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from tests.integration.flow import Flow
from tests.support.producer_contract import Harness, ProducerContract

pytestmark = pytest.mark.servers


class KafkaHarness(Harness):
    """A topic of the local Kafka."""

    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.settings = flow.settings

    def create(self, *, reachable: bool = True) -> Producer:
        (port,) = free_ports(1)
        settings = (
            self.settings if reachable else dataclasses.replace(self.settings, kafka_brokers=(f"127.0.0.1:{port}",))
        )
        return RecordProducer(settings, settings.slice_max_bytes)

    def suspend(self) -> None:
        self.flow.stack.kafka.pause()

    def resume(self) -> None:
        self.flow.stack.kafka.resume()

    async def stored(self) -> list[tuple[bytes, bytes, Headers]]:
        records = await asyncio.to_thread(self.flow.records, self.settings.topic_raw)
        return [(record.key, record.value, list(record.headers)) for record in records]


class TestRecordProducer(ProducerContract):
    """The contract, on Kafka."""

    @pytest.fixture
    async def harness(self, stack: Stack, tmp_path: Path) -> Harness:
        flow = Flow(stack, tmp_path)
        await topics.create_topics(flow.settings)
        return KafkaHarness(flow)
