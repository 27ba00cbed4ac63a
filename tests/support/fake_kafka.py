"""A Kafka in memory in place of aiokafka's clients: topics, records, committed offsets, scripted errors.

    kafka = FakeKafka(monkeypatch)                 # every client that the packages make from now on is a fake
    kafka.create_topic("logs-raw", partitions=3)
    kafka.fail_sends(KafkaTimeoutError())          # the next call of `send` raises
    kafka.fail_deliveries(MessageSizeTooLargeError())  # the next record is rejected: its future has the error
    kafka.withhold()                               # records are stored, but not acknowledged until `release()`
    kafka.leaderless.add(2)                        # a partition without a leader acknowledges nothing
    kafka.unavailable = True                       # no client can connect

tests/support/contract runs the same tests on this fake and on a real broker.
"""

import asyncio
import importlib
import itertools
import pkgutil
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from aiokafka.structs import OffsetAndMetadata, OffsetAndTimestamp

import agents
import pipeline

ALL_OPERATIONS = 1 << 3 | 1 << 4 | 1 << 8
"""Read, write, describe: bits of `AclOperation`."""
DEFAULT_CONFIG = {
    "max.message.bytes": "1048588",
    "retention.ms": "604800000",
    "retention.bytes": "-1",
    "cleanup.policy": "delete",
    "message.timestamp.type": "CreateTime",
}
_ROOMS = ("agents.delivery", "pipeline.kafka", "pipeline.operations")


class Record(NamedTuple):
    """A stored record, with the attributes of aiokafka's `ConsumerRecord` that the packages use."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Topic:
    """One topic: its partitions' records; `begins` has the first retained offset of each partition."""

    partitions: list[list[Record]]
    config: dict[str, str]
    operations: int = ALL_OPERATIONS
    begins: dict[int, int] = field(default_factory=dict)

    def retained(self, partition: int) -> list[Record]:
        """Return the records that retention has not deleted."""
        return self.partitions[partition][self.begins.get(partition, 0) :]


class FakeKafka:
    """One broker, and the fakes of aiokafka's clients that are connected to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.topics: dict[str, Topic] = {}
        self.committed: dict[str, dict[TopicPartition, int]] = {}
        self.group_error = 0
        self.group_state = "Stable"
        self.members: list[Any] = []
        self.leaderless: set[int] = set()
        self.unavailable = False
        self.clients: list[Any] = []
        self._send_errors: deque[BaseException] = deque()
        self._delivery_errors: deque[BaseException] = deque()
        self._withheld: list[tuple[asyncio.Future[Any], Record]] | None = None
        if monkeypatch is not None:
            self.install(monkeypatch)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace aiokafka's clients in the modules that use them."""
        fakes: dict[str, Any] = {
            "AIOKafkaProducer": lambda **options: FakeProducer(self, options),
            "AIOKafkaConsumer": lambda *topics, **options: FakeConsumer(self, options),
            "AIOKafkaAdminClient": lambda **options: FakeAdmin(self, options),
            "AIOKafkaClient": lambda **options: FakeClient(self, options),
            "create_conn": self._create_connection,
        }
        for module in _modules():
            for name, fake in fakes.items():
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, fake)

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> Topic:
        """Create a topic; dots of the names in `config` are written as underscores."""
        named = {key.replace("_", "."): value for key, value in config.items()}
        self.topics[name] = Topic([[] for _ in range(partitions)], {**DEFAULT_CONFIG, **named})
        return self.topics[name]

    def append(
        self,
        topic: str,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]] = (),
        *,
        partition: int = 0,
        timestamp: int | None = None,
    ) -> Record:
        """Store a record; `timestamp` in milliseconds since the epoch, now by default."""
        return self._store(topic, partition, None, value, headers, timestamp)

    def records(self, topic: str) -> list[Record]:
        """Return all records of a topic, by partition and offset."""
        return list(itertools.chain.from_iterable(self.topics[topic].partitions))

    def fail_sends(self, *errors: BaseException) -> None:
        """Raise these errors from the producers' next calls of `send`."""
        self._send_errors.extend(errors)

    def fail_deliveries(self, *errors: BaseException) -> None:
        """Reject the next records that are sent: they are not stored."""
        self._delivery_errors.extend(errors)

    def withhold(self) -> None:
        """Store records from now on, but do not acknowledge them."""
        self._withheld = []

    def release(self) -> None:
        """Acknowledge what was withheld, and from now on again."""
        withheld, self._withheld = self._withheld or [], None
        for future, record in withheld:
            if not future.done():
                future.set_result(record)

    def check_available(self) -> None:
        """Raise KafkaConnectionError if no client can connect."""
        if self.unavailable:
            raise KafkaConnectionError("Unable to bootstrap from [('127.0.0.1', 9092)]")

    def topic_or_error(self, name: str) -> Topic:
        """Return a topic. Raises UnknownTopicOrPartitionError."""
        if name not in self.topics:
            raise UnknownTopicOrPartitionError(name)
        return self.topics[name]

    def leader(self, partition: int) -> int:
        """Return the leader of a partition, -1 without one."""
        return -1 if partition in self.leaderless else 1

    def deliver(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes]]
    ) -> asyncio.Future[Any]:
        """Accept one record of a producer; return the future of its acknowledgement."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        limit = int(self.topic_or_error(topic).config["max.message.bytes"])
        if self._delivery_errors:
            future.set_exception(self._delivery_errors.popleft())
        elif len(value or b"") > limit:
            future.set_exception(MessageSizeTooLargeError())
        elif partition in self.leaderless:
            pass  # waits for a leader, without limit
        else:
            record = self._store(topic, partition, key, value, headers, None)
            if self._withheld is None:
                future.set_result(record)
            else:
                self._withheld.append((future, record))
        return future

    def next_send_error(self) -> BaseException | None:
        """Return the scripted error of this call of `send`."""
        return self._send_errors.popleft() if self._send_errors else None

    def _store(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp: int | None,
    ) -> Record:
        log = self.topic_or_error(topic).partitions[partition]
        written = time.time_ns() // 10**6 if timestamp is None else timestamp
        log.append(Record(topic, partition, len(log), written, key, value, tuple(headers)))
        return log[-1]

    async def _create_connection(self, host: str, port: int, **options: Any) -> "FakeConnection":
        self.check_available()
        return FakeConnection(self)


class _Closable:
    """What all clients have in common; `options` are the arguments of the real client."""

    def __init__(self, kafka: FakeKafka, options: dict[str, Any]) -> None:
        self.kafka = kafka
        self.options = options
        self.started = self.stopped = False
        kafka.clients.append(self)

    async def start(self) -> None:
        self.kafka.check_available()
        self.started = True

    async def stop(self) -> None:
        self.stopped = True

    close = stop


class FakeProducer(_Closable):
    """`AIOKafkaProducer`; records of one key keep their order."""

    def __init__(self, kafka: FakeKafka, options: dict[str, Any]) -> None:
        super().__init__(kafka, options)
        self._unacknowledged: set[asyncio.Future[Any]] = set()
        self._message_accumulator = SimpleNamespace(_batch_ttl=0.0, fail_all=self._fail_all)
        cluster = SimpleNamespace(
            leader_for_partition=lambda tp: self.kafka.leader(tp.partition), partitions_for_topic=self._partitions
        )
        self.client = SimpleNamespace(close=self.stop, cluster=cluster, _sasl_plain_password=None)

    def _partitions(self, topic: str) -> set[int] | None:
        found = self.kafka.topics.get(topic)
        return set(range(len(found.partitions))) if found else None

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic. Raises UnknownTopicOrPartitionError."""
        return set(range(len(self.kafka.topic_or_error(topic).partitions)))

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> asyncio.Future[Any]:
        """Send a record; return the future of its acknowledgement."""
        assert self.started
        assert not self.stopped
        if (error := self.kafka.next_send_error()) is not None:
            raise error
        numbers = sorted(await self.partitions_for(topic))
        partitioner = self.options.get("partitioner")
        partition = partitioner(key, numbers, numbers) if partitioner and key is not None else 0
        future = self.kafka.deliver(topic, partition, key, value, headers)
        self._unacknowledged.add(future)
        future.add_done_callback(self._unacknowledged.discard)
        return future

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> Any:
        """Send a record; return when it is acknowledged."""
        return await (await self.send(topic, value, key, headers))

    async def flush(self) -> None:
        """Wait until every record is acknowledged or failed."""
        while self._unacknowledged:
            await asyncio.wait(list(self._unacknowledged))

    def _fail_all(self, error: BaseException) -> None:
        for future in list(self._unacknowledged):
            if not future.done():
                future.set_exception(error)


class FakeConsumer(_Closable):
    """`AIOKafkaConsumer` with assigned partitions; it joins no group."""

    def __init__(self, kafka: FakeKafka, options: dict[str, Any]) -> None:
        super().__init__(kafka, options)
        self._positions: dict[TopicPartition, int] = {}

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read these partitions, each from its beginning."""
        self._positions = dict.fromkeys(partitions, 0)

    def unsubscribe(self) -> None:
        """Read no partition."""
        self._positions = {}

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go to an offset of an assigned partition."""
        assert tp in self._positions
        self._positions[tp] = offset

    async def position(self, tp: TopicPartition) -> int:
        """The next offset."""
        return self._positions[tp]

    async def committed(self, tp: TopicPartition) -> int | None:
        """The offset that the group has committed."""
        return self.kafka.committed.get(self.options["group_id"], {}).get(tp)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The first retained offset of each partition."""
        return {tp: self.kafka.topic_or_error(tp.topic).begins.get(tp.partition, 0) for tp in partitions}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """The offset after the last record of each partition."""
        return {tp: len(self.kafka.topic_or_error(tp.topic).partitions[tp.partition]) for tp in partitions}

    async def offsets_for_times(
        self, times: dict[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """The first record at or after each timestamp."""
        found: dict[TopicPartition, OffsetAndTimestamp | None] = {}
        for tp, timestamp in times.items():
            later = (record for record in self._log(tp) if record.timestamp >= timestamp)
            first = next(later, None)
            found[tp] = OffsetAndTimestamp(first.offset, first.timestamp) if first else None
        return found

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[Record]]:
        """The records from each position on."""
        await asyncio.sleep(0)
        batches = {}
        for tp in partitions or tuple(self._positions):
            records = [record for record in self._log(tp) if record.offset >= self._positions[tp]]
            if records:
                self._positions[tp] = records[-1].offset + 1
                batches[tp] = records
        if not batches:
            await asyncio.sleep(timeout_ms / 1000)
        return batches

    def _log(self, tp: TopicPartition) -> list[Record]:
        return [] if tp.partition in self.kafka.leaderless else self.kafka.topics[tp.topic].retained(tp.partition)


class FakeAdmin(_Closable):
    """`AIOKafkaAdminClient`."""

    async def create_topics(self, topics: Sequence[Any]) -> Any:
        """Create topics; the response has an error code for each."""
        rows = []
        for topic in topics:
            exists = topic.name in self.kafka.topics
            if not exists:
                self.kafka.create_topic(topic.name, topic.num_partitions)
                self.kafka.topics[topic.name].config.update(topic.topic_configs)
            rows.append((topic.name, TopicAlreadyExistsError.errno if exists else 0, "exists" if exists else ""))
        return SimpleNamespace(topic_errors=rows)

    async def describe_topics(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        """The partitions of topics; an error code for each that is missing."""
        return [
            {
                "topic": name,
                "error_code": 0 if name in self.kafka.topics else UnknownTopicOrPartitionError.errno,
                "partitions": [{"partition": row[1], "leader": row[2]} for row in _partition_rows(self.kafka, name)],
            }
            for name in topics
        ]

    async def describe_configs(self, resources: Sequence[Any]) -> list[Any]:
        """The configuration of topics."""
        return [SimpleNamespace(resources=[self._described(resource)]) for resource in resources]

    def _described(self, resource: Any) -> tuple[int, str, int, str, list[tuple[str, str]]]:
        topic = self.kafka.topics.get(resource.name)
        if topic is None:
            return UnknownTopicOrPartitionError.errno, "unknown topic", 2, resource.name, []
        return 0, "", 2, resource.name, list(topic.config.items())

    async def describe_consumer_groups(self, groups: Sequence[str], **_: Any) -> list[Any]:
        """The state of a group."""
        row = (
            self.kafka.group_error,
            groups[0],
            self.kafka.group_state,
            "consumer",
            "",
            self.kafka.members,
            ALL_OPERATIONS,
        )
        return [SimpleNamespace(groups=[row])]

    async def list_consumer_group_offsets(self, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
        """The offsets that a group has committed."""
        return {tp: OffsetAndMetadata(offset, "") for tp, offset in self.kafka.committed.get(group, {}).items()}


class FakeClient(_Closable):
    """`AIOKafkaClient`, for metadata with the authorized operations."""

    def __init__(self, kafka: FakeKafka, options: dict[str, Any]) -> None:
        super().__init__(kafka, options)
        self.cluster = SimpleNamespace(brokers=lambda: [SimpleNamespace(nodeId=1)])

    async def bootstrap(self) -> None:
        """Connect."""
        self.kafka.check_available()

    def get_random_node(self) -> int:
        """A broker."""
        return 1

    async def send(self, node: int, request: Any) -> Any:
        """The metadata of all topics."""
        rows = [
            (0, name, False, _partition_rows(self.kafka, name), topic.operations)
            for name, topic in self.kafka.topics.items()
        ]
        return SimpleNamespace(topics=rows)


class FakeConnection:
    """A connection to one broker, for metadata."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka

    async def send(self, request: Any) -> Any:
        """The metadata of the topics that the request names."""
        return SimpleNamespace(topics=[self._metadata(name) for name in request._topics])

    def _metadata(self, name: str) -> tuple[int, str, bool, list[Any]]:
        code = 0 if name in self._kafka.topics else UnknownTopicOrPartitionError.errno
        return code, name, False, _partition_rows(self._kafka, name)

    def close(self) -> None:
        """Close the connection."""


def _partition_rows(kafka: FakeKafka, name: str) -> list[tuple[int, int, int, list[int], list[int]]]:
    partitions = kafka.topics[name].partitions if name in kafka.topics else []
    return [(0, number, kafka.leader(number), [1], [1]) for number in range(len(partitions))]


def _modules() -> Iterator[Any]:
    """Import the modules that may use aiokafka's clients."""
    for package in (agents, pipeline):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.startswith(_ROOMS):
                yield importlib.import_module(module.name)


__all__ = ["FakeKafka", "FakeProducer", "KafkaError", "Record", "Topic"]
