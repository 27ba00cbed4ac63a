"""The log of one container instance: its files in order, read into slices that end between two events.

`next_slice` reads the next slice, `acknowledge` marks it as acked by Kafka; in between it is in flight. Lines of an
open event are held: the next slice begins with them. They stay unacknowledged, so they are read again after a crash.
"""

import dataclasses
import enum
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from agents.tailing import slice_boundary
from agents.tailing.log_file import LogFile
from agents.tailing.slice_boundary import OpenEventLines
from pipeline.contract import cri
from pipeline.contract.record import MAX_SEGMENTS, Continuation, Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.event import OpenEvent
from pipeline.grouping.oversized_line import find_oversized_lines

MARGIN_NS = 500_000_000  # between a line's timestamp and its arrival in the file
LOOK_BACK_BYTES = 65536
NEWLINE = 10
IDLE_SECONDS, IDLE_POLL_SECONDS = 5.0, 0.5
MAX_CHUNKS = MAX_SEGMENTS // 2

Chunk = slice_boundary.Chunk[LogFile]
"""Complete lines of a file."""

FileRange = tuple[LogFile, int, int]
"""Bytes of a file: start, end."""


class ReadResult(enum.Enum):
    """How far a read got."""

    MORE = "more can be read at once"
    END = "to the current end of the log"
    INCOMPLETE = "to an incomplete line or file, which later files may follow"
    OVERSIZED = "to the end of a part of a raw line that exceeds the maximum event size"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of slices, in bytes."""

    slice_bytes: int
    event_bytes: int


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


@dataclass(slots=True, eq=False)
class ContainerTail:
    """One container instance. `files`: from the oldest to the live one; `ended`: no more lines will be written."""

    key: bytes
    pod: bytes
    node: str
    grouping: Grouping
    limits: Limits
    files: list[LogFile] = field(default_factory=list)
    held: list[Chunk] = field(default_factory=list)
    continuations: tuple[Continuation, ...] | None = None  # of split events; None: use those of the checkpoint
    in_flight_slices: deque[InFlightSlice] = field(default_factory=deque)
    ended: bool = False
    scanned_at: int = 0  # wall clock, nanoseconds, before the last scan for new files
    metadata_ready: bool = True  # the pod metadata has arrived, or the wait for it has timed out
    metadata_missing: bool = False  # the pod metadata did not arrive in time
    discovered_at: float = 0.0  # monotonic time of its discovery
    idle_seconds: float = 0.0  # seconds since a file grew, at the last poll
    polled_at: float = 0.0  # monotonic time of the last poll

    @property
    def slice_bytes(self) -> int:
        """The maximum size of a slice."""
        return self.limits.slice_bytes

    def shrink(self, slice_bytes: int) -> None:
        """Reduce the maximum size of a slice, for the slices that follow."""
        if slice_bytes < self.limits.slice_bytes:
            self.limits = dataclasses.replace(self.limits, slice_bytes=slice_bytes)

    @property
    def in_flight_count(self) -> int:
        """Slices that Kafka has not acknowledged, or whose predecessors it has not acknowledged."""
        return len(self.in_flight_slices)

    def backlog_bytes(self) -> int:
        """Return the bytes that were not read yet, without the held ones."""
        return sum(max(0, file.last_size - file.position) for file in self.files)

    def is_idle(self, now: float) -> bool:
        """Return whether polling can be skipped at `now`, monotonic seconds: it is idle and has nothing to send."""
        if self.idle_seconds < IDLE_SECONDS or now - self.polled_at > IDLE_POLL_SECONDS:
            return False
        return not self.held and not self.backlog_bytes()

    def next_slice(self, now_ns: int) -> PendingSlice | None:
        """Return the next slice, or None while nothing can be sent. `now_ns`: the node's wall clock."""
        if self.continuations is None:
            self.continuations = next((file.continuations for file in self.files if file.continuations), ())
        max_bytes = self.limits.slice_bytes
        while True:
            chunks, result = self._read(max_bytes)
            if result is ReadResult.OVERSIZED:
                return self._make_slice(chunks, [], (), now_ns)
            lines = self._unparsed_prefix(chunks)
            if lines:
                return self._make_slice(
                    lines, chunks[: len(self.held)] + chunks[len(self.held) + 1 :], self.continuations, now_ns
                )
            open_events = self._open_events(chunks, result, now_ns)
            chosen, rest = slice_boundary.split_off_open(chunks, open_events) if open_events else (chunks, [])
            if chosen:
                continuations = tuple(event.continuation for event, _ in open_events if event.continuation)
                return self._make_slice(chosen, rest, continuations, now_ns)
            self._push_back(chunks)
            if result is not ReadResult.MORE:
                return None
            max_bytes += self.limits.slice_bytes

    def _make_slice(
        self, chosen: list[Chunk], rest: list[Chunk], continuations: tuple[Continuation, ...], now_ns: int
    ) -> PendingSlice:
        """Make a slice of the chosen chunks, and hold the rest."""
        ranges: list[FileRange] = []
        for chunk in chosen:
            if ranges and ranges[-1][0] is chunk.file and ranges[-1][2] == chunk.offset:
                ranges[-1] = (chunk.file, ranges[-1][1], chunk.end())
            else:
                ranges.append((chunk.file, chunk.offset, chunk.end()))
        pending = PendingSlice(
            self._log_slice(chosen, ranges, continuations, now_ns), InFlightSlice(ranges, continuations)
        )
        self._push_back(rest)
        self.continuations = continuations
        self.in_flight_slices.append(pending.in_flight)
        return pending

    def acknowledge(self, in_flight: InFlightSlice) -> None:
        """Mark a slice as acked. Slices count in order, since an event depends on the lines before it."""
        in_flight.acked = True
        while self.in_flight_slices and self.in_flight_slices[0].acked:
            first = self.in_flight_slices.popleft()
            for file, start, end in first.ranges:
                file.acked.add(start, end)
            for file in self.files:
                file.continuations = first.continuations

    def rewind(self) -> None:
        """Read everything unacknowledged again: the state of the slices in flight is unknown."""
        self.in_flight_slices.clear()
        self.held.clear()
        self.continuations = None
        for file in self.files:
            file.rewind()

    def replace_file(self, number: int, replacement: LogFile) -> None:
        """Replace a truncated file."""
        old = self.files[number]
        self.held = [chunk for chunk in self.held if chunk.file is not old]
        self.continuations = ()
        self.files[number] = replacement
        old.close()

    def abandon(self, file: LogFile) -> None:
        """Stop reading a file; its slices in flight may still be acked."""
        self.held = [chunk for chunk in self.held if chunk.file is not file]
        self.continuations = ()
        self.files.remove(file)
        file.close()

    def _read(self, max_bytes: int) -> tuple[list[Chunk], ReadResult]:
        """Return the held lines followed by up to `max_bytes` of new complete lines, and how far the read got."""
        chunks = list(self.held)
        for number, file in enumerate(self.files):
            last = number == len(self.files) - 1
            if not last and file.finalised and not file.last_size:
                continue
            if not file.identity or file.compressed:
                return chunks, ReadResult.END if last and not file.last_size else ReadResult.INCOMPLETE
            fresh = sum(chunk.size() for chunk in chunks[len(self.held) :])
            result = self._read_file(file, chunks, max_bytes - fresh)
            if result is not None:
                return chunks, result
            if not last and not file.finalised:
                return chunks, ReadResult.INCOMPLETE
        return chunks, ReadResult.END

    def _read_file(self, file: LogFile, chunks: list[Chunk], max_bytes: int) -> ReadResult | None:
        """Append the new lines of one file; return None if it was read to its end."""
        while max_bytes > 0 and len(chunks) <= MAX_CHUNKS:
            offset, data, at_end = file.read(max_bytes)
            inside = bool(data) and file.is_inside_line(offset)
            if inside and chunks:
                return ReadResult.OVERSIZED
            stop = self._end_of_complete_lines(file, data, inside=inside, at_end=at_end)
            if stop:
                chunks.append(slice_boundary.Chunk(file, offset, data, 0, stop))
                file.position = offset + stop
                max_bytes -= stop
            if stop and (inside or (stop == self.limits.event_bytes and data[stop - 1] != NEWLINE)):
                return ReadResult.OVERSIZED
            if at_end and len(data) - stop < self.limits.event_bytes:
                return ReadResult.INCOMPLETE if stop < len(data) else None
            if not stop:
                return ReadResult.MORE
        return ReadResult.MORE

    def _end_of_complete_lines(self, file: LogFile, data: bytes, *, inside: bool, at_end: bool) -> int:
        """Return the end of the complete lines in `data`; a final rest without newline counts as complete.

        A raw line above the maximum event size is cut into parts of that size; each is sent on its own.
        """
        limit = self.limits.event_bytes
        final = at_end and (self.ended or file.finalised)
        if inside:
            stop = data.find(b"\n", 0, limit) + 1 or (limit if len(data) >= limit else 0)
            return stop or (len(data) if final else 0)
        first = next(find_oversized_lines(data, limit), None)
        if first is not None:
            return first[0] or limit
        return len(data) if final else data.rfind(b"\n") + 1

    def _unparsed_prefix(self, chunks: list[Chunk]) -> list[Chunk]:
        """Return leading non-CRI lines; they go before the held lines: their time is that of the line before them."""
        if not self.held or len(chunks) == len(self.held):
            return []
        fresh = chunks[len(self.held)]
        stop = slice_boundary.end_of_unparsed(fresh)
        if stop == fresh.start:
            return []
        fresh.file.position = fresh.offset + stop - fresh.start
        return [fresh.subrange(fresh.start, stop)]

    def _open_events(self, chunks: list[Chunk], result: ReadResult, now_ns: int) -> list[OpenEventLines]:
        """Return the events that an unread line may continue."""
        open_events = slice_boundary.find_open_events(chunks, self.grouping, self.continuations or ()) if chunks else []
        if result is ReadResult.END:
            return [entry for entry in open_events if not self._is_closed_by_gap(entry.event, now_ns)]
        return open_events

    def _is_closed_by_gap(self, event: OpenEvent, now_ns: int) -> bool:
        """Return whether every unread line starts a new event because of its timestamp.

        Such a line was written after the last scan: all earlier lines were in files that were discovered and read.
        """
        last = cri.nanoseconds(event.last_time) or 0
        if last > now_ns + MARGIN_NS:  # the clock was set back, maybe by hours: count from now
            last = min(last, now_ns - int(self.idle_seconds * 1e9))
        return self.ended or self.scanned_at > last + event.gap + MARGIN_NS

    def _push_back(self, rest: list[Chunk]) -> None:
        """Keep chunks that were not sent: by moving the file position back where possible, else in memory."""
        while rest and rest[-1].file.position == rest[-1].end():
            rest[-1].file.position = rest[-1].offset
            rest = rest[:-1]
        # Copies, so that a few held lines do not keep the whole read buffer in memory.
        self.held = [
            slice_boundary.Chunk(chunk.file, chunk.offset, chunk.to_bytes(), 0, chunk.size()) for chunk in rest
        ]

    def _log_slice(
        self, chunks: list[Chunk], ranges: list[FileRange], continuations: tuple[Continuation, ...], now_ns: int
    ) -> LogSlice:
        files = list(dict.fromkeys(file for file, _, _ in ranges))
        value = chunks[0].to_bytes() if len(chunks) == 1 else b"".join(chunk.view() for chunk in chunks)
        previous_time, oversized = _context(chunks[0], self.limits.event_bytes)
        return LogSlice(
            value=value if value.endswith(b"\n") else value + b"\n",
            files=tuple(SourceFile(file.identity, str(file.path)) for file in files),
            segments=tuple(Segment(files.index(file), start, end - start) for file, start, end in ranges),
            node=self.node,
            read_at=now_ns,
            grouping=self.grouping,
            pod=self.pod,
            previous_time=previous_time,
            continuations=(self.continuations or ()) + oversized,
            continued_streams=tuple(continuation.stream for continuation in continuations),
        )


def _context(chunk: Chunk, limit: int) -> tuple[bytes, tuple[Continuation, ...]]:
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
    start = max(0, offset - LOOK_BACK_BYTES)
    for raw in reversed(file.read_at(start, offset - start).split(b"\n")):
        line = cri.parse(raw)
        if line is not None:
            return line.time, ()
    return b"", ()
