"""The contract of gaps: lost log data is a record of the raw topic, and becomes a document. Pure.

key      that of the container's slices, so that the gap keeps its place between them
value    empty
headers  crisp     contract version, "1"
         gap       JSON: identity, offset, path, size, reason, since, until, records (see `Gap`)
         files     JSON, [[identity, path]], as in a slice
         node      name of the node
         read      when the gap was detected, nanoseconds since the epoch, decimal
         pod       JSON, the container's pod metadata, as in a slice

The document's id derives from the first lost byte: a gap that is sent twice is one document.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from pipeline.contract import record
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import IDENTITY, IDENTITY_BYTES, VERSION, Headers, SourceFile
from pipeline.errors import RecordError

VANISHED_FILE = "vanished file"
RESTART_JUMP = "jump in restart numbers"
DISK_LIMIT = "disk bound"
TRUNCATED_FILE = "truncated file"
CORRUPT_ARCHIVE = "broken archive"
KAFKA_RETENTION = "kafka retention"
SHIPPER_REASONS = (VANISHED_FILE, RESTART_JUMP, DISK_LIMIT, TRUNCATED_FILE, CORRUPT_ARCHIVE)


class Gap(NamedTuple):
    """Data lost from `offset` of the file (or of the partition) on.

    `size` in bytes, None if unknown; `since` and `until` are the times of the lines around it, in nanoseconds since
    the epoch, 0 if unknown. `records`: number of Kafka records, for data that Kafka's retention deleted.
    """

    identity: str
    offset: int
    path: str
    size: int | None
    reason: str
    since: int = 0
    until: int = 0
    records: int | None = None


@dataclass(frozen=True, slots=True)
class GapRecord:
    """The record of a gap: detected at `read_at`, wall clock in ns; `pod` is the pod metadata as encoded JSON."""

    gap: Gap
    node: str
    read_at: int
    pod: bytes

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """The file that held the bytes."""
        return (SourceFile(self.gap.identity, self.gap.path),)


def partition_identity(topic: str, partition: int) -> str:
    """Return the identity of a partition, for gaps that are not in a file."""
    digest = hashlib.blake2b(f"{topic}\0{partition}".encode(), digest_size=IDENTITY_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()


def document_id(gap: Gap) -> str:
    """Return the id of a gap's document."""
    return f"{record.document_id(gap.identity, gap.offset)}-gap"


def message(gap: Gap) -> str:
    """Return the message of a gap's document."""
    if gap.records is not None:
        lost = f"{gap.records} records of this log were lost"
    elif gap.size is not None:
        lost = f"{gap.size} bytes of this log were lost"
    else:
        lost = "an unknown number of bytes of this log may have been lost"
    return f"{lost} before they were read: {gap.reason}"


def encode(gap_record: GapRecord) -> Headers:
    """Return the headers of a gap's record; its value is empty."""
    return [
        ("crisp", VERSION),
        ("gap", orjson.dumps(gap_record.gap._asdict())),
        ("files", orjson.dumps([list(file) for file in gap_record.files])),
        ("node", gap_record.node.encode()),
        ("read", b"%d" % gap_record.read_at),
        ("pod", gap_record.pod),
    ]


def is_gap(headers: Headers) -> bool:
    """Return whether a record of crisp is a gap; check it before `record.decode`."""
    return any(name == "gap" for name, _ in headers) and record.is_crisp_record(headers)


def decode(headers: Headers) -> GapRecord:
    """Decode a gap's record. Raises RecordError that names the violation of the contract."""
    fields = dict(headers)
    if fields.get("crisp") != VERSION:
        raise RecordError(f"contract version {fields.get('crisp')!r} is not supported, only {VERSION!r}")
    missing = {"gap", "node", "read", "pod"} - fields.keys()
    if missing:
        raise RecordError("missing headers: " + ", ".join(sorted(missing)))
    try:
        gap = Gap(**orjson.loads(fields["gap"]))
        gap_record = GapRecord(gap, fields["node"].decode(), int(fields["read"]), fields["pod"])
    except (ValueError, TypeError) as error:
        raise RecordError(f"headers cannot be read: {error}") from error
    _check(gap._asdict())
    return gap_record


def _check(fields: JsonObject) -> None:
    """Check the fields of a gap, which have any type that JSON has."""
    identity = fields["identity"]
    if not isinstance(identity, str) or not IDENTITY.fullmatch(identity):
        raise RecordError(f"header gap: {str(identity)[:40]!r} is not an identity")
    if not isinstance(fields["path"], str) or not isinstance(fields["reason"], str):
        raise RecordError("header gap: path and reason must be text")
    numbers = [fields[name] for name in ("offset", "since", "until")]
    numbers += [fields[name] for name in ("size", "records") if fields[name] is not None]
    if not all(type(number) is int and 0 <= number < 1 << 63 for number in numbers):
        raise RecordError("header gap: offset, size, times and records must be whole numbers, not negative")
