"""Marks of records: what identifies the record at an offset, also after the log was truncated and written again. Pure.

The mark of the last settled record is committed as the metadata of the group's offset, at most 4,096 bytes
(`offset.metadata.max.bytes`): the text `crisp 1 TIMESTAMP CHECKSUM ROUTING`, in decimal and hexadecimal; marks of
earlier versions end before ROUTING. A log that lost its end (an unclean leader election, a damaged disk) and grew again
has another record at that offset. If ROUTING is not the worker's, or there is none, records after that one may have
been indexed in other indices, without a commit. Before the first record of a partition is indexed, the group's start is
committed, with a mark of no record.
"""

import re
import zlib
from typing import Any, NamedTuple

SAMPLE_BYTES = 1024
_NO_RECORD = -2  # in place of a timestamp
_METADATA = re.compile(r"crisp 1 (-?\d{1,19}) ([0-9a-f]{8})(?: ([0-9a-f]{8}))?", re.ASCII)


class RecordMark(NamedTuple):
    """An offset, its record's Kafka timestamp in milliseconds (-1: none), and a checksum of the record.

    Of a mark of no record the offset is that before the group's start.

    `routing` is that of the `RecordProcessor` which processes the records after this one, and has processed those that
    may be indexed already; empty if these may be in indices of several routings.
    """

    offset: int
    timestamp: int
    checksum: int
    routing: str = ""

    @property
    def metadata(self) -> str:
        """The metadata to commit with the offset after this record."""
        return f"crisp 1 {self.timestamp} {self.checksum:08x} {self.routing}".rstrip()

    @property
    def has_record(self) -> bool:
        """Whether this is the mark of a record, not of the group's start."""
        return self.timestamp != _NO_RECORD

    def is_same_record(self, other: "RecordMark") -> bool:
        """Return whether two marks are of the same record, however it was processed."""
        return self[:3] == other[:3]


def checksum(message: Any) -> int:
    """Return the checksum of Faust's message: of its key, its size, and both ends of its value."""
    value = message.value or b""
    ends = zlib.crc32(value[:SAMPLE_BYTES], zlib.crc32(value[-SAMPLE_BYTES:], len(value)))
    return zlib.crc32(message.key or b"", ends)


def mark(message: Any, routing: str = "") -> RecordMark:
    """Return the mark of Faust's message, whose field `checksum` has been set."""
    timestamp = -1 if message.timestamp is None else round(message.timestamp * 1000)
    return RecordMark(message.offset, timestamp, message.checksum, routing)


def mark_start(start: int, routing: str) -> RecordMark:
    """Return the mark of no record for a group that starts at an offset."""
    return RecordMark(start - 1, _NO_RECORD, 0, routing)


def parse(next_offset: int, metadata: str) -> RecordMark | None:
    """Return the mark of a committed offset: of the last settled record, or of none; None if its metadata has none."""
    match = _METADATA.fullmatch(metadata)
    if match is None:
        return None
    parsed = RecordMark(next_offset - 1, int(match[1]), int(match[2], 16), match[3] or "")
    return parsed if next_offset > 0 or not parsed.has_record else None
