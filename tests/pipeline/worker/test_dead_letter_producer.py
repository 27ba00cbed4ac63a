"""Dead letters are sent until Kafka acknowledges them; the problem is reported meanwhile."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    TopicAuthorizationFailedError,
)
from faust.exceptions import ProducerSendError

from pipeline.contract import dead_letter
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.worker.dead_letter_producer import DeadLetterProducer
from tests.support.fake_worker import FakeTopic

LETTER = DeadLetter(b"value", "reason", KafkaPosition("logs-raw", 1, 2, 3), [])


async def test_dead_letter_is_sent_with_the_key_of_its_record() -> None:
    topic = FakeTopic()
    await DeadLetterProducer(cast(Any, topic), 1.0, 1 << 20).send(LETTER, b"key")

    assert topic.sent == [(b"key", b"value", dead_letter.encode(LETTER))]


async def test_dead_letter_of_a_document_is_sent_with_its_id_as_key(caplog: pytest.LogCaptureFixture) -> None:
    topic = FakeTopic()
    letter = DeadLetter(b"{}", "reason", LETTER.origin, [], index="logs-1", id="abc")
    await DeadLetterProducer(cast(Any, topic), 1.0, 1 << 20).send(letter)

    assert [key for key, *_ in topic.sent] == [b"abc"]
    (logged,) = caplog.records
    assert vars(logged)["crisp.dead"] == "logs-1/abc"


@pytest.mark.parametrize(
    ("stage", "error", "expected"),
    [
        pytest.param("send", KafkaTimeoutError("slow"), "slow", id="kafka_at_once"),
        pytest.param("delivery", TopicAuthorizationFailedError(), "TopicAuthorizationFailedError", id="on_delivery"),
        pytest.param("send", ProducerSendError("closed"), "closed", id="faust"),
        pytest.param("send", ProducerSendError(), "ProducerSendError()", id="without_text"),
    ],
)
async def test_failed_send_is_reported_and_repeated(stage: str, error: Exception, expected: str) -> None:
    topic = FakeTopic()
    topic.errors.append((stage, error))
    producer = DeadLetterProducer(cast(Any, topic), 0.02, 1 << 20)
    sending = asyncio.create_task(producer.send(LETTER, b"key"))
    await asyncio.sleep(0.005)  # the send fails at once; the pause after it is longer

    assert producer.pending == 1
    assert producer.problem.startswith("cannot write to dead-letter topic logs-dead: ")
    assert expected in producer.problem
    await sending
    assert len(topic.sent) == 1
    assert (producer.pending, producer.problem) == (0, "")


async def test_success_of_one_send_keeps_the_problem_of_another() -> None:
    topic = FakeTopic()
    topic.errors.append(("delivery", TopicAuthorizationFailedError()))
    producer = DeadLetterProducer(cast(Any, topic), 0.2, 1 << 20)
    failing = asyncio.create_task(producer.send(LETTER, b"failing"))
    await asyncio.sleep(0)
    await producer.send(LETTER, b"successful")

    assert [key for key, *_ in topic.sent] == [b"successful"]
    assert (producer.pending, "TopicAuthorizationFailedError" in producer.problem) == (1, True)
    await failing
    assert (producer.pending, producer.problem) == (0, "")


async def test_cancelled_send_is_neither_pending_nor_a_problem() -> None:
    topic = FakeTopic()
    topic.errors.append(("send", KafkaTimeoutError("slow")))
    producer = DeadLetterProducer(cast(Any, topic), 10.0, 1 << 20)
    sending = asyncio.create_task(producer.send(LETTER, b"key"))
    await asyncio.sleep(0.005)
    assert producer.problem
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)

    assert (producer.pending, producer.problem) == (0, "")


def too_large(faust: bool) -> Exception:  # noqa: FBT001
    error: Exception = MessageSizeTooLargeError()
    if not faust:
        return error
    wrapped = ProducerSendError("too large")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize("error", [too_large(faust=True), too_large(faust=False), RecordListTooLargeError()])
async def test_too_large_dead_letter_is_sent_smaller_at_once(error: Exception) -> None:
    topic = FakeTopic()
    topic.errors.append(("send", error))
    letter = DeadLetter(b"v", "reason", LETTER.origin, [("pod", bytes(2 << 20))])
    async with asyncio.timeout(5):
        await DeadLetterProducer(cast(Any, topic), 3600.0, 1 << 20).send(letter, b"key")

    ((_, value, headers),) = topic.sent
    assert value == b"v"
    assert dict(headers)["dead-incomplete"] == b"large headers"
    assert "pod" not in dict(headers)


async def test_dead_letter_that_the_topic_should_accept_is_sent_unchanged() -> None:
    """The topic's limit is less than `crisp setup` sets: that is a problem to repair."""
    topic = FakeTopic()
    topic.errors.append(("delivery", MessageSizeTooLargeError()))
    letter = DeadLetter(b"v" * 100_000, "reason", LETTER.origin, [])
    async with asyncio.timeout(5):
        await DeadLetterProducer(cast(Any, topic), 0.02, 1 << 20).send(letter, b"key")

    assert [value for _, value, _ in topic.sent] == [letter.value]
