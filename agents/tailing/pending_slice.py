"""A slice to send, and the ranges of it to acknowledge once Kafka has it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from agents.tailing.log_file import LOOK_BACK_BYTES, LogFile
from agents.tailing.read_buffer import Chunk
from pipeline.contract import cri
from pipeline.contract.record import Continuation, LogSlice, Segment, SourceFile

FileRange = tuple[LogFile, int, int]
"""Bytes of a file: start, end."""


@dataclass(slots=True, eq=False)
class InFlightSlice:
    """The byte ranges of a slice in flight, and the continuations of the events that go on after it."""

    ranges: list[FileRange]
    continuations: tuple[Continuation, ...]
    acked: bool = False


class PendingSlice(NamedTuple):
    """A slice to send, and the object to acknowledge once Kafka has it."""

    log_slice: LogSlice
    in_flight: InFlightSlice


def file_ranges(chunks: Sequence[Chunk]) -> list[FileRange]:
    """Return the byte ranges of chunks; ranges that follow each other are one."""
    ranges: list[FileRange] = []
    for chunk in chunks:
        if ranges and ranges[-1][0] is chunk.file and ranges[-1][2] == chunk.offset:
            ranges[-1] = (chunk.file, ranges[-1][1], chunk.end())
        else:
            ranges.append((chunk.file, chunk.offset, chunk.end()))
    return ranges


def join(chunks: Sequence[Chunk]) -> bytes:
    """Return the lines of chunks, the last one with a newline."""
    value = chunks[0].to_bytes() if len(chunks) == 1 else b"".join(chunk.view() for chunk in chunks)
    return value if value.endswith(b"\n") else value + b"\n"


def source(ranges: Sequence[FileRange]) -> tuple[tuple[SourceFile, ...], tuple[Segment, ...]]:
    """Return the files and segments of ranges, as a record has them."""
    files = list(dict.fromkeys(file for file, _, _ in ranges))
    return (
        tuple(SourceFile(file.identity, str(file.path)) for file in files),
        tuple(Segment(files.index(file), start, end - start) for file, start, end in ranges),
    )


def context(chunk: Chunk, limit: int) -> tuple[bytes, tuple[Continuation, ...]]:
    """Return the CRI time before a chunk, where its first line has none, and the continuation of an oversized line.

    A raw line longer than `limit`, the maximum event size, is cut into parts of that size.
    """
    file, offset = chunk.file, chunk.offset
    if file.is_inside_line(offset):
        start = file.line_start(offset, limit)
        line = cri.parse(file.read_at(start, LOOK_BACK_BYTES))
        part = max(2, (offset - start) // limit + 1)
        return (line.time if line else b""), (Continuation("", part, 0),)
    first = chunk.data.find(b"\n", chunk.start, chunk.stop)
    if cri.parse(chunk.data[chunk.start : first if first >= 0 else chunk.stop]) is not None:
        return b"", ()
    return file.time_before(offset), ()
