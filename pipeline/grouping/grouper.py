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
from pipeline.contract.record import Continuation, Grouping, LogSlice
from pipeline.errors import RecordError
from pipeline.grouping import stack_trace, start_pattern
from pipeline.grouping.event import MULTILINE, PARTIAL, SPLIT, UNPARSED, Event, OpenEvent
from pipeline.grouping.stack_trace import PATTERN_EVENT
from pipeline.grouping.stream_state import UNKNOWN, LogicalLine, StreamState

Run = tuple[int, int, bytes]
"""A run of whole lines: file index, offset of the first byte, the bytes."""


def requested_grouping(default: Grouping, requested: str) -> tuple[Grouping, str]:
    """The grouping that a pod asks for: `traces`, `off` or a pattern (empty: the usual one); and what is wrong with it.

    Where something is wrong, the built-in grouping applies.
    """
    if not requested:
        return default, ""
    if requested in {"traces", "off"}:
        return default._replace(mode=requested, pattern=""), ""
    try:
        start_pattern.compile_start_pattern(requested)
    except ValueError as fault:
        return default._replace(mode="traces", pattern=""), str(fault)
    return default._replace(mode="pattern", pattern=requested), ""


def gap_exceeded(earlier: bytes, later: bytes, gap: int) -> bool:
    """Whether `later` is more than `gap` nanoseconds after `earlier`; both valid CRI times."""
    return (cri.nanoseconds(later) or 0) - (cri.nanoseconds(earlier) or 0) > gap


class Grouper:
    """Groups the runs of one slice: `feed`, then `finish` for the events or `open` for what may go on."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        own = grouping.mode == "pattern"
        self._starts_event = start_pattern.compile_start_pattern(grouping.pattern) if own else None
        self._suspects = stack_trace.SUSPECT_STARTS if grouping.mode == "traces" else frozenset[bytes]()
        self._initial_state = PATTERN_EVENT if own else UNKNOWN
        self._events: list[Event] = []
        self._streams = {stream: StreamState() for stream in cri.STREAMS}
        self._last_time = b""
        self._next_piece = 0  # number of the next piece of a raw line that is too long
        self._next_piece_position: tuple[int, int] | None = None
        self._is_unsorted = False

    def add_runs(
        self, runs: Iterable[Run], previous_time: bytes = b"", continuations: Iterable[Continuation] = ()
    ) -> None:
        """Take whole lines, each with its newline.

        `after` is the CRI time of the line before them, if known; `carried` tells of events that go on in them.
        """
        self._last_time = previous_time
        self.resume(continuations)
        for file, position, data in runs:
            if self._next_piece and self._next_piece_position not in (None, (file, position)):
                self._next_piece = 0
            if self._next_piece or len(data) >= self.grouping.max_bytes:
                self._add_run_with_oversized(file, position, data)
            else:
                self._add_run(file, position, data)

    def resume(self, continuations: Iterable[Continuation]) -> None:
        """Go on with events that were too long, as if their parts before had been seen."""
        for one in continuations:
            if one.stream:
                self._streams[one.stream.encode()].resume(one)
            else:
                self._next_piece = one.part

    def _add_run_with_oversized(self, file: int, position: int, data: bytes) -> None:
        """A run in which a raw line may be too long."""
        start = 0
        if self._next_piece:
            start = data.find(b"\n") + 1 or len(data)
            self._add_pieces(file, position, data[:start])
        for begin, end in oversized_lines(data, start, self.grouping.max_bytes):
            self._add_run(file, position + start, data[start:begin])
            self._add_oversized_line(file, position + begin, data[begin:end])
            start = end
        self._add_run(file, position + start, data[start:])

    def _add_oversized_line(self, file: int, position: int, data: bytes) -> None:
        """A raw line longer than an event may be."""
        for lane in self._streams.values():
            self._close_partial(lane)
            self._join_lines(lane)
            lane.close()
        limit = self.grouping.max_bytes
        line = cri.parse(data[:limit].removesuffix(b"\n"))
        if line is None:
            self._events.append((file, position, limit, self._last_time, b"", data[:limit], SPLIT | UNPARSED, 1))
        else:
            self._last_time = line.time
            self._events.append((file, position, limit, line.time, line.stream, line.content, SPLIT, 1))
        self._next_piece = 2
        self._add_pieces(file, position + limit, data[limit:])

    def _add_pieces(self, file: int, position: int, data: bytes) -> None:
        """The rest of a raw line that is too long, or a part of that rest; no newline in it but the last byte."""
        limit = self.grouping.max_bytes
        for start in range(0, len(data), limit):
            piece = data[start : start + limit]
            content = piece.removesuffix(b"\n")
            flags = SPLIT | UNPARSED
            self._events.append(
                (file, position + start, len(piece), self._last_time, b"", content, flags, self._next_piece)
            )
            self._next_piece += 1
        self._next_piece_position = (file, position + len(data))
        if data.endswith(b"\n"):
            self._next_piece = 0

    def _add_run(self, file: int, position: int, data: bytes) -> None:
        """The hot loop: a plain line costs a split and a few tests; every other line goes through `_line`."""
        events, lanes, suspects, opener = self._events, self._streams, self._suspects, stack_trace.OPENING_BYTE
        begins, fresh = self._starts_event, self._initial_state
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
                    and (
                        lane.trace_state <= 0 or (begins is not None and lane.continuation is None and begins(content))
                    )
                    and lane.logical_line is None
                    and (time[:19] == second or cri.nanoseconds(time))
                    and time[19:20] == b"."
                    and time[-1:] == b"Z"
                    and len(time) <= 30
                    and time[20:-1].isdigit()
                ):
                    second = time[:19]
                    if lane.contents:
                        self._join_lines(lane)
                    lane.last_event = len(events)
                    lane.trace_state = fresh
                    lane.last_time = b""
                    events.append((file, position, size, time, stream, content, 0, 0))
                    self._last_time = time
                    position += size
                    continue
            self._add_raw_line(file, position, size, raw)
            position += size
        if torn:
            self._add_raw_line(file, position, len(torn), torn)

    def _add_raw_line(self, file: int, position: int, size: int, raw: bytes) -> None:
        line = cri.parse(raw)
        if line is None:
            self._events.append((file, position, size, self._last_time, b"", raw, UNPARSED, 0))
        else:
            self.add_line(file, position, size, line)

    def add_line(self, file: int, position: int, size: int, line: cri.Line) -> None:
        """Take one line of `size` raw bytes, at most as many as an event may have."""
        self._last_time = line.time
        lane = self._streams[line.stream]
        chain = lane.logical_line
        part = 0
        if chain is not None and gap_exceeded(chain.last_time, line.time, self.grouping.partial_gap):
            self._close_partial(lane)
        elif chain is not None and self._is_full(chain, (file, position), size):
            part = self._end_line_part(lane, chain) + 1
        chain = lane.logical_line
        if chain is None:
            if lane.continuation is not None and not lane.continuation.state:
                part, lane.continuation = lane.continuation.part, None
            chain = lane.logical_line = LogicalLine(file, position, line.time, line.stream, part)
        else:
            self._is_unsorted = True
        chain.add(file, position, size, line.time, line.content)
        if not line.partial:
            self._complete_line(lane, chain)

    def _is_full(self, chain: LogicalLine, place: tuple[int, int], size: int) -> bool:
        """Whether a chain has no room for another raw line."""
        caps = self.grouping
        if chain.length + size > caps.max_bytes or len(chain.contents) >= caps.max_lines:
            return True
        if chain.end == place:
            return False
        return chain.places >= caps.max_places

    def _last_event_places(self, lane: StreamState) -> tuple[int, tuple[int, int]]:
        """In how many places the lane's last event stands, and where it ends."""
        if lane.last_time:
            return lane.places, lane.end
        head = self._events[lane.last_event]
        return 1, (head[0], head[1] + head[2])

    def _end_open_part(self, lane: StreamState) -> None:
        """What is open in the lane was too long, and ends here."""
        if lane.logical_line is not None:
            self._end_line_part(lane, lane.logical_line)
        elif lane.last_event >= 0:
            self._split_trace(lane)

    def _end_line_part(self, lane: StreamState, chain: LogicalLine) -> int:
        """The chain was too long, and ends here; returns its part number."""
        chain.part = chain.part or 1
        chain.flags |= SPLIT
        self._is_unsorted = True
        self._complete_line(lane, chain)
        return chain.part

    def _close_partial(self, lane: StreamState) -> None:
        """The end of an open partial never came."""
        if lane.logical_line is not None:
            lane.logical_line.flags |= PARTIAL
            self._is_unsorted = True
            self._complete_line(lane, lane.logical_line)

    def _complete_line(self, lane: StreamState, chain: LogicalLine) -> None:
        """A logical line is whole: it continues the stream's trace, or is an event of its own."""
        lane.logical_line = None
        content = chain.contents[0] if len(chain.contents) == 1 else b"".join(chain.contents)
        carried, lane.continuation = lane.continuation, None
        if carried is not None:
            state = self._begin_part(lane, chain, carried.part, carried.state)
        else:
            state = self._next_state(lane, chain, content) if chain.part <= 1 else 0
            if state and self._append_to_trace(lane, chain, content):
                lane.trace_state, lane.last_time = state, chain.last_time
                return
            if state:
                self._begin_part(lane, chain, self._split_trace(lane) + 1, state)
        self._join_lines(lane)
        lane.last_event = len(self._events)
        self._events.append(chain.to_event(content))
        lane.trace_state = state or self._first_line_state(content)
        lane.last_time, lane.places, lane.end = chain.last_time, chain.places, chain.end

    def _begin_part(self, lane: StreamState, chain: LogicalLine, part: int, state: int) -> int:
        """The logical line begins a later part of a trace."""
        chain.part = part
        chain.flags |= SPLIT
        lane.last_part = (len(self._events), state)
        return state

    def _first_line_state(self, content: bytes) -> int:
        """The state after the first line of an event, where anything may follow; else it is asked later."""
        if self._starts_event is not None:
            return PATTERN_EVENT
        return stack_trace.start_state(content) if stack_trace.decides_at_once(content) else UNKNOWN

    def _next_state(self, lane: StreamState, chain: LogicalLine, content: bytes) -> int:
        """The state after `content` if it continues the stream's last event, else 0."""
        if lane.last_event < 0 or self.grouping.mode == "off":
            return 0
        head = self._events[lane.last_event]
        if lane.trace_state == UNKNOWN and not stack_trace.may_continue(content):
            return 0
        if gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap):
            return 0
        if self._starts_event is not None:
            return 0 if self._starts_event(content) else PATTERN_EVENT
        state = stack_trace.start_state(head[5]) if lane.trace_state == UNKNOWN else lane.trace_state
        return stack_trace.next_state(state, content) if state else 0

    def _append_to_trace(self, lane: StreamState, chain: LogicalLine, content: bytes) -> bool:
        """Take the logical line into the stream's trace; False if that has no room for it."""
        caps, head = self.grouping, self._events[lane.last_event]
        length = (lane.length if lane.contents else head[2]) + chain.length
        places, end = self._last_event_places(lane)
        places += chain.places - (end == (chain.file, chain.offset))
        if length > caps.max_bytes or len(lane.contents) >= caps.max_lines or places > caps.max_places:
            return False
        if not lane.contents:
            lane.contents.append(head[5])
        lane.contents.append(content)
        lane.length, lane.places, lane.end = length, places, chain.end
        if chain.flags:
            self._events[lane.last_event] = (*head[:6], head[6] | chain.flags, head[7])
        return True

    def _split_trace(self, lane: StreamState) -> int:
        """The trace is too long and ends here; returns its part number."""
        head = self._events[lane.last_event]
        part = head[7] or 1
        self._events[lane.last_event] = (*head[:6], head[6] | SPLIT, part)
        return part

    def _join_lines(self, lane: StreamState) -> None:
        """Nothing more comes to the stream's trace: put its lines together."""
        if lane.contents:
            head = self._events[lane.last_event]
            whole = b"\n".join(lane.contents)
            self._events[lane.last_event] = (*head[:2], lane.length, *head[3:5], whole, head[6] | MULTILINE, head[7])
            lane.contents = []

    def open_events(self) -> list[OpenEvent]:
        """The events that a later line could still continue, at most one a stream."""
        found = []
        for stream, lane in self._streams.items():
            chain = lane.logical_line
            part = state = 0
            if self._is_trace_open(lane):
                head = self._events[lane.last_event]
                file, offset, part = head[0], head[1], head[7]
                state = lane.last_part[1] if lane.last_part[0] == lane.last_event else 0
                last, gap = lane.last_time or head[3], self.grouping.trace_gap
            elif chain is not None:
                file, offset, part = chain.file, chain.offset, chain.part
            else:
                continue
            if chain is not None:
                last, gap = chain.last_time, self.grouping.partial_gap
            carried = Continuation(stream.decode(), part, state) if part > 1 else None
            found.append(OpenEvent(file, offset, last, gap, stream, carried))
        return found

    def _is_trace_open(self, lane: StreamState) -> bool:
        if lane.last_event < 0 or self.grouping.mode == "off":
            return False
        head = self._events[lane.last_event]
        state = stack_trace.start_state(head[5]) if lane.trace_state == UNKNOWN else lane.trace_state
        chain = lane.logical_line
        gone = chain is not None and gap_exceeded(lane.last_time or head[3], chain.time, self.grouping.trace_gap)
        return state > 0 and not gone

    def finish(self, continued_streams: Iterable[str] = ()) -> list[Event]:
        """End the slice: all events, in the order of their first lines.

        `goes_on`: streams whose last event was too long, so that a later part of it follows in another slice.
        """
        for stream in continued_streams:
            self._end_open_part(self._streams[stream.encode()])
        for lane in self._streams.values():
            self._close_partial(lane)
            self._join_lines(lane)
            lane.close()
        if self._is_unsorted:
            self._events.sort()  # by file and offset, which are of one event only
        return self._events


def oversized_lines(data: bytes, start: int, limit: int) -> Iterator[tuple[int, int]]:
    """Where raw lines of more than `limit` bytes stand in `data`; the last one may go on behind it."""
    while len(data) - start >= limit:
        newline = data.rfind(b"\n", start, start + limit)
        end = newline + 1
        if newline < 0:
            end = data.find(b"\n", start + limit) + 1 or len(data)
            yield start, end
        start = end


def slice_runs(log_slice: LogSlice) -> Iterable[Run]:
    """The runs of a slice's value, as its segments say."""
    start = 0
    for file, offset, length in log_slice.segments:
        yield file, offset, log_slice.value[start : start + length]
        start += length


@lru_cache(maxsize=64)
def _check_grouping(grouping: Grouping) -> None:
    if grouping.mode == "pattern":
        try:
            start_pattern.compile_start_pattern(grouping.pattern)
        except ValueError as fault:
            raise RecordError(f"header grouping: {fault}") from fault


def group_slice(log_slice: LogSlice) -> list[Event]:
    """Group one slice of the raw topic. Raises RecordError where this version cannot group as the record asks."""
    _check_grouping(log_slice.grouping)
    for one in log_slice.continuations:
        if one.state not in stack_trace.CONTINUATION_STATES:
            raise RecordError(f"header carried: {list(one)} is not known here")
    grouper = Grouper(log_slice.grouping)
    grouper.add_runs(slice_runs(log_slice), log_slice.previous_time, log_slice.continuations)
    return grouper.finish(log_slice.continued_streams)
