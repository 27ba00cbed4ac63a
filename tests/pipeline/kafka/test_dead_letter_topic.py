"""A dead letter is produced in the largest form that the topic accepts."""

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from pipeline.config.settings import Settings
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.kafka import dead_letter_topic
from tests.support.fake_kafka import FakeKafka

ORIGIN = KafkaPosition("logs-raw", 0, 7, 1_795_513_350_000)


@pytest.fixture
def settings() -> Settings:
    """The defaults."""
    return Settings()


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> FakeKafka:
    """A Kafka with the dead-letter topic."""
    kafka = FakeKafka(monkeypatch)
    kafka.create_topic(settings.topic_dead, partitions=1)
    return kafka


def letter(settings: Settings, *, size: int) -> DeadLetter:
    return DeadLetter(b"x" * size, "no", ORIGIN, [])


async def test_dead_letter_that_is_too_large_is_produced_in_a_smaller_form(
    kafka: FakeKafka, settings: Settings
) -> None:
    kafka.fail_deliveries(MessageSizeTooLargeError())

    await dead_letter_topic.produce(settings, letter(settings, size=settings.dead_letter_topic_max_bytes + 1))

    (record,) = kafka.topics[settings.topic_dead].partitions[0]
    assert 0 < len(record.value or b"") < settings.dead_letter_topic_max_bytes
    assert dict(record.headers)["dead-incomplete"]


async def test_dead_letter_that_fits_but_is_rejected_is_an_error(kafka: FakeKafka, settings: Settings) -> None:
    """The topic accepts less than configured: its operator must know."""
    kafka.fail_deliveries(MessageSizeTooLargeError())

    with pytest.raises(MessageSizeTooLargeError):
        await dead_letter_topic.produce(settings, letter(settings, size=10))
    assert kafka.topics[settings.topic_dead].partitions[0] == []
