"""Traces one document: file and offset, slice, partition and offset, index, with the time of each step.

The steps are taken from the document's fields. Its record is searched in Kafka by the time at which the shipper read
it, and identified by its headers.
"""

import re
import time
from typing import Any, NamedTuple

from aiokafka.errors import KafkaConnectionError, KafkaError
from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract import cri, dead_letter, gap, record
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.elasticsearch import requests
from pipeline.errors import RecordError
from pipeline.kafka.topic_reader import TopicReader, committed_offsets

MAX_SEND_DELAY_MS = 60_000
CLOCK_SKEW_MS = 1_000
_ID_PATTERN = re.compile(r"([A-Za-z0-9_-]{16})-([0-9a-f]{10})(?:~[0-9a-f]+|-gap)?")


class Step(NamedTuple):
    """A step: name, time (nanoseconds since the epoch, None if unknown), and description."""

    name: str
    time: int | None
    message: str


class EventPosition(NamedTuple):
    """The file identity and byte offset of an event, from its document id."""

    identity: str
    offset: int


def parse_id(identity: str) -> EventPosition | None:
    """Return the event position in a crisp id; None for any other id."""
    match = _ID_PATTERN.fullmatch(identity)
    return EventPosition(match[1], int(match[2], 16)) if match else None


class DocumentTracer:
    """Finds the steps of one document.

    Raises CrispError when Elasticsearch is unavailable; `find_unindexed` raises KafkaError.
    """

    def __init__(self, settings: Settings, client: AsyncElasticsearch) -> None:
        self._settings = settings
        self._client = client

    async def find_document(self, identity: str) -> JsonObject | None:
        """Return the search hit of a document; None if it is not indexed."""
        query = {"query": {"ids": {"values": [identity]}}, "size": 1}
        path = f"/{self._settings.index_prefix}-*/_search?ignore_unavailable=true&allow_no_indices=true"
        hits = requests.read_hits(await requests.request_ok(self._client, "POST", path, query))
        return dict(hits[0]) if hits else None

    async def steps(self, hit: JsonObject) -> list[Step]:
        """Return the steps of an indexed document."""
        source, searched_at = hit["_source"], time.time_ns()
        written_at, read_at = (
            _parse_time(source.get("log.iotime") or source.get("@timestamp")),
            _parse_time(source.get("event.created")),
        )
        path = source.get("log.file.path", "unknown file")
        length = f", {source['log.length']} bytes" if "log.length" in source else ""
        node = source.get("agent.name") or source.get("host.name", "?")
        indexed = f"{hit['_index']}, id {hit['_id']}"
        return [
            Step("written", written_at, f"{path} at byte {source.get('log.offset', '?')}{length}"),
            Step("read", read_at, f"by the shipper of node {node}"),
            *await self._kafka_steps(hit, read_at),
            Step("indexed", _parse_time(source.get("event.ingested")), indexed),
            Step("searchable", None, f"found by this search at {_utc_time(searched_at)}; since when is not recorded"),
        ]

    async def _kafka_steps(self, hit: JsonObject, read_at: int | None) -> list[Step]:
        source, position = hit["_source"], parse_id(hit["_id"])
        if "crisp.offset" in source:
            origin = KafkaPosition(
                source.get("crisp.topic", "?"), source.get("crisp.partition", -1), source["crisp.offset"], 0
            )
            return [Step("in Kafka", None, f"{_format_position(origin)}, a record of another shipper")]
        if position is None or read_at is None:
            return [Step("in Kafka", None, "record unknown: not a crisp id")]
        since = read_at // 10**6 - CLOCK_SKEW_MS
        until = since + CLOCK_SKEW_MS + MAX_SEND_DELAY_MS
        try:
            steps = await self._record_steps(position, since, until) or await self._record_steps(position, since, None)
        except KafkaError as error:  # the document exists: its other steps are known nevertheless
            reason = "no broker is reachable" if isinstance(error, KafkaConnectionError) else str(error)
            return [Step("in Kafka", None, f"unknown: cannot read from {self._settings.kafka_address}: {reason}")]
        return steps or [Step("in Kafka", None, f"record no longer in {self._settings.topic_raw}")]

    async def _record_steps(self, position: EventPosition, since: int, until: int | None) -> list[Step]:
        """Return a step for each record of the raw topic with the event; a slice sent twice has two records."""
        steps = []
        committed = await committed_offsets(self._settings)
        async with TopicReader(self._settings, self._settings.topic_raw, since, until) as records:
            async for value, headers, origin in records.slices():
                match = _describe_match(position, value, headers)
                if match:
                    state = "committed" if origin.offset < committed.get(origin.partition, 0) else "not committed yet"
                    description = f"{_format_position(origin)}, {match}; {state}"
                    steps.append(Step("in Kafka", origin.timestamp * 10**6, description))
        return steps

    async def find_unindexed(self, identity: str, since: int) -> list[Step]:
        """Return the steps of an event that is not indexed: its dead letters, and its raw records since then (ms)."""
        steps = []
        async with TopicReader(self._settings, self._settings.topic_dead) as records:
            async for value, headers, origin in records:
                if ("dead-id", identity.encode()) in headers:
                    entry = dead_letter.decode(value, headers)
                    description = f"{_format_position(origin)}, rejected by {entry.index}: {entry.reason}"
                    steps.append(Step("dead letter", origin.timestamp * 10**6, description))
        position = parse_id(identity)
        return [*(await self._record_steps(position, since, None) if position else ()), *steps]


def _describe_match(position: EventPosition, value: bytes, headers: Headers) -> str:
    """Describe a record that contains the position: a gap that starts there, or a slice; empty if it does not."""
    try:
        if gap.is_gap(headers):
            lost = gap.decode(headers).gap
            return f"a gap: {lost.reason}" if (lost.identity, lost.offset) == position else ""
        if not record.is_crisp_record(headers) or position.identity.encode() not in dict(headers).get("files", b""):
            return ""
        log_slice = record.decode(value, headers)
    except RecordError:
        return ""  # the worker dead-letters it with the reason
    for segment in log_slice.segments:
        inside = segment.offset <= position.offset < segment.offset + segment.length
        if inside and log_slice.files[segment.file].identity == position.identity:
            lines = value.count(b"\n")
            return f"a slice of {lines} lines, {len(value)} bytes, read {_utc_time(log_slice.read_at)}"
    return ""


def _utc_time(time_ns: int) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(time_ns / 1e9))


def _format_position(origin: KafkaPosition) -> str:
    return f"{origin.topic}/{origin.partition} offset {origin.offset}"


def _parse_time(text: Any) -> int | None:
    return cri.nanoseconds(text.encode()) if isinstance(text, str) else None
