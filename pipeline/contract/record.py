"""The contract of the raw topic: one Kafka record is one slice of one container's log, as verbatim CRI lines.

Version 1; version 2, several slices as one record, is `pipeline.contract.bundle`.

key      container instance: pod uid, container, restart count, separated by "/"
value    raw lines, each with its newline, byte for byte as in the file (if the file ended without a newline, the
         last one is added: then the segments add up to one byte less than the value)
headers  crisp     contract version, "1"
         files     JSON, [[identity, path], ...]: the files that the value's bytes come from
         segments  "FILE:GAP+LENGTH,..." decimal: the byte ranges of the value, in order; FILE counts from 0
                   in `files`, GAP is the distance from the end of the previous segment in that file
         node      name of the node
         read      when the shipper read it, nanoseconds since the epoch, decimal
         grouping  JSON, how lines are joined into events (see `Grouping`)
         pod       JSON, the container's pod metadata (see `pipeline.documents.container_fields`)
         after     optional: CRI time of the last line before this slice, if the slice's first line has none
         carried   optional: JSON, [[stream, part, state], ...]: streams whose first line here begins a later part of
                   an event that was too long (see `Continuation`)
         goes_on   optional: streams, separated by commas, whose last event here was too long: a later part follows

A record with the header `gap` reports lost bytes and has no value; its contract is that of `pipeline.contract.gap`.
A record without the header `crisp` is third-party. One with an unsupported version is rejected, never guessed.
The identity of a file and the id of a document never change again: the tests have golden vectors.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import orjson

from pipeline.contract.json_types import JsonObject
from pipeline.errors import RecordError
from pipeline.short_key_cache import cache_short_keys

VERSION = b"1"
MAX_SEGMENTS = 256
IDENTITY_BYTES = 12
IDENTITY_CHARACTERS = 16
FIRST_LINE_BYTES = 1024
MODES = ("traces", "off", "pattern")

IDENTITY = re.compile(r"[A-Za-z0-9_-]{16}")
_REQUIRED = frozenset({"files", "segments", "node", "read", "grouping", "pod"})
_CACHED_GROUPING_MAX_BYTES = 8 * 1024
_SEGMENT = re.compile(rb"(\d{1,4}):(\d{1,19})\+(\d{1,10})")

Headers = list[tuple[str, bytes]]
"""Headers of a Kafka record: names and raw values, in order."""


class KafkaPosition(NamedTuple):
    """Position of a record in Kafka; `timestamp` in milliseconds, as in Kafka."""

    topic: str
    partition: int
    offset: int
    timestamp: int

    def document_fields(self) -> JsonObject:
        """Return the position as fields of a document."""
        return {"crisp.topic": self.topic, "crisp.partition": self.partition, "crisp.offset": self.offset}


UNKNOWN_POSITION = KafkaPosition("", -1, -1, 0)


class SourceFile(NamedTuple):
    """A log file: its identity and its last known path."""

    identity: str
    path: str


class Segment(NamedTuple):
    """A range of whole lines: index of the file, byte offset in it, length in bytes."""

    file: int
    offset: int
    length: int


class Grouping(NamedTuple):
    """How lines are joined into events. Durations in nanoseconds, sizes in bytes of raw lines.

    `mode`: `traces` (built in), `off`, or `pattern`: a line in which `pattern` (RE2) matches begins an event, every
    other line continues one. `max_places`: the most separate byte ranges of one trace, or of one line of partials.
    Two streams have at most one of each open; twice that must fit into MAX_SEGMENTS.
    """

    mode: str = "traces"
    trace_gap: int = 1_000_000_000
    partial_gap: int = 60_000_000_000
    max_bytes: int = 1024 * 1024
    max_lines: int = 2000
    max_places: int = 31
    pattern: str = ""


class Continuation(NamedTuple):
    """State for resuming an event that was too long, at the first line of a later part.

    `stream`: stdout or stderr; empty: the rest of a raw line that was itself too long. `part` counts from 1; `state`
    is that of the grammar in `pipeline.grouping.stack_trace` after the part's first line, 0 if that line is classified
    like any other.
    """

    stream: str
    part: int
    state: int


@dataclass(frozen=True, slots=True)
class LogSlice:
    """A run of whole log events of one container instance. `pod` is the pod metadata as encoded JSON."""

    value: bytes
    files: tuple[SourceFile, ...]
    segments: tuple[Segment, ...]
    node: str
    read_at: int
    grouping: Grouping
    pod: bytes
    previous_time: bytes = b""
    continuations: tuple[Continuation, ...] = ()
    continued_streams: tuple[str, ...] = ()


def identity(pod_uid: str, container: str, restart: int, first_line: bytes) -> str:
    """Return the permanent identity of a file, from its container instance and first line (without newline).

    The first FIRST_LINE_BYTES of the line count.
    """
    parts = (pod_uid.encode(), container.encode(), b"%d" % restart, first_line[:FIRST_LINE_BYTES])
    digest = hashlib.blake2b(b"\0".join(parts), digest_size=IDENTITY_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()


def random_identity(entropy: bytes) -> str:
    """Return the identity of a file whose first line has no CRI time, from `entropy`, 12 random bytes."""
    return base64.urlsafe_b64encode(entropy[:IDENTITY_BYTES]).decode()


def document_id(file_identity: str, offset: int) -> str:
    """Return the id of the event that begins at `offset` of the file: 27 characters."""
    return f"{file_identity}-{offset:010x}"


def container_key(pod_uid: str, container: str, restart: int) -> bytes:
    """Return the record's key: one container instance stays in one partition."""
    return f"{pod_uid}/{container}/{restart}".encode()


def encode_segments(segments: tuple[Segment, ...]) -> bytes:
    """Encode segments as deltas; see the module's docstring."""
    ends: dict[int, int] = {}
    coded = []
    for file, offset, length in segments:
        coded.append(b"%d:%d+%d" % (file, offset - ends.get(file, 0), length))
        ends[file] = offset + length
    return b",".join(coded)


def decode_segments(coded: bytes) -> tuple[Segment, ...]:
    """Decode delta-encoded segments. Raises RecordError."""
    only = _SEGMENT.fullmatch(coded)
    if only is not None:
        return (Segment(int(only[1]), int(only[2]), int(only[3])),)
    ends: dict[int, int] = {}
    segments = []
    for part in coded.split(b","):
        match = _SEGMENT.fullmatch(part)
        if match is None:
            raise RecordError(f"header segments: {part[:40]!r} is not FILE:GAP+LENGTH")
        file, gap, length = int(match[1]), int(match[2]), int(match[3])
        offset = ends.get(file, 0) + gap
        segments.append(Segment(file, offset, length))
        ends[file] = offset + length
    if len(segments) > MAX_SEGMENTS:
        raise RecordError(f"header segments: {len(segments)}, at most {MAX_SEGMENTS}")
    return tuple(segments)


def encode(log_slice: LogSlice) -> tuple[bytes, Headers]:
    """Return value and headers of a slice's record."""
    return log_slice.value, [
        ("crisp", VERSION),
        ("files", encode_files(log_slice.files)),
        ("segments", encode_segments(log_slice.segments)),
        ("node", log_slice.node.encode()),
        ("read", b"%d" % log_slice.read_at),
        ("grouping", encode_grouping(log_slice.grouping)),
        ("pod", log_slice.pod),
        *encode_optional(log_slice),
    ]


def encode_files(files: tuple[SourceFile, ...]) -> bytes:
    """Encode the files of a slice."""
    return orjson.dumps([list(file) for file in files])


@lru_cache(maxsize=64)
def encode_grouping(grouping: Grouping) -> bytes:
    """Encode a grouping."""
    return orjson.dumps(grouping._asdict())


def encode_optional(log_slice: LogSlice) -> Headers:
    """Return the headers that few slices have."""
    headers = []
    if log_slice.previous_time:
        headers.append(("after", log_slice.previous_time))
    if log_slice.continuations:
        headers.append(("carried", orjson.dumps([list(entry) for entry in log_slice.continuations])))
    if log_slice.continued_streams:
        headers.append(("goes_on", ",".join(log_slice.continued_streams).encode()))
    return headers


def is_crisp_record(headers: Headers) -> bool:
    """Return whether a record declares this contract; else it is third-party."""
    return any(name == "crisp" for name, _ in headers)


def decode(value: bytes | None, headers: Headers) -> LogSlice:
    """Decode a record of crisp. Raises RecordError that names the violation of the contract."""
    fields = dict(headers)
    if fields.get("crisp") != VERSION:
        raise RecordError(f"contract version {fields.get('crisp')!r} is not supported, only {VERSION!r}")
    if "gap" in fields:
        raise RecordError("this record is a gap, not a slice")
    missing = _REQUIRED.difference(fields)
    if missing:
        raise RecordError("missing headers: " + ", ".join(sorted(missing)))
    try:
        log_slice = LogSlice(
            value=value or b"",
            files=_decode_files(fields["files"]),
            segments=decode_segments(fields["segments"]),
            node=fields["node"].decode(),
            read_at=int(fields["read"]),
            grouping=_grouping(fields["grouping"]),
            pod=fields["pod"],
            previous_time=fields.get("after", b""),
            continuations=_decode_continuations(fields.get("carried", b"")),
            continued_streams=tuple(fields["goes_on"].decode().split(",")) if "goes_on" in fields else (),
        )
    except (ValueError, TypeError) as error:
        raise RecordError(f"headers cannot be read: {error}") from error
    _check(log_slice)
    return log_slice


@cache_short_keys(4096)
def _decode_files(encoded: bytes) -> tuple[SourceFile, ...]:
    files = tuple(SourceFile(str(name), str(path)) for name, path in orjson.loads(encoded))
    for file in files:
        if not IDENTITY.fullmatch(file.identity):
            raise RecordError(f"header files: {file.identity[:40]!r} is not an identity")
    return files


def _grouping(encoded: bytes) -> Grouping:
    """Decode a grouping; only short ones are cached, since a pattern is a tenant's, and may be of any length here."""
    short = len(encoded) <= _CACHED_GROUPING_MAX_BYTES
    return _decode_grouping(encoded) if short else _decode_grouping.__wrapped__(encoded)


@lru_cache(maxsize=64)
def _decode_grouping(encoded: bytes) -> Grouping:
    grouping = Grouping(**orjson.loads(encoded))
    if grouping.mode not in MODES:
        raise RecordError(f"header grouping: mode {grouping.mode!r} is not supported")
    if not all(isinstance(number, int) and number > 0 for number in grouping[1:-1]):
        raise RecordError("header grouping: gaps and limits must be positive whole numbers")
    if grouping.partial_gap < grouping.trace_gap:
        raise RecordError("header grouping: partial_gap is less than trace_gap")
    return grouping


def _decode_continuations(encoded: bytes) -> tuple[Continuation, ...]:
    if not encoded:
        return ()
    continuations = tuple(Continuation(*entry) for entry in orjson.loads(encoded))
    for entry in continuations:
        if entry.stream not in ("stdout", "stderr", "") or not entry.part > 1 or not isinstance(entry.state, int):
            raise RecordError(f"header carried: {list(entry)} is invalid")
    return continuations


def _check(log_slice: LogSlice) -> None:
    if not log_slice.value.endswith(b"\n"):
        raise RecordError("the value does not end with a newline")
    total = sum([segment.length for segment in log_slice.segments])
    if len(log_slice.value) - total not in (0, 1):
        raise RecordError(f"the segments have {total} bytes, the value has {len(log_slice.value)}")
    if log_slice.continued_streams and not {"stdout", "stderr"}.issuperset(log_slice.continued_streams):
        raise RecordError(f"header goes_on: {log_slice.continued_streams!r} are not streams")
    if max([segment.file for segment in log_slice.segments]) >= len(log_slice.files):
        raise RecordError("header segments: refers to a file that is not in header files")
