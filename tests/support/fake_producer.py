"""A producer in memory, for unit tests of delivery; the contract suite runs it beside the real one."""

import asyncio
from dataclasses import dataclass, field

from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, ProducerClosed

from agents.delivery.partitioner import choose_partition
from agents.delivery.producer import DeliveryCallback
from pipeline.config.settings import KafkaSettings
from pipeline.contract.record import Headers


@dataclass(frozen=True, slots=True)
class Record:
    """A record of the fake topic."""

    key: bytes
    value: bytes
    headers: Headers


@dataclass
class FakeTopic:
    """A topic in memory, and what its broker does. `records`: by partition, as they were acknowledged.

    `holding`: the broker does not respond; `release` ends that. `error`: the broker rejects every record with it.
    `max_bytes`: the largest value with headers that the topic accepts, None: that of the producer.
    """

    partitions: int = 1
    reachable: bool = True
    holding: bool = False
    error: Exception | None = None
    max_bytes: int | None = None
    leaderless: set[int] = field(default_factory=set)
    records: dict[int, list[Record]] = field(default_factory=dict)
    producers: list["FakeProducer"] = field(default_factory=list)

    def create_producer(self, settings: KafkaSettings, batch_bytes: int) -> "FakeProducer":
        """Create a producer of this topic; see `KafkaLink`."""
        producer = FakeProducer(self, settings, batch_bytes)
        self.producers.append(producer)
        return producer

    def release(self) -> None:
        """Respond again; the records that wait are answered."""
        self.holding = False
        for producer in self.producers:
            producer.respond()


class FakeProducer:
    """Keeps the contract of `agents.delivery.producer.Producer`."""

    def __init__(self, topic: FakeTopic, settings: KafkaSettings, batch_bytes: int) -> None:
        self.topic = topic
        self.batch_bytes = batch_bytes
        self.reloads = 0
        self._max_bytes = settings.record_max_bytes
        self._waiting: list[tuple[Record, DeliveryCallback]] = []
        self._running = False

    async def start(self) -> list[int]:
        """Connect; return the partitions."""
        await asyncio.sleep(0)
        if not self.topic.reachable:
            raise KafkaConnectionError("no broker is reachable")
        self._running = True
        return list(range(self.topic.partitions))

    def has_leader(self, partition: int) -> bool:
        """Return whether the partition has a leader."""
        return partition not in self.topic.leaderless

    def partitions(self) -> list[int]:
        """Return the partitions; none while the broker is not reachable."""
        return list(range(self.topic.partitions)) if self.topic.reachable else []

    def reload(self) -> None:
        """Count the call."""
        self.reloads += 1

    def send(self, key: bytes, value: bytes, headers: Headers, on_delivery: DeliveryCallback) -> None:
        """Send a record; the response comes in a later iteration of the event loop."""
        assert self._running, "start first"
        self._waiting.append((Record(key, value, headers), on_delivery))
        asyncio.get_running_loop().call_soon(self.respond)

    def respond(self) -> None:
        """Answer the waiting records in order, unless the broker does not respond."""
        if self.topic.holding or not self._running:
            return
        held: list[tuple[Record, DeliveryCallback]] = []
        waiting, self._waiting = self._waiting, held
        for record, on_delivery in waiting:
            partition = choose_partition(record.key, list(range(self.topic.partitions)))
            if partition in self.topic.leaderless:
                held.append((record, on_delivery))
                continue
            error = self._error(record)
            if error is None:
                self.topic.records.setdefault(partition, []).append(record)
            on_delivery(error)

    def _error(self, record: Record) -> Exception | None:
        limit = self._max_bytes if self.topic.max_bytes is None else self.topic.max_bytes
        size = len(record.value) + sum(len(name) + len(value) for name, value in record.headers)
        return MessageSizeTooLargeError() if size > limit else self.topic.error

    async def stop(self, grace_seconds: float) -> None:
        """Disconnect; a broker that does not respond is not waited for."""
        await asyncio.sleep(0)
        self.respond()
        self._running = False
        waiting, self._waiting = self._waiting, []
        for _, on_delivery in waiting:
            on_delivery(ProducerClosed())
