"""What every `Producer` does: the suite that runs on the fake one, and on the real one with a real Kafka."""

import asyncio
from abc import ABC, abstractmethod

import pytest
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from agents.delivery.producer import Producer
from pipeline.config.settings import Settings
from pipeline.contract.record import Headers

HEADERS: Headers = [("crisp", b"1"), ("node", b"n")]
Response = tuple[bytes, BaseException | None]
"""Value and error of a record, as the callback reported it."""


class Harness(ABC):
    """A topic of some partitions, and producers for it."""

    settings: Settings

    @abstractmethod
    def create(self, *, reachable: bool = True) -> Producer:
        """Create a producer that is not started."""

    @abstractmethod
    def suspend(self) -> None:
        """Let the broker stop responding."""

    @abstractmethod
    def resume(self) -> None:
        """Let the broker respond again."""

    @abstractmethod
    async def stored(self) -> list[tuple[bytes, bytes, Headers]]:
        """Return key, value and headers of the topic's records; those of one partition in order."""


async def send(producer: Producer, values: list[bytes], key: bytes = b"key") -> list[Response]:
    """Send records; return the responses in order."""
    responses: list[Response] = []
    received = asyncio.Event()

    def on_delivery(value: bytes, error: BaseException | None) -> None:
        responses.append((value, error))
        if len(responses) == len(values):
            received.set()

    for value in values:
        producer.send(key, value, HEADERS, lambda error, value=value: on_delivery(value, error))  # type: ignore[misc]
    await asyncio.wait_for(received.wait(), 30)
    return responses


class ProducerContract:
    """The tests; a subclass has the fixture `harness`."""

    async def test_record_arrives_unchanged_with_key_and_headers(self, harness: Harness) -> None:
        producer = harness.create()
        await producer.start()

        assert await send(producer, [b"line\n"]) == [(b"line\n", None)]
        await producer.stop(10)

        assert await harness.stored() == [(b"key", b"line\n", HEADERS)]

    async def test_records_of_one_key_keep_their_order(self, harness: Harness) -> None:
        producer = harness.create()
        await producer.start()
        values = [b"%d" % number for number in range(200)]

        assert await send(producer, values) == [(value, None) for value in values]
        await producer.stop(10)

        assert [value for _, value, _ in await harness.stored()] == values

    async def test_start_returns_partitions_and_each_has_a_leader(self, harness: Harness) -> None:
        producer = harness.create()

        partitions = await producer.start()

        assert partitions == list(range(harness.settings.topic_partitions))
        assert all(producer.has_leader(partition) for partition in partitions)
        assert producer.partitions() == partitions
        await producer.stop(10)

    async def test_unreachable_broker_raises_kafka_error(self, harness: Harness) -> None:
        with pytest.raises(KafkaError):
            await harness.create(reachable=False).start()

    async def test_too_large_record_is_reported_and_others_arrive(self, harness: Harness) -> None:
        producer = harness.create()
        await producer.start()
        large = bytes(harness.settings.record_max_bytes + 1)

        (response,) = await send(producer, [large])
        assert isinstance(response[1], MessageSizeTooLargeError)
        assert await send(producer, [b"small"]) == [(b"small", None)]
        await producer.stop(10)

    async def test_stopped_producer_reports_every_unacknowledged_record_once(self, harness: Harness) -> None:
        producer = harness.create()
        await producer.start()
        await send(producer, [b"first"])
        harness.suspend()
        size, count = harness.settings.slice_max_bytes, 20
        sending = asyncio.create_task(send(producer, [b"%d" % number + bytes(size) for number in range(count)]))
        await asyncio.sleep(0.1)

        await producer.stop(0.1)
        harness.resume()

        responses = await sending
        assert len({value for value, _ in responses}) == count
        assert {type(error) for _, error in responses} <= {ProducerClosed, type(None)}
        assert ProducerClosed in {type(error) for _, error in responses}

    async def test_reload_of_unchanged_secrets_has_no_effect(self, harness: Harness) -> None:
        producer = harness.create()
        await producer.start()

        producer.reload()

        assert await send(producer, [b"x"]) == [(b"x", None)]
        await producer.stop(10)
