"""The open parts of one stream: its unfinished logical line, and its last event, which may continue. Pure."""

from pipeline.contract.record import Continuation
from pipeline.grouping import frames
from pipeline.grouping.event import SPLIT, Event

NO_POSITION = (-1, -1)
UNKNOWN = -1  # not decided yet whether the stream's last event begins a trace


class LogicalLine:
    """An unfinished logical line: one full line, or partials without their end."""

    __slots__ = (
        "contents",
        "end",
        "file",
        "flags",
        "last_time",
        "length",
        "offset",
        "part",
        "places",
        "stream",
        "time",
    )

    def __init__(self, file: int, offset: int, time: bytes, stream: bytes, part: int) -> None:
        self.file = file
        self.offset = offset
        self.time = self.last_time = time
        self.stream = stream
        self.part = part
        self.flags = SPLIT if part else 0
        self.length = 0
        self.places = 0
        self.end = NO_POSITION
        self.contents: list[bytes] = []

    def add(self, file: int, position: int, length: int, time: bytes, content: bytes) -> None:
        """Add one raw line."""
        if self.end != (file, position):
            self.places += 1
        self.end = (file, position + length)
        self.length += length
        self.last_time = time
        self.contents.append(content)

    def to_event(self, content: bytes) -> Event:
        """Return the logical line as an event."""
        return (self.file, self.offset, self.length, self.time, self.stream, content, self.flags, self.part)


class StreamState:
    """One stream: its open line of partials, and its last event, which may be a trace that continues."""

    __slots__ = (
        "contents",
        "continuation",
        "end",
        "last_event",
        "last_part",
        "last_time",
        "length",
        "logical_line",
        "places",
        "trace_state",
    )

    def __init__(self) -> None:
        self.logical_line: LogicalLine | None = None
        self.continuation: Continuation | None = None  # set: the next line begins a later part
        self.last_event = -1  # index of the stream's last event; -1: none yet
        self.trace_state = UNKNOWN
        self.last_part = (-1, 0)  # last later part of a trace: event, state after its first line
        self.last_time = b""  # of the last event's last raw line; empty: a plain line, the fields below are unset
        self.length = 0  # raw bytes of the trace so far
        self.places = 0
        self.end = NO_POSITION
        self.contents: list[bytes] = []  # lines of the trace so far; empty: the event is a single line

    def resume(self, continuation: Continuation) -> None:
        """Resume an event as if its previous parts had been added."""
        self.continuation = continuation
        self.trace_state = continuation.state or frames.HEAD  # so that the first line is not handled as a plain one

    def close(self) -> None:
        """Close the last event: nothing continues it."""
        self.last_event, self.trace_state = -1, UNKNOWN
