"""Clients that cannot start are closed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.kafka import client, consumer_lag, dead_letter_topic, topic_reader
from pipeline.kafka.topic_reader import TopicReader
from tests.support.fake_kafka import FakeConsumer, FakeKafka

LETTER = DeadLetter(b"value", "reason", KafkaPosition("logs-raw", 0, 0, 0), [])


async def _read(settings: Settings) -> None:
    async with TopicReader(settings, settings.topic_raw):
        pass


@pytest.mark.parametrize(
    "use",
    [
        pytest.param(_read, id="topic_reader"),
        pytest.param(topic_reader.committed_offsets, id="committed_offsets"),
        pytest.param(consumer_lag.read_lag, id="lag"),
        pytest.param(lambda settings: client.partitions(settings, "logs-raw"), id="partitions"),
        pytest.param(lambda settings: dead_letter_topic.produce(settings, LETTER), id="dead_letter"),
    ],
)
async def test_client_that_cannot_connect_is_closed(
    use: Callable[[Settings], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = FakeKafka(monkeypatch)
    kafka.unavailable = True

    with pytest.raises(KafkaConnectionError):
        await use(Settings())

    assert kafka.clients
    assert all(made.stopped for made in kafka.clients)


@pytest.mark.parametrize("method", ["start", "beginning_offsets", "offsets_for_times"])
@pytest.mark.parametrize("error", [KafkaConnectionError(), asyncio.CancelledError()], ids=["error", "cancelled"])
async def test_reader_that_cannot_find_its_offsets_closes_its_consumer(
    method: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    kafka = FakeKafka(monkeypatch)
    kafka.create_topic("logs-raw")

    async def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(FakeConsumer, method, fail)

    with pytest.raises(type(error)):
        await TopicReader(Settings(), "logs-raw", since=1).__aenter__()

    assert all(made.stopped for made in kafka.clients)
