"""Lines into events: partials joined, stack traces kept whole, per stream. A pure function of the bytes.

The worker groups whole slices with it; the shipper asks it, around a cut, which event is still open. So both
agree by construction. Rules, for each stream of a container by itself (stdout never joins stderr):

- a `P` line goes on in the next line of its stream, unless that came more than `partial_gap` after it;
- a line continues a stack trace when the grammar of `stack_trace` says so, or in mode `pattern` an event in
  whose pattern it does not match; if it came at most `trace_gap` after the line before it on its stream;
- an event of more than `max_bytes` of raw lines, or more than `max_lines`, or that would stand in more than
  `max_places` apart from each other, is split there: the rest is an event of its own, numbered and flagged;
- a raw line longer than `max_bytes` is split into pieces of that size; on either stream nothing goes on behind it.
Time here is always the lines' own CRI time, never the clock.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from pipeline.contract import cri
from pipeline.contract.record import Carried, Grouping, LogSlice
from pipeline.errors import RecordError
from pipeline.grouping import stack_trace, start_pattern
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event, Open
from pipeline.grouping.stack_trace import OWN
from pipeline.grouping.stream_state import UNASKED, Chain, Lane

Run = tuple[int, int, bytes]
"""A run of whole lines: file index, offset of the first byte, the bytes."""


def asked(usual: Grouping, wish: str) -> tuple[Grouping, str]:
    """The grouping that a pod asks for: `traces`, `off` or a pattern (empty: the usual one); and what is wrong with it.

    Where something is wrong, the built-in grouping applies.
    """
    if not wish:
        return usual, ""
    if wish in {"traces", "off"}:
        return usual._replace(mode=wish, pattern=""), ""
    try:
        start_pattern.begins(wish)
    except ValueError as fault:
        return usual._replace(mode="traces", pattern=""), str(fault)
    return usual._replace(mode="pattern", pattern=wish), ""


def gap_exceeded(earlier: bytes, later: bytes, gap: int) -> bool:
    """Whether `later` is more than `gap` nanoseconds after `earlier`; both valid CRI times."""
    return (cri.nanoseconds(later) or 0) - (cri.nanoseconds(earlier) or 0) > gap


class Grouper:
    """Groups the runs of one slice: `feed`, then `finish` for the events or `open` for what may go on."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        own = grouping.mode == "pattern"
        self._begins = start_pattern.begins(grouping.pattern) if own else None
        self._suspects = stack_trace.SUSPECT_STARTS if grouping.mode == "traces" else frozenset[bytes]()
        self._fresh = OWN if own else UNASKED
        self._events: list[Event] = []
        self._lanes = {stream: Lane() for stream in cri.STREAMS}
        self._time = b""
        self._rest = 0  # number of the next piece of a raw line that is too long
        self._rest_at: tuple[int, int] | None = None
        self._disordered = False

    def feed(self, runs: Iterable[Run], after: bytes = b"", carried: Iterable[Carried] = ()) -> None:
        """Take whole lines, each with its newline.

        `after` is the CRI time of the line before them, if known; `carried` tells of events that go on in them.
        """
        self._time = after
        self.carry(carried)
        for file, position, data in runs:
            if self._rest and self._rest_at not in (None, (file, position)):
                self._rest = 0
            if self._rest or len(data) >= self.grouping.max_bytes:
                self._careful(file, position, data)
            else:
                self._run(file, position, data)

    def carry(self, carried: Iterable[Carried]) -> None:
        """Go on with events that were too long, as if their parts before had been seen."""
        for one in carried:
            if one.stream:
                self._lanes[one.stream.encode()].carry(one)
            else:
                self._rest = one.part

    def _careful(self, file: int, position: int, data: bytes) -> None:
        """A run in which a raw line may be too long."""
        start = 0
        if self._rest:
            start = data.find(b"\n") + 1 or len(data)
            self._pieces(file, position, data[:start])
        for begin, end in overlong(data, start, self.grouping.max_bytes):
            self._run(file, position + start, data[start:begin])
            self._overlong(file, position + begin, data[begin:end])
            start = end
        self._run(file, position + start, data[start:])

    def _overlong(self, file: int, position: int, data: bytes) -> None:
        """A raw line longer than an event may be."""
        for lane in self._lanes.values():
            self._break(lane)
            self._seal(lane)
            lane.close()
        limit = self.grouping.max_bytes
        line = cri.parse(data[:limit].removesuffix(b"\n"))
        if line is None:
            self._events.append((file, position, limit, self._time, b"", data[:limit], SPLIT | UNPARSED, 1))
        else:
            self._time = line.time
            self._events.append((file, position, limit, line.time, line.stream, line.content, SPLIT, 1))
        self._rest = 2
        self._pieces(file, position + limit, data[limit:])

    def _pieces(self, file: int, position: int, data: bytes) -> None:
        """The rest of a raw line that is too long, or a part of that rest; no newline in it but the last byte."""
        limit = self.grouping.max_bytes
        for start in range(0, len(data), limit):
            piece = data[start : start + limit]
            content = piece.removesuffix(b"\n")
            flags = SPLIT | UNPARSED
            self._events.append((file, position + start, len(piece), self._time, b"", content, flags, self._rest))
            self._rest += 1
        self._rest_at = (file, position + len(data))
        if data.endswith(b"\n"):
            self._rest = 0

    def _run(self, file: int, position: int, data: bytes) -> None:
        """The hot loop: a plain line costs a split and a few tests; every other line goes through `_line`."""
        events, lanes, suspects, opener = self._events, self._lanes, self._suspects, stack_trace.OPENER
        begins, fresh = self._begins, self._fresh
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
                    and (lane.state <= 0 or (begins is not None and lane.carried is None and begins(content)))
                    and lane.chain is None
                    and (time[:19] == second or cri.nanoseconds(time))
                    and time[19:20] == b"."
                    and time[-1:] == b"Z"
                    and len(time) <= 30
                    and time[20:-1].isdigit()
                ):
                    second = time[:19]
                    if lane.contents:
                        self._seal(lane)
                    lane.event = len(events)
                    lane.state = fresh
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
        else:
            self.take(file, position, size, line)

    def take(self, file: int, position: int, size: int, line: cri.Line) -> None:
        """Take one line of `size` raw bytes, at most as many as an event may have."""
        self._time = line.time
        lane = self._lanes[line.stream]
        chain = lane.chain
        part = 0
        if chain is not None and gap_exceeded(chain.last_time, line.time, self.grouping.partial_gap):
            self._break(lane)
        elif chain is not None and self._full(chain, (file, position), size):
            part = self._end_chain(lane, chain) + 1
        chain = lane.chain
        if chain is None:
            if lane.carried is not None and not lane.carried.state:
                part, lane.carried = lane.carried.part, None
            chain = lane.chain = Chain(file, position, line.time, line.stream, part)
        else:
            self._disordered = True
        chain.add(file, position, size, line.time, line.content)
        if not line.partial:
            self._close(lane, chain)

    def _full(self, chain: Chain, place: tuple[int, int], size: int) -> bool:
        """Whether a chain has no room for another raw line."""
        caps = self.grouping
        if chain.length + size > caps.max_bytes or len(chain.contents) >= caps.max_lines:
            return True
        if chain.end == place:
            return False
        return chain.places >= caps.max_places

    def _places(self, lane: Lane) -> tuple[int, tuple[int, int]]:
        """In how many places the lane's last event stands, and where it ends."""
        if lane.last_time:
            return lane.places, lane.end
        head = self._events[lane.event]
        return 1, (head[0], head[1] + head[2])

    def _end_part(self, lane: Lane) -> None:
        """What is open in the lane was too long, and ends here."""
        if lane.chain is not None:
            self._end_chain(lane, lane.chain)
        elif lane.event >= 0:
            self._split(lane)

    def _end_chain(self, lane: Lane, chain: Chain) -> int:
        """The chain was too long, and ends here; returns its part number."""
        chain.part = chain.part or 1
        chain.flags |= SPLIT
        self._disordered = True
        self._close(lane, chain)
        return chain.part

    def _break(self, lane: Lane) -> None:
        """The end of an open partial never came."""
        if lane.chain is not None:
            lane.chain.flags |= PARTIAL
            self._disordered = True
            self._close(lane, lane.chain)

    def _close(self, lane: Lane, chain: Chain) -> None:
        """A logical line is whole: it continues the stream's trace, or is an event of its own."""
        lane.chain = None
        content = chain.contents[0] if len(chain.contents) == 1 else b"".join(chain.contents)
        carried, lane.carried = lane.carried, None
        if carried is not None:
            state = self._later(lane, chain, carried.part, carried.state)
        else:
            state = self._step(lane, chain, content) if chain.part <= 1 else 0
            if state and self._append(lane, chain, content):
                lane.state, lane.last_time = state, chain.last_time
                return
            if state:
                self._later(lane, chain, self._split(lane) + 1, state)
        self._seal(lane)
        lane.event = len(self._events)
        self._events.append(chain.event(content))
        lane.state = state or self._asked(content)
        lane.last_time, lane.places, lane.end = chain.last_time, chain.places, chain.end

    def _later(self, lane: Lane, chain: Chain, part: int, state: int) -> int:
        """The logical line begins a later part of a trace."""
        chain.part = part
        chain.flags |= SPLIT
        lane.begun = (len(self._events), state)
        return state

    def _asked(self, content: bytes) -> int:
        """The state after the first line of an event, where anything may follow; else it is asked later."""
        if self._begins is not None:
            return OWN
        return stack_trace.start(content) if stack_trace.announces(content) else UNASKED

    def _step(self, lane: Lane, chain: Chain, content: bytes) -> int:
        """The state after `content` if it continues the stream's last event, else 0."""
        if lane.event < 0 or self.grouping.mode == "off":
            return 0
        head = self._events[lane.event]
        if lane.state == UNASKED and not stack_trace.may_continue(content):
            return 0
        if gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap):
            return 0
        if self._begins is not None:
            return 0 if self._begins(content) else OWN
        state = stack_trace.start(head[5]) if lane.state == UNASKED else lane.state
        return stack_trace.step(state, content) if state else 0

    def _append(self, lane: Lane, chain: Chain, content: bytes) -> bool:
        """Take the logical line into the stream's trace; False if that has no room for it."""
        caps, head = self.grouping, self._events[lane.event]
        length = (lane.length if lane.contents else head[2]) + chain.length
        places, end = self._places(lane)
        places += chain.places - (end == (chain.file, chain.offset))
        if length > caps.max_bytes or len(lane.contents) >= caps.max_lines or places > caps.max_places:
            return False
        if not lane.contents:
            lane.contents.append(head[5])
        lane.contents.append(content)
        lane.length, lane.places, lane.end = length, places, chain.end
        if chain.flags:
            self._events[lane.event] = (*head[:6], head[6] | chain.flags, head[7])
        return True

    def _split(self, lane: Lane) -> int:
        """The trace is too long and ends here; returns its part number."""
        head = self._events[lane.event]
        part = head[7] or 1
        self._events[lane.event] = (*head[:6], head[6] | SPLIT, part)
        return part

    def _seal(self, lane: Lane) -> None:
        """Nothing more comes to the stream's trace: put its lines together."""
        if lane.contents:
            head = self._events[lane.event]
            whole = b"\n".join(lane.contents)
            self._events[lane.event] = (*head[:2], lane.length, *head[3:5], whole, head[6] | MULTILINE, head[7])
            lane.contents = []

    def open(self) -> list[Open]:
        """The events that a later line could still continue, at most one a stream."""
        found = []
        for stream, lane in self._lanes.items():
            chain = lane.chain
            part = state = 0
            if self._trace_open(lane):
                head = self._events[lane.event]
                file, offset, part = head[0], head[1], head[7]
                state = lane.begun[1] if lane.begun[0] == lane.event else 0
                last, gap = lane.last_time or head[3], self.grouping.trace_gap
            elif chain is not None:
                file, offset, part = chain.file, chain.offset, chain.part
            else:
                continue
            if chain is not None:
                last, gap = chain.last_time, self.grouping.partial_gap
            carried = Carried(stream.decode(), part, state) if part > 1 else None
            found.append(Open(file, offset, last, gap, stream, carried))
        return found

    def _trace_open(self, lane: Lane) -> bool:
        if lane.event < 0 or self.grouping.mode == "off":
            return False
        head = self._events[lane.event]
        state = stack_trace.start(head[5]) if lane.state == UNASKED else lane.state
        chain = lane.chain
        gone = chain is not None and gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap)
        return state > 0 and not gone

    def finish(self, goes_on: Iterable[str] = ()) -> list[Event]:
        """End the slice: all events, in the order of their first lines.

        `goes_on`: streams whose last event was too long, so that a later part of it follows in another slice.
        """
        for stream in goes_on:
            self._end_part(self._lanes[stream.encode()])
        for lane in self._lanes.values():
            self._break(lane)
            self._seal(lane)
            lane.close()
        if self._disordered:
            self._events.sort()  # by file and offset, which are of one event only
        return self._events


def overlong(data: bytes, start: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where raw lines of more than `limit` bytes stand in `data`; the last one may go on behind it."""
    while len(data) - start >= limit:
        newline = data.rfind(b"\n", start, start + limit)
        end = newline + 1
        if newline < 0:
            end = data.find(b"\n", start + limit) + 1 or len(data)
            yield start, end
        start = end


def runs(part: LogSlice) -> Iterable[Run]:
    """The runs of a slice's value, as its segments say."""
    start = 0
    for file, offset, length in part.segments:
        yield file, offset, part.value[start : start + length]
        start += length


@lru_cache(maxsize=64)
def _check_grouping(grouping: Grouping) -> None:
    if grouping.mode == "pattern":
        try:
            start_pattern.begins(grouping.pattern)
        except ValueError as fault:
            raise RecordError(f"header grouping: {fault}") from fault


def events_of(part: LogSlice) -> list[Event]:
    """Group one slice of the raw topic. Raises RecordError where this version cannot group as the record asks."""
    _check_grouping(part.grouping)
    for one in part.carried:
        if one.state not in stack_trace.CARRIED_STATES:
            raise RecordError(f"header carried: {list(one)} is not known here")
    grouper = Grouper(part.grouping)
    grouper.feed(runs(part), part.after, part.carried)
    return grouper.finish(part.goes_on)
