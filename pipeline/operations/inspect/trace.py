"""One document's way: file and offset, slice, partition and offset, index, with the time at each step.

What the document says is believed; its record is looked for in Kafka by when it was read, and known by its headers.
"""

import re
import time
from typing import Any, NamedTuple

import orjson
from aiokafka.errors import KafkaConnectionError, KafkaError
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.contract import cri, dead_letter, gap, record
from pipeline.contract.record import Headers, KafkaPosition
from pipeline.errors import CrispError, RecordError
from pipeline.kafka.topic_reader import TopicReader, committed_offsets

MAX_SEND_DELAY_MS = 60_000
CLOCK_SKEW_MS = 1_000
_ID_PATTERN = re.compile(r"([A-Za-z0-9_-]{16})-([0-9a-f]{10})(?:~[0-9a-f]+|-gap)?")


class Step(NamedTuple):
    """One step: its name, when (nanoseconds since the epoch, None where nobody knows), and what is known of it."""

    name: str
    time: int | None
    words: str


class EventPosition(NamedTuple):
    """Where an id of ours says that its event began."""

    identity: str
    offset: int


def parse_id(identity: str) -> EventPosition | None:
    """The place in an id of ours; None for another's."""
    match = _ID_PATTERN.fullmatch(identity)
    return EventPosition(match[1], int(match[2], 16)) if match else None


class DocumentTracer:
    """Finds one document's steps. Raises CrispError for Elasticsearch's faults; `astray` KafkaError for Kafka's."""

    def __init__(self, settings: Settings, client: AsyncElasticsearch) -> None:
        self._settings = settings
        self._client = client

    async def find_document(self, identity: str) -> dict[str, Any] | None:
        """The document as a search finds it."""
        query = {"query": {"ids": {"values": [identity]}}, "size": 1}
        path = f"/{self._settings.index_prefix}-*/_search?ignore_unavailable=true&allow_no_indices=true"
        headers = {"accept": "application/json", "content-type": "application/json"}
        try:
            answer = await self._client.perform_request("POST", path, headers=headers, body=orjson.dumps(query))
        except ApiError as fault:
            raise CrispError(f"Elasticsearch answers with {fault.status_code}: {str(fault.body)[:300]}") from fault
        except (TransportError, OSError) as fault:
            raise CrispError(f"Elasticsearch cannot be reached: {fault}") from fault
        hits = answer.body["hits"]["hits"]
        return dict(hits[0]) if hits else None

    async def steps(self, hit: dict[str, Any]) -> list[Step]:
        """The steps of a document that is there."""
        source = hit["_source"]
        written, read = (
            _parse_time(source.get("log.iotime") or source.get("@timestamp")),
            _parse_time(source.get("event.created")),
        )
        where = source.get("log.file.path", "unknown file")
        length = f", {source['log.length']} bytes" if "log.length" in source else ""
        indexed = f"{hit['_index']}, id {hit['_id']}"
        return [
            Step("written", written, f"{where} at byte {source.get('log.offset', '?')}{length}"),
            Step("read", read, f"by the shipper of node {source.get('agent.name') or source.get('host.name', '?')}"),
            *await self._kafka_steps(hit, read),
            Step("indexed", _parse_time(source.get("event.ingested")), indexed),
            Step("searchable", time.time_ns(), "a search found it just now"),
        ]

    async def _kafka_steps(self, hit: dict[str, Any], read: int | None) -> list[Step]:
        source, spot = hit["_source"], parse_id(hit["_id"])
        if "crisp.offset" in source:
            origin = KafkaPosition(
                source.get("crisp.topic", "?"), source.get("crisp.partition", -1), source["crisp.offset"], 0
            )
            return [Step("in Kafka", None, f"{_format_position(origin)}, a record that another shipper wrote")]
        if spot is None or read is None:
            return [Step("in Kafka", None, "its id does not tell which record it came in")]
        since = read // 10**6 - CLOCK_SKEW_MS
        try:
            found = await self._record_steps(
                spot, since, since + CLOCK_SKEW_MS + MAX_SEND_DELAY_MS
            ) or await self._record_steps(spot, since, None)
        except KafkaError as fault:  # the document is there: the other steps are known all the same
            why = "no broker answers" if isinstance(fault, KafkaConnectionError) else str(fault)
            return [Step("in Kafka", None, f"not known: {self._settings.kafka_brokers} cannot be asked, {why}")]
        return found or [Step("in Kafka", None, f"{self._settings.topic_raw} no longer holds its record")]

    async def _record_steps(self, position: EventPosition, since: int, until: int | None) -> list[Step]:
        """Every record of the raw topic that has the event in it; a slice that was sent twice is there twice."""
        found = []
        done = await committed_offsets(self._settings)
        async with TopicReader(self._settings, self._settings.topic_raw, since, until) as records:
            async for value, headers, origin in records:
                words = _describe_match(position, value, headers)
                if words:
                    state = "settled" if origin.offset < done.get(origin.partition, 0) else "not settled yet"
                    found.append(
                        Step("in Kafka", origin.timestamp * 10**6, f"{_format_position(origin)}, {words}; {state}")
                    )
        return found

    async def find_unindexed(self, identity: str, since: int) -> list[Step]:
        """The steps of what is not in the index: in a dead letter, or in the raw topic since then (ms)."""
        found = []
        async with TopicReader(self._settings, self._settings.topic_dead) as letters:
            async for value, headers, origin in letters:
                if ("dead-id", identity.encode()) in headers:
                    letter = dead_letter.decode(value, headers)
                    words = f"{_format_position(origin)}, refused by {letter.index}: {letter.reason}"
                    found.append(Step("dead letter", origin.timestamp * 10**6, words))
        spot = parse_id(identity)
        return [*(await self._record_steps(spot, since, None) if spot else ()), *found]


def _describe_match(position: EventPosition, value: bytes, headers: Headers) -> str:
    """What a record says of the slice, or of the gap, that begins there or holds that byte; empty when it does not."""
    try:
        if gap.is_gap(headers):
            told = gap.decode(headers).gap
            return f"a gap: {told.reason}" if (told.identity, told.offset) == position else ""
        if not record.is_crisp_record(headers) or position.identity.encode() not in dict(headers).get("files", b""):
            return ""
        part = record.decode(value, headers)
    except RecordError:
        return ""  # a dead letter by now: the worker says why
    for segment in part.segments:
        inside = segment.offset <= position.offset < segment.offset + segment.length
        if inside and part.files[segment.file].identity == position.identity:
            lines = value.count(b"\n")
            return f"a slice of {lines} lines, {len(value)} bytes, read {_utc_time(part.read_at)}"
    return ""


def _utc_time(moment: int) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(moment / 1e9))


def _format_position(origin: KafkaPosition) -> str:
    return f"{origin.topic}/{origin.partition} offset {origin.offset}"


def _parse_time(text: Any) -> int | None:
    return cri.nanoseconds(text.encode()) if isinstance(text, str) else None
