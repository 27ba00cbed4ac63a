"""What the packages rely on in Kafka, on the fake and on a broker."""

import asyncio
import dataclasses
import os
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import MessageSizeTooLargeError, ProducerClosed, UnknownTopicOrPartitionError

from agents.delivery.producer import RecordProducer
from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.gap import Gap, GapRecord, encode, is_gap
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.kafka import client, dead_letter_topic
from pipeline.kafka.consumer_lag import read_lag
from pipeline.kafka.topic_reader import TopicReader, committed_offsets
from pipeline.operations.check import kafka as kafka_check
from pipeline.operations.check.finding import FAILED
from pipeline.operations.setup.topics import create_topics

HEADERS: Headers = [("version", b"1")]


@pytest.fixture
async def topics(flow_settings: Settings) -> list[str]:
    return await create_topics(flow_settings)


@pytest.fixture
async def producer(flow_settings: Settings, topics: list[str]) -> AsyncIterator[RecordProducer]:
    """A connected producer of the shipper; the topics exist."""
    producer = RecordProducer(flow_settings, flow_settings.slice_max_bytes)
    await producer.start()
    yield producer
    await producer.stop(5.0)


def gap(offset: int) -> GapRecord:
    return GapRecord(Gap("AAAAAAAAAAAAAAAA", offset, "/var/log/pods/a", 10, "deleted"), "node-1", time.time_ns(), b"{}")


async def send(producer: RecordProducer, key: bytes, record: GapRecord) -> BaseException | None:
    """Send a record; return the error that was reported, None if it is acknowledged."""
    reported: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    producer.send(key, b"", encode(record), reported.set_result)
    return await asyncio.wait_for(reported, 30)


async def read(
    flow_settings: Settings, topic: str, since: int | None = None
) -> list[tuple[bytes, Headers, KafkaPosition]]:
    async with TopicReader(flow_settings, topic, since) as reader:
        return [record async for record in reader]


async def test_acknowledged_records_are_read_in_the_order_of_their_key(
    producer: RecordProducer, flow_settings: Settings
) -> None:
    errors = await asyncio.gather(*(send(producer, b"one key", gap(number)) for number in range(5)))

    records = await read(flow_settings, flow_settings.topic_raw)

    assert errors == [None] * 5
    assert len({position.partition for _, _, position in records}) == 1
    assert [position.offset for _, _, position in records] == list(range(5))
    assert all(is_gap(headers) for _, headers, _ in records)


async def test_keys_are_spread_over_the_partitions(producer: RecordProducer, flow_settings: Settings) -> None:
    await asyncio.gather(*(send(producer, b"key %d" % number, gap(number)) for number in range(20)))

    records = await read(flow_settings, flow_settings.topic_raw)

    assert {position.partition for _, _, position in records} == {0, 1}


async def test_dead_letter_is_read_as_it_was_sent(flow_settings: Settings, topics: list[str]) -> None:
    origin = KafkaPosition(flow_settings.topic_raw, 1, 17, 1_764_000_000_000)
    letter = DeadLetter(b'{"message":"no"}', "400 parsing: no", origin, HEADERS, "logs-2026.11.24", "id-1")

    await dead_letter_topic.produce(flow_settings, letter)

    assert [entry async for entry, _ in dead_letter_topic.read_dead_letters(flow_settings)] == [letter]
    assert await dead_letter_topic.read_document_ids(flow_settings) == {"id-1"}
    assert await dead_letter_topic.read_document_ids(flow_settings, time.time_ns() // 10**6 + 60_000) == set()


async def test_record_above_the_limit_of_its_topic_is_rejected(flow_settings: Settings, topics: list[str]) -> None:
    larger = dataclasses.replace(flow_settings, event_max_bytes=4 * flow_settings.event_max_bytes)
    letter = DeadLetter(os.urandom(3 * flow_settings.record_max_bytes), "too large", KafkaPosition("t", 0, 0, 0), [])

    with pytest.raises(MessageSizeTooLargeError):
        await dead_letter_topic.produce(larger, letter)


async def test_missing_topic_has_no_partitions(flow_settings: Settings) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await client.partitions(flow_settings, flow_settings.topic_raw)


async def test_missing_topic_is_a_connection_problem_until_it_is_created(flow_settings: Settings) -> None:
    before = await client.connection_problem(flow_settings, flow_settings.topic_raw)
    await create_topics(flow_settings)

    assert "does not exist" in before
    assert await client.connection_problem(flow_settings, flow_settings.topic_raw) == ""


async def test_setup_that_is_repeated_changes_nothing(flow_settings: Settings, topics: list[str]) -> None:
    again = await create_topics(flow_settings)

    assert [": created" in message for message in topics] == [True, True]
    assert [": already exists" in message for message in again] == [True, True]


async def test_checks_succeed_after_setup(flow_settings: Settings, topics: list[str]) -> None:
    results = await kafka_check.run_checks(flow_settings)

    assert results
    assert not [result for result in results if result.status == FAILED]


async def test_checks_fail_without_topics(flow_settings: Settings) -> None:
    results = await kafka_check.run_checks(flow_settings)

    assert [result.status == FAILED for result in results[:3]] == [False, True, True]


async def test_lag_without_commits_is_the_number_of_records(producer: RecordProducer, flow_settings: Settings) -> None:
    await asyncio.gather(*(send(producer, b"one key", gap(number)) for number in range(3)))

    lags = await read_lag(flow_settings)

    assert sorted(lag.records for lag in lags.values()) == [0, 3]
    assert all(lag.seconds is not None and 0 <= lag.seconds < 60 for lag in lags.values())
    assert await committed_offsets(flow_settings) == {}


async def test_stopped_producer_has_flushed(flow_settings: Settings, topics: list[str]) -> None:
    producer = RecordProducer(flow_settings, flow_settings.slice_max_bytes)
    await producer.start()
    outcomes: list[BaseException | None] = []
    for number in range(3):
        producer.send(b"key", b"", encode(gap(number)), outcomes.append)

    await producer.stop(10.0)

    assert outcomes == [None] * 3
    assert len(await read(flow_settings, flow_settings.topic_raw)) == 3


async def test_records_of_a_producer_stopped_at_once_are_reported(flow_settings: Settings, topics: list[str]) -> None:
    producer = RecordProducer(flow_settings, flow_settings.slice_max_bytes)
    await producer.start()
    outcomes: list[BaseException | None] = []
    producer.send(b"key", b"", encode(gap(0)), outcomes.append)
    await asyncio.sleep(0)

    await producer.stop(0.0)
    await asyncio.sleep(0.1)

    assert [type(outcome) for outcome in outcomes] in ([ProducerClosed], [type(None)], [])


async def test_unreachable_broker_is_named(environment: dict[str, str]) -> None:
    unreachable = load_settings({**environment, "CRISP_KAFKA_BROKERS": "127.0.0.1:1"})
    if "CRISP_KAFKA_BROKERS" not in environment:
        pytest.skip("the fake broker has no address")

    assert "127.0.0.1:1" in await client.connection_problem(unreachable)
