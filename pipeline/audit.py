"""Proof that every event is there: ids are computed again from the source and looked up in Elasticsearch.

The source is a directory of log files, or what the raw topic still holds; in both cases the very code of the worker
says which documents there must be, and which a rule dropped.
"""

import gzip
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from elasticsearch import AsyncElasticsearch

from pipeline import cri, foreign, grouping, kafka_client, pod, record
from pipeline.document import Documents, Parcel, together
from pipeline.errors import RecordError
from pipeline.record import LogSlice, Origin, Segment, SourceFile
from pipeline.settings import Settings

BATCH = 5000
SAMPLE = 10
_JSON = {"content-type": "application/json", "accept": "application/json"}


@dataclass(slots=True)
class Account:
    """What became of the events of one source: a container's files, or a partition."""

    name: str
    events: int = 0
    found: int = 0
    dead: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    unjudged: int = 0
    missing: int = 0
    sample: list[str] = field(default_factory=list)

    def row(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"dropped": dict(self.dropped)}


class Audit:
    """Takes parcels by source, looks their documents up, and keeps the accounts."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch, dead: set[str]) -> None:
        self._settings = settings
        self._client = client
        self._dead = dead
        self._waiting: list[tuple[str, Account]] = []
        self.accounts: dict[str, Account] = {}

    def account(self, name: str) -> Account:
        """The account of that name."""
        return self.accounts.setdefault(name, Account(name))

    async def take(self, name: str, parcel: Parcel) -> None:
        """Enter a parcel's documents and look up those that wait, a batch at a time."""
        account = self.account(name)
        account.events += len(parcel.documents) + parcel.dropped.total()
        account.dropped += parcel.dropped
        for document in parcel.documents:
            self._waiting.append((orjson.loads(document.split(b"\n", 1)[0])["create"]["_id"], account))
            if len(self._waiting) >= BATCH:
                await self.settle()

    async def settle(self) -> None:
        """Look up what still waits."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        body = {"size": len(waiting), "_source": False, "query": {"ids": {"values": [one for one, _ in waiting]}}}
        path = f"/{self._settings.index_prefix}-*/_search?ignore_unavailable=true"
        answer = await self._client.perform_request("POST", path, headers=_JSON, body=body)
        there = {hit["_id"] for hit in answer.body["hits"]["hits"]}
        for identity, account in waiting:
            if identity in there:
                account.found += 1
            elif identity in self._dead:
                account.dead += 1
            else:
                account.missing += 1
                if len(account.sample) < SAMPLE:
                    account.sample.append(identity)


def of_directory(root: Path, settings: Settings) -> Iterator[tuple[str, Parcel | None, int]]:
    """Each container instance of a directory: its name, its parcel, and the bytes that cannot be judged."""
    files: dict[pod.Instance, list[Path]] = {}
    for path in sorted(root.rglob("*.log*")):
        instance = pod.instance(str(path))
        if instance is not None and path.is_file() and not path.is_symlink():
            files.setdefault(instance, []).append(path)
    documents = Documents(settings)
    for instance, paths in sorted(files.items()):
        # Rotated files by their time stamp, the live one last.
        paths.sort(key=lambda path: (path.name.endswith(".log"), path.name))
        part, unjudged = _slice(instance, paths, settings)
        name = f"{instance.namespace}/{instance.pod}/{instance.container}/{instance.restart}"
        yield name, documents.of(part, time.time_ns()) if part else None, unjudged


def _slice(instance: pod.Instance, paths: list[Path], settings: Settings) -> tuple[LogSlice | None, int]:
    """All files of an instance as one slice, so that what goes on in the next file is joined."""
    values: list[bytes] = []
    files: list[SourceFile] = []
    segments: list[Segment] = []
    unjudged = 0
    for path in paths:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        data = data[: data.rfind(b"\n") + 1]
        first = data.partition(b"\n")[0]
        if cri.parse(first) is None:
            unjudged += len(data)  # its identity is a random one, known to the checkpoint only
        elif data:
            identity = record.identity(instance.uid, instance.container, instance.restart, first)
            segments.append(Segment(len(files), 0, len(data)))
            files.append(SourceFile(identity, str(path)))
            values.append(data)
    if not values:
        return None, unjudged
    return (
        LogSlice(
            value=b"".join(values),
            files=tuple(files),
            segments=tuple(segments),
            node=settings.node_name,
            read=time.time_ns(),
            grouping=grouping.by(settings),
            pod=pod.from_path(instance, settings.node_name),
        ),
        unjudged,
    )


async def of_topic(settings: Settings, since_ms: int | None) -> AsyncIterator[tuple[str, Parcel | None, int]]:
    """Each record that the raw topic holds now, as `of_directory`; a record that breaks the contract is unjudged."""
    documents, mode = Documents(settings), grouping.by(settings)
    async for message in _held(settings, settings.topic_raw, since_ms):
        headers = [(str(name), data or b"") for name, data in message.headers]
        value = message.value or b""
        name = f"{message.topic}/{message.partition}"
        try:
            if record.is_ours(headers):
                yield name, documents.of(record.decode(value, headers), time.time_ns()), 0
            else:
                origin = Origin(message.topic, message.partition, message.offset, message.timestamp)
                parts = foreign.slices(value, origin, mode)
                yield name, together([documents.of(part, time.time_ns()) for part in parts]), 0
        except RecordError:
            yield name, None, len(value)


async def dead_documents(settings: Settings) -> set[str]:
    """Ids of the documents that lie in the dead-letter topic."""
    held = _held(settings, settings.topic_dead, None)
    return {data.decode() async for message in held for name, data in message.headers if name == "dead-id"}


async def _held(settings: Settings, topic: str, since_ms: int | None) -> AsyncIterator[Any]:
    """Every record of a topic up to where it ends now."""
    consumer = AIOKafkaConsumer(**kafka_client.connection(settings), enable_auto_commit=False)
    await consumer.start()
    try:
        numbers = await kafka_client.partitions(settings, topic)
        partitions = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        starts = await consumer.beginning_offsets(partitions)
        if since_ms is not None:
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
            starts = {one: found[one].offset if found[one] else ends[one] for one in partitions}
        for one in partitions:
            consumer.seek(one, starts[one])
        while left := [one for one in partitions if await consumer.position(one) < ends[one]]:
            for messages in (await consumer.getmany(*left, timeout_ms=1000)).values():
                for message in messages:
                    if message.offset < ends[TopicPartition(message.topic, message.partition)]:
                        yield message
    finally:
        await consumer.stop()
