"""Reads from and writes to the dead-letter topic."""

from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError

from pipeline.config.settings import KafkaSettings
from pipeline.contract import dead_letter
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.errors import RecordError
from pipeline.kafka import client
from pipeline.kafka.topic_reader import TopicReader


async def read_dead_letters(
    settings: KafkaSettings, since: int | None = None
) -> AsyncIterator[tuple[DeadLetter | None, KafkaPosition]]:
    """Each dead letter and its own position, from `since` (milliseconds since the epoch); None for an invalid record.

    Raises KafkaError.
    """
    async with TopicReader(settings, settings.topic_dead, since) as reader:
        async for value, headers, position in reader:
            try:
                yield dead_letter.decode(value, headers), position
            except RecordError:
                yield None, position


async def read_document_ids(settings: KafkaSettings, since: int | None = None) -> set[str]:
    """The ids of the documents in the topic. Raises KafkaError."""
    return {entry.id async for entry, _ in read_dead_letters(settings, since) if entry is not None and entry.id}


async def produce(settings: KafkaSettings, entry: DeadLetter) -> None:
    """Send a dead letter, in a smaller form if it is too large; returns when it is acknowledged. Raises KafkaError."""
    producer = AIOKafkaProducer(
        **client.connection(settings),
        acks="all",
        compression_type="zstd",
        max_request_size=settings.dead_letter_max_bytes,
    )
    try:
        await producer.start()
        while True:
            try:
                headers = dead_letter.encode(entry)
                await producer.send_and_wait(
                    settings.topic_dead, entry.value, entry.id.encode() or None, headers=headers
                )
            except MessageSizeTooLargeError:
                smaller = entry.smaller() if entry.size > settings.dead_letter_topic_max_bytes else None
                if smaller is None:
                    raise
                entry = smaller
            else:
                return
    finally:
        await producer.stop()
