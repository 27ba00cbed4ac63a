"""The dead-letter topic: its letters read, and new ones put there."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer

from pipeline.config.settings import Settings, dead_letter_max_bytes
from pipeline.contract import dead_letter
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.errors import RecordError
from pipeline.kafka import client
from pipeline.kafka.topic_reader import TopicReader


async def read_dead_letters(
    settings: Settings, since: int | None = None
) -> AsyncIterator[tuple[DeadLetter | None, KafkaPosition]]:
    """Each letter and its own place, from `since` on, milliseconds since the epoch; None for what is no letter.

    Raises KafkaError.
    """
    async with TopicReader(settings, settings.topic_dead, since) as held:
        async for value, headers, place in held:
            try:
                yield dead_letter.decode(value, headers), place
            except RecordError:
                yield None, place


async def read_document_ids(settings: Settings, since: int | None = None) -> set[str]:
    """The ids of the documents that lie there. Raises KafkaError."""
    return {letter.id async for letter, _ in read_dead_letters(settings, since) if letter is not None and letter.id}


async def produce(settings: Settings, entry: DeadLetter) -> None:
    """Put a letter there; returns when it is acknowledged. Raises KafkaError."""
    producer = AIOKafkaProducer(
        **client.connection(settings),
        acks="all",
        compression_type="zstd",
        max_request_size=dead_letter_max_bytes(settings),
    )
    await producer.start()
    try:
        headers = dead_letter.encode(entry)
        await producer.send_and_wait(settings.topic_dead, entry.value, entry.id.encode() or None, headers=headers)
    finally:
        await producer.stop()
