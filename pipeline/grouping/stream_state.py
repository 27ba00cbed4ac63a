"""What one stream has open: a logical line in the making, and the last event, which may go on. Pure."""

from pipeline.contract.record import Carried
from pipeline.grouping import frames
from pipeline.grouping.event import SPLIT, Event

NOWHERE = (-1, -1)
UNASKED = -1  # whether a trace may begin with the stream's last event was not looked at yet


class Chain:
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
        self.end = NOWHERE
        self.contents: list[bytes] = []

    def add(self, file: int, position: int, length: int, time: bytes, content: bytes) -> None:
        """Take one raw line."""
        if self.end != (file, position):
            self.places += 1
        self.end = (file, position + length)
        self.length += length
        self.last_time = time
        self.contents.append(content)

    def event(self, content: bytes) -> Event:
        """The logical line as an event."""
        return (self.file, self.offset, self.length, self.time, self.stream, content, self.flags, self.part)


class Lane:
    """One stream: its open chain of partials, and its last event, which may be a trace that goes on."""

    __slots__ = ("begun", "carried", "chain", "contents", "end", "event", "last_time", "length", "places", "state")

    def __init__(self) -> None:
        self.chain: Chain | None = None
        self.carried: Carried | None = None  # the first line begins a later part
        self.event = -1  # index of the stream's last event; -1: none yet
        self.state = UNASKED
        self.begun = (-1, 0)  # the last later part of a trace: its event, the state after its first line
        self.last_time = b""  # time of the last raw line of the last event; empty: a plain line, these hold nothing
        self.length = 0  # raw bytes of the trace so far
        self.places = 0
        self.end = NOWHERE
        self.contents: list[bytes] = []  # lines of the trace so far; empty: the event is a single line

    def carry(self, carried: Carried) -> None:
        """Go on as if the parts before had been seen."""
        self.carried = carried
        self.state = carried.state or frames.HEAD  # so that the first line is looked at closely

    def close(self) -> None:
        """Nothing continues the last event."""
        self.event, self.state = -1, UNASKED
