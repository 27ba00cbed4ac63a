"""The shipper's producer keeps the contract over a Kafka client in memory; and what is its own."""

import asyncio
import dataclasses
import logging
from pathlib import Path

import pytest
from aiokafka.errors import KafkaTimeoutError, OutOfOrderSequenceNumber

from agents.delivery.producer import Producer, RecordProducer
from pipeline.config.settings import Settings
from pipeline.contract.record import Headers
from tests.support.fake_kafka import FakeKafka
from tests.support.producer_contract import HEADERS, Harness, ProducerContract, send


class ClientHarness(Harness):
    """A topic in memory, behind aiokafka's interface."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = dataclasses.replace(Settings(), topic_partitions=3, kafka_brokers=("127.0.0.1:9092",))
        self.kafka = FakeKafka(monkeypatch)
        limit = self.settings.record_max_bytes
        self.kafka.create_topic(self.settings.topic_raw, partitions=3, **{"max.message.bytes": str(limit)})

    def create(self, *, reachable: bool = True) -> Producer:
        self.kafka.unavailable = not reachable
        return RecordProducer(self.settings, self.settings.slice_max_bytes)

    def suspend(self) -> None:
        self.kafka.withhold()

    def resume(self) -> None:
        self.kafka.release()

    async def stored(self) -> list[tuple[bytes, bytes, Headers]]:
        records = self.kafka.records(self.settings.topic_raw)
        return [(record.key or b"", record.value or b"", list(record.headers)) for record in records]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> ClientHarness:
    return ClientHarness(monkeypatch)


class TestRecordProducer(ProducerContract):
    """The contract."""

    @pytest.fixture
    def harness(self, client: ClientHarness) -> Harness:
        return client


async def test_partition_without_leader_is_reported(client: ClientHarness) -> None:
    producer = client.create()
    await producer.start()
    client.kafka.leaderless.add(1)

    assert [producer.has_leader(partition) for partition in (0, 1, 2)] == [True, False, True]
    await producer.stop(0.1)


async def test_timeout_of_the_client_is_retried(client: ClientHarness, caplog: pytest.LogCaptureFixture) -> None:
    producer = client.create()
    await producer.start()
    client.kafka.fail_sends(KafkaTimeoutError())

    assert await send(producer, [b"x"]) == [(b"x", None)]
    assert "Kafka produce timed out" in caplog.text


async def test_error_of_the_client_or_of_the_broker_is_reported_and_the_next_record_is_sent(
    client: ClientHarness,
) -> None:
    producer = client.create()
    await producer.start()
    errors = ValueError("a bug"), OutOfOrderSequenceNumber()
    client.kafka.fail_sends(errors[0])
    client.kafka.fail_deliveries(errors[1])

    assert await send(producer, [b"a", b"b", b"c"]) == [(b"a", errors[0]), (b"b", errors[1]), (b"c", None)]


async def test_cancelled_delivery_is_an_error(client: ClientHarness) -> None:
    producer = client.create()
    await producer.start()
    client.kafka.fail_deliveries(asyncio.CancelledError())

    ((_, error),) = await send(producer, [b"x"])

    assert isinstance(error, asyncio.CancelledError)


async def test_record_in_the_queue_of_a_stopped_producer_is_reported(client: ClientHarness) -> None:
    producer = client.create()
    await producer.start()
    blocked, reported = asyncio.Event(), asyncio.Event()
    assert isinstance(producer, RecordProducer)
    producer._produce = lambda *_: blocked.wait()  # type: ignore[method-assign, assignment]
    errors: list[BaseException | None] = []

    def on_delivery(error: BaseException | None) -> None:
        errors.append(error)
        reported.set()

    for _ in range(2):
        producer.send(b"key", b"x", HEADERS, on_delivery)
    await asyncio.sleep(0)

    await producer.stop(0.01)

    assert [type(error).__name__ for error in errors] == ["ProducerClosed"] * 2


async def test_stop_before_start_has_no_effect(client: ClientHarness) -> None:
    await client.create().stop(1)


async def test_changed_secret_is_reloaded_and_an_unreadable_one_is_logged(
    client: ClientHarness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    password = tmp_path / "password"
    password.write_text("one")
    client.settings = dataclasses.replace(
        client.settings, kafka_sasl="PLAIN", kafka_user="u", kafka_password_file=str(password)
    )
    producer = client.create()
    await producer.start()
    password.write_text("changed")
    producer.reload()
    assert "reloaded CRISP_KAFKA_PASSWORD_FILE" in caplog.text
    password.write_bytes(b"\xff")
    producer.reload()

    assert "cannot reload CRISP_KAFKA_PASSWORD_FILE" in caplog.text
