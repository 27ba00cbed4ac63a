"""What one stream has open: a logical line in the making, and the last event, which may go on. Pure."""

from pipeline.contract.record import Continuation
from pipeline.grouping import frames
from pipeline.grouping.event import SPLIT, Event

NO_POSITION = (-1, -1)
UNKNOWN = -1  # whether a trace may begin with the stream's last event was not looked at yet


class LogicalLine:
    """A logical line in the making: one full line, or partials on the way to their end."""

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
        """Take one raw line."""
        if self.end != (file, position):
            self.places += 1
        self.end = (file, position + length)
        self.length += length
        self.last_time = time
        self.contents.append(content)

    def to_event(self, content: bytes) -> Event:
        """The logical line as an event."""
        return (self.file, self.offset, self.length, self.time, self.stream, content, self.flags, self.part)


class StreamState:
    """One stream: its open chain of partials, and its last event, which may be a trace that goes on."""

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
        self.continuation: Continuation | None = None  # the first line begins a later part
        self.last_event = -1  # index of the stream's last event; -1: none yet
        self.trace_state = UNKNOWN
        self.last_part = (-1, 0)  # the last later part of a trace: its event, the state after its first line
        self.last_time = b""  # time of the last raw line of the last event; empty: a plain line, these hold nothing
        self.length = 0  # raw bytes of the trace so far
        self.places = 0
        self.end = NO_POSITION
        self.contents: list[bytes] = []  # lines of the trace so far; empty: the event is a single line

    def resume(self, continuation: Continuation) -> None:
        """Go on as if the parts before had been seen."""
        self.continuation = continuation
        self.trace_state = continuation.state or frames.HEAD  # so that the first line is looked at closely

    def close(self) -> None:
        """Nothing continues the last event."""
        self.last_event, self.trace_state = -1, UNKNOWN
