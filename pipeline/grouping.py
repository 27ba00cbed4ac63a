"""Lines into events: partials joined, stack traces kept whole, per stream. A pure function of the bytes.

The worker groups whole slices with it; the shipper asks it, around a cut, which event is still open. So both
agree by construction. Rules, for each stream of a container by itself (stdout never joins stderr):

- a `P` line goes on in the next line of its stream, unless that came more than `partial_gap` after it;
- a line continues a stack trace when the grammar of `pipeline.multiline` says so and it came at most
  `trace_gap` after the line before it on its stream;
- an event longer than `max_bytes` of raw lines (or a trace of more than `max_lines`) is split there: the
  rest is an event of its own, numbered and flagged.
Time here is always the lines' own CRI time, never the clock.
"""

from collections.abc import Iterable
from typing import NamedTuple

from pipeline import cri, multiline
from pipeline.record import Grouping, LogSlice
from pipeline.settings import Settings

PARTIAL = 1  # a partial that was never closed
MULTILINE = 2  # several lines of the container in one event
SPLIT = 4  # part of an event that was too long
UNPARSED = 8  # not a CRI line: kept as it stood


OPENER = b":"
UNASKED = -1  # whether a trace may begin with the stream's last event was not looked at yet

Event = tuple[int, int, int, bytes, bytes, bytes, int, int]
"""One event, a plain tuple for speed: index of the file, offset of the first line, raw bytes of its lines, CRI
time of the first line, stream, content (partials joined, lines of a trace joined by newlines), flags, part.

The time is empty for a line that is not CRI and has none before it; `part` counts from 1 in a split event.
"""


class Open(NamedTuple):
    """An event that a later line could still continue, until `gap` nanoseconds after `last_time`."""

    file: int
    offset: int
    last_time: bytes
    gap: int


Run = tuple[int, int, bytes]
"""A run of whole lines: file index, offset of the first byte, the bytes."""


def by(settings: Settings) -> Grouping:
    """What joins lines into events, as the settings say."""
    gaps = (round(settings.trace_gap_seconds * 1e9), round(settings.partial_gap_seconds * 1e9))
    return Grouping(settings.multiline, *gaps, settings.event_max_bytes)


def gap_exceeded(earlier: bytes, later: bytes, gap: int) -> bool:
    """Whether `later` is more than `gap` nanoseconds after `earlier`; both valid CRI times."""
    return (cri.nanoseconds(later) or 0) - (cri.nanoseconds(earlier) or 0) > gap


class _Chain:
    """A logical line in the making: one full line, or partials on the way to their end."""

    __slots__ = ("contents", "file", "flags", "last_time", "length", "offset", "part", "stream", "time")

    def __init__(self, file: int, offset: int, time: bytes, stream: bytes, part: int) -> None:
        self.file = file
        self.offset = offset
        self.time = self.last_time = time
        self.stream = stream
        self.part = part
        self.flags = SPLIT if part else 0
        self.length = 0
        self.contents: list[bytes] = []

    def add(self, length: int, time: bytes, content: bytes) -> None:
        """Take one raw line."""
        self.length += length
        self.last_time = time
        self.contents.append(content)

    def event(self, content: bytes) -> Event:
        """The logical line as an event."""
        return (self.file, self.offset, self.length, self.time, self.stream, content, self.flags, self.part)


class _Lane:
    """One stream: its open chain of partials, and its last event, which may be a trace that goes on."""

    __slots__ = ("chain", "contents", "event", "last_time", "length", "state")

    def __init__(self) -> None:
        self.chain: _Chain | None = None
        self.event = -1  # index of the stream's last event; -1: none yet
        self.state = UNASKED
        self.last_time = b""  # time of the last raw line of that event; empty: it is the event's own
        self.length = 0  # raw bytes of the trace so far
        self.contents: list[bytes] = []  # lines of the trace so far; empty: the event is a single line


class Grouper:
    """Groups the runs of one slice: `feed`, then `finish` for the events or `open` for what may go on."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        self._suspects = multiline.SECOND_LINE_STARTS if grouping.mode == "traces" else frozenset[bytes]()
        self._events: list[Event] = []
        self._lanes = {stream: _Lane() for stream in cri.STREAMS}
        self._time = b""
        self._disordered = False

    def feed(self, runs: Iterable[Run], after: bytes = b"") -> None:
        """Take whole lines, each with its newline. `after` is the CRI time of the line before them, if known."""
        self._time = after
        for file, position, data in runs:
            self._run(file, position, data)

    def _run(self, file: int, position: int, data: bytes) -> None:
        """The hot loop: a plain line costs a split and a few tests; every other line goes through `_line`."""
        events, lanes, suspects, opener = self._events, self._lanes, self._suspects, OPENER
        second = b""
        lines = data.split(b"\n")
        torn = lines.pop()
        for raw in lines:
            size = len(raw) + 1
            parts = raw.split(b" ", 3)
            if len(parts) == 4:
                time, stream, tag, content = parts
                lane = lanes.get(stream)
                if (
                    lane is not None
                    and tag == b"F"
                    and content[:2] not in suspects
                    and content[-1:] != opener
                    and lane.state <= 0
                    and lane.chain is None
                    and (time[:19] == second or cri.nanoseconds(time))
                    and time[19:20] == b"."
                    and time[-1:] == b"Z"
                    and len(time) <= 30
                    and time[20:-1].isdigit()
                ):
                    second = time[:19]
                    lane.event = len(events)
                    lane.state = UNASKED
                    lane.last_time = b""
                    events.append((file, position, size, time, stream, content, 0, 0))
                    self._time = time
                    position += size
                    continue
            self._line(file, position, size, raw)
            position += size
        if torn:
            self._line(file, position, len(torn), torn)

    def _line(self, file: int, position: int, size: int, raw: bytes) -> None:
        line = cri.parse(raw)
        if line is None:
            self._events.append((file, position, size, self._time, b"", raw, UNPARSED, 0))
            return
        self._time = line.time
        lane = self._lanes[line.stream]
        chain = lane.chain
        part = 0
        if chain is not None and gap_exceeded(chain.last_time, line.time, self.grouping.partial_gap):
            self._break(lane)
        elif chain is not None and chain.length + size > self.grouping.max_bytes:
            chain.part = chain.part or 1
            part = chain.part + 1
            chain.flags |= SPLIT
            self._close(lane, chain)
        chain = lane.chain
        if chain is None:
            chain = lane.chain = _Chain(file, position, line.time, line.stream, part)
        else:
            self._disordered = True
        chain.add(size, line.time, line.content)
        if not line.partial:
            self._close(lane, chain)

    def _break(self, lane: _Lane) -> None:
        """The end of an open partial never came."""
        if lane.chain is not None:
            lane.chain.flags |= PARTIAL
            self._disordered = True
            self._close(lane, lane.chain)

    def _close(self, lane: _Lane, chain: _Chain) -> None:
        """A logical line is whole: it continues the stream's trace, or is an event of its own."""
        lane.chain = None
        content = chain.contents[0] if len(chain.contents) == 1 else b"".join(chain.contents)
        state = self._step(lane, chain, content) if chain.part <= 1 else 0
        if state and self._fits(lane, chain):
            self._append(lane, chain, content)
        else:
            if state:
                chain.part = self._split(lane) + 1
                chain.flags |= SPLIT
            self._seal(lane)
            lane.event = len(self._events)
            self._events.append(chain.event(content))
        # After a line that ends so anything may follow: it must be asked now, not when a second line shows its shape.
        lane.state = state or (multiline.start(content) if content[-1:] == OPENER else UNASKED)
        lane.last_time = chain.last_time

    def _step(self, lane: _Lane, chain: _Chain, content: bytes) -> int:
        """The state after `content` if it continues the stream's last event, else 0."""
        if lane.event < 0 or self.grouping.mode == "off":
            return 0
        head = self._events[lane.event]
        if lane.state == UNASKED and not multiline.may_continue(content):
            return 0
        if gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap):
            return 0
        if lane.state == UNASKED:
            lane.state = multiline.start(head[5])
        return multiline.step(lane.state, content) if lane.state else 0

    def _fits(self, lane: _Lane, chain: _Chain) -> bool:
        length = lane.length if lane.contents else self._events[lane.event][2]
        return length + chain.length <= self.grouping.max_bytes and len(lane.contents) < self.grouping.max_lines

    def _append(self, lane: _Lane, chain: _Chain, content: bytes) -> None:
        if not lane.contents:
            head = self._events[lane.event]
            lane.contents.append(head[5])
            lane.length = head[2]
        lane.contents.append(content)
        lane.length += chain.length
        if chain.flags:
            head = self._events[lane.event]
            self._events[lane.event] = (*head[:6], head[6] | chain.flags, head[7])

    def _split(self, lane: _Lane) -> int:
        """The trace is too long and ends here; returns its part number."""
        head = self._events[lane.event]
        part = head[7] or 1
        self._events[lane.event] = (*head[:6], head[6] | SPLIT, part)
        return part

    def _seal(self, lane: _Lane) -> None:
        """Nothing more comes to the stream's trace: put its lines together."""
        if lane.contents:
            head = self._events[lane.event]
            whole = b"\n".join(lane.contents)
            self._events[lane.event] = (*head[:2], lane.length, *head[3:5], whole, head[6] | MULTILINE, head[7])
            lane.contents = []

    def open(self) -> list[Open]:
        """The events that a later line could still continue, at most one a stream."""
        found = []
        for lane in self._lanes.values():
            chain = lane.chain
            if self._trace_open(lane):
                head = self._events[lane.event]
                last, gap = lane.last_time or head[3], self.grouping.trace_gap
                if chain is not None:
                    last, gap = chain.last_time, self.grouping.partial_gap
                found.append(Open(head[0], head[1], last, gap))
            elif chain is not None:
                found.append(Open(chain.file, chain.offset, chain.last_time, self.grouping.partial_gap))
        return found

    def _trace_open(self, lane: _Lane) -> bool:
        if lane.event < 0 or self.grouping.mode == "off":
            return False
        head = self._events[lane.event]
        if lane.state == UNASKED:
            lane.state = multiline.start(head[5])
        chain = lane.chain
        gone = chain is not None and gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap)
        return lane.state > 0 and not gone

    def finish(self) -> list[Event]:
        """End the slice: all events, in the order of their first lines."""
        for lane in self._lanes.values():
            self._break(lane)
            self._seal(lane)
            lane.event, lane.state = -1, UNASKED
        if self._disordered:
            self._events.sort(key=lambda event: event[:2])
        return self._events


def runs(part: LogSlice) -> Iterable[Run]:
    """The runs of a slice's value, as its segments say."""
    start = 0
    for file, offset, length in part.segments:
        yield file, offset, part.value[start : start + length]
        start += length


def events_of(part: LogSlice) -> list[Event]:
    """Group one slice of the raw topic."""
    grouper = Grouper(part.grouping)
    grouper.feed(runs(part), part.after)
    return grouper.finish()
