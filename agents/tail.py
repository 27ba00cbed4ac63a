"""The log of one container instance: its files in order, read into slices that end between two events.

`take` reads the next slice, `acknowledge` notes that Kafka has it. What lies between is in flight. Lines of an
event that is still open are held: the next slice begins with them. They stay unacknowledged, so a crash reads
them again.
"""

import enum
import os
from dataclasses import dataclass, field

from agents import cut
from agents.logfile import LogFile
from pipeline import cri
from pipeline.grouping import Open
from pipeline.record import MAX_SEGMENTS, Grouping, LogSlice, Segment, SourceFile

MARGIN_NS = 500_000_000  # between a line's own time and its arrival in the file
LOOK_BACK_BYTES = 65536

Piece = tuple[LogFile, int, bytes]
"""Whole lines of a file: the file, their offset, the bytes."""


class Reach(enum.Enum):
    """How far a read came."""

    MORE = "there is more to read at once"
    END = "to the end of the log, as it stands now"
    TORN = "to a line, or a file, that is still being written while later ones may be there"


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of slices, in bytes."""

    slice_bytes: int
    event_bytes: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A slice on its way, and the pieces that it is made of."""

    part: LogSlice
    pieces: list[Piece]


@dataclass(slots=True, eq=False)
class Tail:
    """One container instance. `files` from the oldest to the live one; `ended`: nothing more will be written."""

    key: bytes
    pod: bytes
    node: str
    grouping: Grouping
    limits: Limits
    files: list[LogFile] = field(default_factory=list)
    held: list[Piece] = field(default_factory=list)
    ended: bool = False
    scanned: int = 0  # wall clock, nanoseconds, before the last look for new files
    described: bool = True  # what is to be known of its pod is known, or was waited for long enough
    born: float = 0.0  # monotonic time when it was found
    quiet: float = 0.0  # seconds since a file grew
    in_flight: int = 0

    def unread(self) -> int:
        """Bytes that were not taken yet, held ones not counted."""
        return sum(max(0, file.seen - file.position) for file in self.files)

    def take(self, now_ns: int) -> Taken | None:
        """The next slice, or None while there is nothing that may be sent. `now_ns`: the node's wall clock."""
        wanted = self.limits.slice_bytes
        while True:
            pieces, reach = self._read(wanted)
            chosen, rest = self._divide(pieces, reach, now_ns) if pieces else ([], [])
            if chosen:
                self._hold(rest)
                return Taken(self._slice(chosen, now_ns), chosen)
            self._hold(pieces)
            if reach is not Reach.MORE:
                return None
            wanted += self.limits.slice_bytes

    def acknowledge(self, taken: Taken) -> None:
        """Kafka has the slice."""
        for file, offset, data in taken.pieces:
            file.acked.add(offset, offset + len(data))

    def rewind(self) -> None:
        """Read again all that is not acknowledged: what was in flight is lost or unknown."""
        self.held.clear()
        for file in self.files:
            file.rewind()

    def _read(self, wanted: int) -> tuple[list[Piece], Reach]:
        """Held lines and fresh whole lines behind them, `wanted` bytes at most; and how far that reaches."""
        pieces = list(self.held)
        room = wanted
        for number, file in enumerate(self.files):
            live = number == len(self.files) - 1
            if not file.identity:
                return pieces, Reach.TORN if file.seen else Reach.END
            while True:
                offset, data, at_end = file.read(room)
                piece = self._whole(file, data, wanted, at_end=at_end)
                if piece:
                    pieces.append((file, offset, piece))
                    file.position = offset + len(piece)
                    room -= len(piece)
                if piece and not piece.endswith(b"\n"):
                    return pieces, Reach.MORE
                if at_end:
                    break
                if not piece or room <= 0:
                    return pieces, Reach.MORE
            if len(piece) < len(data):
                return pieces, Reach.TORN
            if not live and not file.settled:
                return pieces, Reach.TORN
        return pieces, Reach.END

    def _whole(self, file: LogFile, data: bytes, wanted: int, *, at_end: bool) -> bytes:
        """The whole lines of what was read; and the rest where no newline will come, or none that we wait for."""
        whole = data.rfind(b"\n") + 1
        if whole == len(data):
            return data
        final = at_end and (self.ended or file.settled)
        endless = not whole and wanted > 2 * self.limits.event_bytes and len(data) > self.limits.event_bytes
        if not whole and (final or endless):
            return data
        return data[:whole]

    def _divide(self, pieces: list[Piece], reach: Reach, now_ns: int) -> tuple[list[Piece], list[Piece]]:
        """What may be sent, and what must be held since an event is open in it."""
        data = pieces[0][2] if len(pieces) == 1 else b"".join(piece[2] for piece in pieces)
        torn = not data.endswith(b"\n")
        opened = [] if torn else cut.open_events(data, self.grouping)
        if reach is Reach.END:
            opened = [(stream, event) for stream, event in opened if not self._expired(event, now_ns)]
        if not opened:
            return pieces, []
        place = cut.before(data, min(event.offset for _, event in opened), self.grouping)
        if place:
            return _split(pieces, place)
        spans: list[cut.Span] = []
        for stream, event in opened:
            spans += cut.lines_of(data, stream, event.offset)
        return _without(pieces, sorted(spans), len(data))

    def _expired(self, event: Open, now_ns: int) -> bool:
        """Whether any line that was not read yet would begin a new event, by its own time.

        Such a line was written after the last scan: what came before stood in a file that was found and read.
        """
        last = cri.nanoseconds(event.last_time) or 0
        if last > now_ns + MARGIN_NS:  # a clock was set back, and may take hours to come there: count from now
            last = min(last, now_ns - int(self.quiet * 1e9))
        return self.ended or self.scanned > last + event.gap + MARGIN_NS

    def _hold(self, rest: list[Piece]) -> None:
        """Keep what was read and not sent: by moving the position back where that is the same, else in memory."""
        while rest:
            file, offset, data = rest[-1]
            if file.position != offset + len(data):
                break
            file.position = offset
            rest = rest[:-1]
        self.held = rest

    def _slice(self, pieces: list[Piece], now_ns: int) -> LogSlice:
        files: list[LogFile] = []
        segments: list[Segment] = []
        for file, offset, data in pieces:
            if file not in files:
                files.append(file)
            number = files.index(file)
            last = segments[-1] if segments else None
            if last and last.file == number and last.offset + last.length == offset:
                segments[-1] = Segment(number, last.offset, last.length + len(data))
            else:
                segments.append(Segment(number, offset, len(data)))
        value = pieces[0][2] if len(pieces) == 1 else b"".join(piece[2] for piece in pieces)
        return LogSlice(
            value=value if value.endswith(b"\n") else value + b"\n",
            files=tuple(SourceFile(file.identity, str(file.path)) for file in files),
            segments=tuple(segments),
            node=self.node,
            read=now_ns,
            grouping=self.grouping,
            pod=self.pod,
            after=_time_before(pieces[0]),
        )


def _time_before(piece: Piece) -> bytes:
    """The CRI time of the last line before a piece whose first line has none; so that line gets a time too."""
    file, offset, data = piece
    if cri.parse(data[: data.find(b"\n")]) is not None:
        return b""
    start = max(0, offset - LOOK_BACK_BYTES)
    for raw in reversed(os.pread(file.descriptor, offset - start, start).split(b"\n")):
        line = cri.parse(raw)
        if line is not None:
            return line.time
    return b""


def _split(pieces: list[Piece], position: int) -> tuple[list[Piece], list[Piece]]:
    """Divide pieces at a position counted from the first byte of the first one."""
    before: list[Piece] = []
    for number, (file, offset, data) in enumerate(pieces):
        if position < len(data):
            if position:
                before.append((file, offset, data[:position]))
            return before, [(file, offset + position, data[position:]), *pieces[number + 1 :]]
        before.append(pieces[number])
        position -= len(data)
    return before, []


def _without(pieces: list[Piece], spans: list[cut.Span], length: int) -> tuple[list[Piece], list[Piece]]:
    """Divide pieces into what lies outside the spans (at most MAX_SEGMENTS pieces of it) and the rest."""
    chosen: list[Piece] = []
    rest = pieces
    kept: list[Piece] = []
    position = 0
    for start, end in [*spans, (length, length)]:
        outside, rest = _split(rest, start - position)
        if len(chosen) + len(outside) > MAX_SEGMENTS:
            return chosen, [*kept, *outside, *rest]
        chosen += outside
        inside, rest = _split(rest, end - start)
        kept += inside
        position = end
    return chosen, kept
