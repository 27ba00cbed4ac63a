"""The log of one container instance: its files in order, read into slices that end between two events.

`take` reads the next slice, `acknowledge` notes that Kafka has it. What lies between is in flight. Lines of an
event that is still open are held: the next slice begins with them. They stay unacknowledged, so a crash reads
them again.
"""

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
from pipeline.grouping.grouper import oversized_lines

MARGIN_NS = 500_000_000  # between a line's own time and its arrival in the file
LOOK_BACK_BYTES = 65536
NEWLINE = 10
IDLE_SECONDS, IDLE_POLL_SECONDS = 5.0, 0.5
MAX_CHUNKS = MAX_SEGMENTS // 2

Chunk = slice_boundary.Chunk[LogFile]
"""Whole lines of a file."""

FileRange = tuple[LogFile, int, int]
"""Bytes of a file: from, to."""


class ReadResult(enum.Enum):
    """How far a read came."""

    MORE = "there is more to read at once"
    END = "to the end of the log, as it stands now"
    INCOMPLETE = "to a line, or a file, that is still being written while later ones may be there"
    OVERSIZED = "to the end of a piece of a raw line that is longer than an event may be"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of slices, in bytes."""

    slice_bytes: int
    event_bytes: int


@dataclass(slots=True, eq=False)
class InFlightSlice:
    """What is remembered of a slice on its way, not its bytes: where they stand, and what is carried on behind it."""

    ranges: list[FileRange]
    continuations: tuple[Continuation, ...]
    acked: bool = False


class PendingSlice(NamedTuple):
    """A slice, and what is to be acknowledged when Kafka has it."""

    log_slice: LogSlice
    in_flight: InFlightSlice


@dataclass(slots=True, eq=False)
class ContainerTail:
    """One container instance. `files` from the oldest to the live one; `ended`: nothing more will be written."""

    key: bytes
    pod: bytes
    node: str
    grouping: Grouping
    limits: Limits
    files: list[LogFile] = field(default_factory=list)
    held: list[Chunk] = field(default_factory=list)
    continuations: tuple[Continuation, ...] | None = (
        None  # parts of events that go on; None: the files' checkpoint says
    )
    in_flight_slices: deque[InFlightSlice] = field(default_factory=deque)
    ended: bool = False
    scanned_at: int = 0  # wall clock, nanoseconds, before the last look for new files
    metadata_ready: bool = True  # what is to be known of its pod is known, or was waited for long enough
    metadata_missing: bool = False  # its pod was to be known, and is not
    discovered_at: float = 0.0  # monotonic time when it was found
    idle_seconds: float = 0.0  # seconds since a file grew, at the last look
    polled_at: float = 0.0  # monotonic time of the last look

    @property
    def in_flight_count(self) -> int:
        """Slices that Kafka has not acknowledged, or not all before them."""
        return len(self.in_flight_slices)

    def backlog_bytes(self) -> int:
        """Bytes that were not taken yet, held ones not counted."""
        return sum(max(0, file.last_size - file.position) for file in self.files)

    def is_idle(self, now: float) -> bool:
        """Whether it need not be looked at again at `now`, monotonic seconds: it is quiet, and has nothing to send."""
        if self.idle_seconds < IDLE_SECONDS or now - self.polled_at > IDLE_POLL_SECONDS:
            return False
        return not self.held and not self.backlog_bytes()

    def next_slice(self, now_ns: int) -> PendingSlice | None:
        """The next slice, or None while there is nothing that may be sent. `now_ns`: the node's wall clock."""
        if self.continuations is None:
            self.continuations = next((file.continuations for file in self.files if file.continuations), ())
        wanted = self.limits.slice_bytes
        while True:
            pieces, reach = self._read(wanted)
            if reach is ReadResult.OVERSIZED:
                return self._make_slice(pieces, [], (), now_ns)
            lines = self._unparsed_prefix(pieces)
            if lines:
                return self._make_slice(
                    lines, pieces[: len(self.held)] + pieces[len(self.held) + 1 :], self.continuations, now_ns
                )
            opened = self._open_events(pieces, reach, now_ns)
            chosen, rest = slice_boundary.split_off_open(pieces, opened) if opened else (pieces, [])
            if chosen:
                goes_on = tuple(event.continuation for event, _ in opened if event.continuation)
                return self._make_slice(chosen, rest, goes_on, now_ns)
            self._push_back(pieces)
            if reach is not ReadResult.MORE:
                return None
            wanted += self.limits.slice_bytes

    def _make_slice(
        self, chosen: list[Chunk], rest: list[Chunk], carried: tuple[Continuation, ...], now_ns: int
    ) -> PendingSlice:
        """Make the slice, and hold the rest."""
        ranges: list[FileRange] = []
        for piece in chosen:
            if ranges and ranges[-1][0] is piece.file and ranges[-1][2] == piece.offset:
                ranges[-1] = (piece.file, ranges[-1][1], piece.end())
            else:
                ranges.append((piece.file, piece.offset, piece.end()))
        taken = PendingSlice(self._log_slice(chosen, ranges, carried, now_ns), InFlightSlice(ranges, carried))
        self._push_back(rest)
        self.continuations = carried
        self.in_flight_slices.append(taken.in_flight)
        return taken

    def acknowledge(self, in_flight: InFlightSlice) -> None:
        """Kafka has the slice. What comes before it is noted first: what an event is hangs on the lines before."""
        in_flight.acked = True
        while self.in_flight_slices and self.in_flight_slices[0].acked:
            first = self.in_flight_slices.popleft()
            for file, start, end in first.ranges:
                file.acked.add(start, end)
            for file in self.files:
                file.continuations = first.continuations

    def rewind(self) -> None:
        """Read again all that is not acknowledged: what was in flight is lost or unknown."""
        self.in_flight_slices.clear()
        self.held.clear()
        self.continuations = None
        for file in self.files:
            file.rewind()

    def replace_file(self, number: int, replacement: LogFile) -> None:
        """A file was cut and is written anew: in its place stands another."""
        old = self.files[number]
        self.held = [piece for piece in self.held if piece.file is not old]
        self.continuations = ()
        self.files[number] = replacement
        old.close()

    def abandon(self, file: LogFile) -> None:
        """Read no more of a file; what of it is on its way may still arrive."""
        self.held = [piece for piece in self.held if piece.file is not file]
        self.continuations = ()
        self.files.remove(file)
        file.close()

    def _read(self, wanted: int) -> tuple[list[Chunk], ReadResult]:
        """Held lines and fresh whole lines behind them, `wanted` bytes at most; and how far that reaches."""
        pieces = list(self.held)
        for number, file in enumerate(self.files):
            last = number == len(self.files) - 1
            if not last and file.finalised and not file.last_size:
                continue
            if not file.identity or file.compressed:
                return pieces, ReadResult.END if last and not file.last_size else ReadResult.INCOMPLETE
            fresh = sum(piece.size() for piece in pieces[len(self.held) :])
            reach = self._read_file(file, pieces, wanted - fresh)
            if reach is not None:
                return pieces, reach
            if not last and not file.finalised:
                return pieces, ReadResult.INCOMPLETE
        return pieces, ReadResult.END

    def _read_file(self, file: LogFile, pieces: list[Chunk], room: int) -> ReadResult | None:
        """Add what is fresh in one file; None: it was read to its end."""
        while room > 0 and len(pieces) <= MAX_CHUNKS:
            offset, data, at_end = file.read(room)
            inside = bool(data) and file.is_inside_line(offset)
            if inside and pieces:
                return ReadResult.OVERSIZED
            stop = self._end_of_complete_lines(file, data, inside=inside, at_end=at_end)
            if stop:
                pieces.append(slice_boundary.Chunk(file, offset, data, 0, stop))
                file.position = offset + stop
                room -= stop
            if stop and (inside or (stop == self.limits.event_bytes and data[stop - 1] != NEWLINE)):
                return ReadResult.OVERSIZED
            if at_end and len(data) - stop < self.limits.event_bytes:
                return ReadResult.INCOMPLETE if stop < len(data) else None
            if not stop:
                return ReadResult.MORE
        return ReadResult.MORE

    def _end_of_complete_lines(self, file: LogFile, data: bytes, *, inside: bool, at_end: bool) -> int:
        """Where in what was read whole lines end, or the rest of a file that gets no newline any more.

        Of a raw line longer than an event may be, pieces of that size count as whole; they go alone.
        """
        limit = self.limits.event_bytes
        final = at_end and (self.ended or file.finalised)
        if inside:
            stop = data.find(b"\n", 0, limit) + 1 or (limit if len(data) >= limit else 0)
            return stop or (len(data) if final else 0)
        first = next(oversized_lines(data, 0, limit), None) if len(data) >= limit else None
        if first is not None:
            return first[0] or limit
        return len(data) if final else data.rfind(b"\n") + 1

    def _unparsed_prefix(self, pieces: list[Chunk]) -> list[Chunk]:
        """Lines that are no CRI lines go before what is held: they have their time from the line before them."""
        if not self.held or len(pieces) == len(self.held):
            return []
        fresh = pieces[len(self.held)]
        stop = slice_boundary.end_of_unparsed(fresh)
        if stop == fresh.start:
            return []
        fresh.file.position = fresh.offset + stop - fresh.start
        return [fresh.subrange(fresh.start, stop)]

    def _open_events(self, pieces: list[Chunk], reach: ReadResult, now_ns: int) -> list[OpenEventLines]:
        """The events that a line which was not read yet may continue."""
        opened = slice_boundary.find_open_events(pieces, self.grouping, self.continuations or ()) if pieces else []
        if reach is ReadResult.END:
            return [one for one in opened if not self._is_closed_by_gap(one.event, now_ns)]
        return opened

    def _is_closed_by_gap(self, event: OpenEvent, now_ns: int) -> bool:
        """Whether any line that was not read yet would begin a new event, by its own time.

        Such a line was written after the last scan: what came before stood in a file that was found and read.
        """
        last = cri.nanoseconds(event.last_time) or 0
        if last > now_ns + MARGIN_NS:  # a clock was set back, and may take hours to come there: count from now
            last = min(last, now_ns - int(self.idle_seconds * 1e9))
        return self.ended or self.scanned_at > last + event.gap + MARGIN_NS

    def _push_back(self, rest: list[Chunk]) -> None:
        """Keep what was read and not sent: by moving the position back where that is the same, else in memory."""
        while rest and rest[-1].file.position == rest[-1].end():
            rest[-1].file.position = rest[-1].offset
            rest = rest[:-1]
        # A copy, so that a few held lines do not keep all that was read with them.
        self.held = [slice_boundary.Chunk(one.file, one.offset, one.to_bytes(), 0, one.size()) for one in rest]

    def _log_slice(
        self, pieces: list[Chunk], ranges: list[FileRange], goes_on: tuple[Continuation, ...], now_ns: int
    ) -> LogSlice:
        files = list(dict.fromkeys(file for file, _, _ in ranges))
        value = pieces[0].to_bytes() if len(pieces) == 1 else b"".join(piece.view() for piece in pieces)
        after, inside = _context(pieces[0], self.limits.event_bytes)
        return LogSlice(
            value=value if value.endswith(b"\n") else value + b"\n",
            files=tuple(SourceFile(file.identity, str(file.path)) for file in files),
            segments=tuple(Segment(files.index(file), start, end - start) for file, start, end in ranges),
            node=self.node,
            read_at=now_ns,
            grouping=self.grouping,
            pod=self.pod,
            previous_time=after,
            continuations=(self.continuations or ()) + inside,
            continued_streams=tuple(one.stream for one in goes_on),
        )


def _context(piece: Chunk, limit: int) -> tuple[bytes, tuple[Continuation, ...]]:
    """What the first line of a piece does not tell itself: the CRI time before it, and which part of a line it is.

    A raw line longer than `limit`, the longest event, is cut into pieces of that size.
    """
    file, offset = piece.file, piece.offset
    if file.is_inside_line(offset):
        start = file.line_start(offset, limit)
        line = cri.parse(file.read_at(start, LOOK_BACK_BYTES))
        part = max(2, (offset - start) // limit + 1)
        return (line.time if line else b""), (Continuation("", part, 0),)
    first = piece.data.find(b"\n", piece.start, piece.stop)
    if cri.parse(piece.data[piece.start : first if first >= 0 else piece.stop]) is not None:
        return b"", ()
    start = max(0, offset - LOOK_BACK_BYTES)
    for raw in reversed(file.read_at(start, offset - start).split(b"\n")):
        line = cri.parse(raw)
        if line is not None:
            return line.time, ()
    return b"", ()
