"""Lines into events: partials joined, stack traces kept whole, per stream. A pure function of the bytes.

The worker groups whole slices; the shipper finds the events that are still open at the end of a slice. So both
agree by construction. Rules, for each stream of a container separately (stdout never joins stderr):

- a `P` line continues in the next line of its stream, unless that came more than `partial_gap` after it;
- a line continues a stack trace if the grammar of `stack_trace` accepts it, or in mode `pattern` an event if the
  pattern does not match; in both cases only if it came at most `trace_gap` after the previous line of its stream;
- an event of more than `max_bytes` of raw lines, more than `max_lines`, or more than `max_places` separate byte
  ranges is split there: the rest is an event of its own, numbered and flagged;
- a raw line longer than `max_bytes` is split into pieces of that size; nothing before it continues, on any stream.
Time is always the CRI time of the lines, never the clock.
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
    """Return the grouping that a pod requests: `traces`, `off` or a pattern (empty: the default); and its problem.

    For an invalid pattern the built-in grouping applies.
    """
    if not requested:
        return default, ""
    if requested in {"traces", "off"}:
        return default._replace(mode=requested, pattern=""), ""
    try:
        start_pattern.compile_start_pattern(requested)
    except ValueError as error:
        return default._replace(mode="traces", pattern=""), str(error)
    return default._replace(mode="pattern", pattern=requested), ""


def gap_exceeded(earlier: bytes, later: bytes, gap: int) -> bool:
    """Return whether `later` is more than `gap` nanoseconds after `earlier`; both valid CRI times."""
    return (cri.nanoseconds(later) or 0) - (cri.nanoseconds(earlier) or 0) > gap


class Grouper:
    """Groups the runs of one slice: `add_runs`, then `finish` for the events or `open_events` for the open ones."""

    def __init__(self, grouping: Grouping) -> None:
        self.grouping = grouping
        by_pattern = grouping.mode == "pattern"
        self._starts_event = start_pattern.compile_start_pattern(grouping.pattern) if by_pattern else None
        self._suspects = stack_trace.SUSPECT_STARTS if grouping.mode == "traces" else frozenset[bytes]()
        self._initial_state = PATTERN_EVENT if by_pattern else UNKNOWN
        self._events: list[Event] = []
        self._streams = {stream: StreamState() for stream in cri.STREAMS}
        self._last_time = b""
        self._next_piece = 0  # number of the next piece of an oversized raw line; 0: none is open
        self._next_piece_position: tuple[int, int] | None = None
        self._is_unsorted = False

    def add_runs(
        self, runs: Iterable[Run], previous_time: bytes = b"", continuations: Iterable[Continuation] = ()
    ) -> None:
        """Add whole lines, each with its newline.

        `previous_time` is the CRI time of the line before them, if known; `continuations`: events that continue here.
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
        """Resume events that were too long, as if their previous parts had been added."""
        for continuation in continuations:
            if continuation.stream:
                self._streams[continuation.stream.encode()].resume(continuation)
            else:
                self._next_piece = continuation.part

    def _add_run_with_oversized(self, file: int, position: int, data: bytes) -> None:
        """Add a run that may contain an oversized raw line."""
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
        """Add a raw line of more than `max_bytes`."""
        for stream in self._streams.values():
            self._close_partial(stream)
            self._join_lines(stream)
            stream.close()
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
        """Add the rest of an oversized raw line, or a part of it; only its last byte may be a newline."""
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
        """The hot loop: a plain line costs a split and a few tests; every other line takes `_add_raw_line`."""
        events, streams, suspects, opening_byte = self._events, self._streams, self._suspects, stack_trace.OPENING_BYTE
        starts_event, initial_state = self._starts_event, self._initial_state
        second = b""
        lines = data.split(b"\n")
        unfinished = lines.pop()
        for raw in lines:
            size = len(raw) + 1
            parts = raw.split(b" ", 3)
            if len(parts) == 4:
                time, name, tag, content = parts
                stream = streams.get(name)
                if (
                    stream is not None
                    and tag == b"F"
                    and content[:2] not in suspects
                    and content[-1:] != opening_byte
                    and (
                        stream.trace_state <= 0
                        or (starts_event is not None and stream.continuation is None and starts_event(content))
                    )
                    and stream.logical_line is None
                    and (time[:19] == second or cri.nanoseconds(time))
                    and time[19:20] == b"."
                    and time[-1:] == b"Z"
                    and len(time) <= 30
                    and time[20:-1].isdigit()
                ):
                    second = time[:19]
                    if stream.contents:
                        self._join_lines(stream)
                    stream.last_event = len(events)
                    stream.trace_state = initial_state
                    stream.last_time = b""
                    events.append((file, position, size, time, name, content, 0, 0))
                    self._last_time = time
                    position += size
                    continue
            self._add_raw_line(file, position, size, raw)
            position += size
        if unfinished:
            self._add_raw_line(file, position, len(unfinished), unfinished)

    def _add_raw_line(self, file: int, position: int, size: int, raw: bytes) -> None:
        line = cri.parse(raw)
        if line is None:
            self._events.append((file, position, size, self._last_time, b"", raw, UNPARSED, 0))
        else:
            self.add_line(file, position, size, line)

    def add_line(self, file: int, position: int, size: int, line: cri.Line) -> None:
        """Add one line of `size` raw bytes, at most `max_bytes`."""
        self._last_time = line.time
        stream = self._streams[line.stream]
        logical_line = stream.logical_line
        part = 0
        if logical_line is not None and gap_exceeded(logical_line.last_time, line.time, self.grouping.partial_gap):
            self._close_partial(stream)
        elif logical_line is not None and self._is_full(logical_line, (file, position), size):
            part = self._end_line_part(stream, logical_line) + 1
        logical_line = stream.logical_line
        if logical_line is None:
            if stream.continuation is not None and not stream.continuation.state:
                part, stream.continuation = stream.continuation.part, None
            logical_line = stream.logical_line = LogicalLine(file, position, line.time, line.stream, part)
        else:
            self._is_unsorted = True
        logical_line.add(file, position, size, line.time, line.content)
        if not line.partial:
            self._complete_line(stream, logical_line)

    def _is_full(self, logical_line: LogicalLine, position: tuple[int, int], size: int) -> bool:
        """Return whether another raw line would exceed a limit of the logical line."""
        limits = self.grouping
        if logical_line.length + size > limits.max_bytes or len(logical_line.contents) >= limits.max_lines:
            return True
        if logical_line.end == position:
            return False
        return logical_line.places >= limits.max_places

    def _last_event_places(self, stream: StreamState) -> tuple[int, tuple[int, int]]:
        """The number of byte ranges of the stream's last event, and its end."""
        if stream.last_time:
            return stream.places, stream.end
        event = self._events[stream.last_event]
        return 1, (event[0], event[1] + event[2])

    def _end_open_part(self, stream: StreamState) -> None:
        """End the stream's open event as one part: it is too long."""
        if stream.logical_line is not None:
            self._end_line_part(stream, stream.logical_line)
        elif stream.last_event >= 0:
            self._split_trace(stream)

    def _end_line_part(self, stream: StreamState, logical_line: LogicalLine) -> int:
        """End a logical line as one part, since it is too long; return its part number."""
        logical_line.part = logical_line.part or 1
        logical_line.flags |= SPLIT
        self._is_unsorted = True
        self._complete_line(stream, logical_line)
        return logical_line.part

    def _close_partial(self, stream: StreamState) -> None:
        """End an open partial whose rest is missing."""
        if stream.logical_line is not None:
            stream.logical_line.flags |= PARTIAL
            self._is_unsorted = True
            self._complete_line(stream, stream.logical_line)

    def _complete_line(self, stream: StreamState, logical_line: LogicalLine) -> None:
        """End a logical line: it continues the stream's trace, or is an event of its own."""
        stream.logical_line = None
        content = logical_line.contents[0] if len(logical_line.contents) == 1 else b"".join(logical_line.contents)
        continuation, stream.continuation = stream.continuation, None
        if continuation is not None:
            state = self._begin_part(stream, logical_line, continuation.part, continuation.state)
        else:
            state = self._next_state(stream, logical_line, content) if logical_line.part <= 1 else 0
            if state and self._append_to_trace(stream, logical_line, content):
                stream.trace_state, stream.last_time = state, logical_line.last_time
                return
            if state:
                self._begin_part(stream, logical_line, self._split_trace(stream) + 1, state)
        self._join_lines(stream)
        stream.last_event = len(self._events)
        self._events.append(logical_line.to_event(content))
        stream.trace_state = state or self._first_line_state(content)
        stream.last_time, stream.places, stream.end = logical_line.last_time, logical_line.places, logical_line.end

    def _begin_part(self, stream: StreamState, logical_line: LogicalLine, part: int, state: int) -> int:
        """Mark the logical line as the first of a later part of a trace."""
        logical_line.part = part
        logical_line.flags |= SPLIT
        stream.last_part = (len(self._events), state)
        return state

    def _first_line_state(self, content: bytes) -> int:
        """The state after the first line of an event, if any line may follow; else UNKNOWN: decided later."""
        if self._starts_event is not None:
            return PATTERN_EVENT
        return stack_trace.start_state(content) if stack_trace.decides_at_once(content) else UNKNOWN

    def _next_state(self, stream: StreamState, logical_line: LogicalLine, content: bytes) -> int:
        """The state after `content` if it continues the stream's last event, else 0."""
        if stream.last_event < 0 or self.grouping.mode == "off":
            return 0
        event = self._events[stream.last_event]
        if stream.trace_state == UNKNOWN and not stack_trace.may_continue(content):
            return 0
        if gap_exceeded(stream.last_time or event[3], logical_line.time, self.grouping.trace_gap):
            return 0
        if self._starts_event is not None:
            return 0 if self._starts_event(content) else PATTERN_EVENT
        state = stack_trace.start_state(event[5]) if stream.trace_state == UNKNOWN else stream.trace_state
        return stack_trace.next_state(state, content) if state else 0

    def _append_to_trace(self, stream: StreamState, logical_line: LogicalLine, content: bytes) -> bool:
        """Append the logical line to the stream's trace; return False if that exceeds a limit."""
        limits, event = self.grouping, self._events[stream.last_event]
        length = (stream.length if stream.contents else event[2]) + logical_line.length
        places, end = self._last_event_places(stream)
        places += logical_line.places - (end == (logical_line.file, logical_line.offset))
        if length > limits.max_bytes or len(stream.contents) >= limits.max_lines or places > limits.max_places:
            return False
        if not stream.contents:
            stream.contents.append(event[5])
        stream.contents.append(content)
        stream.length, stream.places, stream.end = length, places, logical_line.end
        if logical_line.flags:
            self._events[stream.last_event] = (*event[:6], event[6] | logical_line.flags, event[7])
        return True

    def _split_trace(self, stream: StreamState) -> int:
        """End the trace as one part, since it is too long; return its part number."""
        event = self._events[stream.last_event]
        part = event[7] or 1
        self._events[stream.last_event] = (*event[:6], event[6] | SPLIT, part)
        return part

    def _join_lines(self, stream: StreamState) -> None:
        """End the stream's trace: join its lines into one event."""
        if stream.contents:
            event = self._events[stream.last_event]
            content = b"\n".join(stream.contents)
            self._events[stream.last_event] = (
                *event[:2],
                stream.length,
                *event[3:5],
                content,
                event[6] | MULTILINE,
                event[7],
            )
            stream.contents = []

    def open_events(self) -> list[OpenEvent]:
        """Return the events that a later line could continue, at most one per stream."""
        events = []
        for name, stream in self._streams.items():
            logical_line = stream.logical_line
            part = state = 0
            if self._is_trace_open(stream):
                event = self._events[stream.last_event]
                file, offset, part = event[0], event[1], event[7]
                state = stream.last_part[1] if stream.last_part[0] == stream.last_event else 0
                last_time, gap = stream.last_time or event[3], self.grouping.trace_gap
            elif logical_line is not None:
                file, offset, part = logical_line.file, logical_line.offset, logical_line.part
            else:
                continue
            if logical_line is not None:
                last_time, gap = logical_line.last_time, self.grouping.partial_gap
            continuation = Continuation(name.decode(), part, state) if part > 1 else None
            events.append(OpenEvent(file, offset, last_time, gap, name, continuation))
        return events

    def _is_trace_open(self, stream: StreamState) -> bool:
        if stream.last_event < 0 or self.grouping.mode == "off":
            return False
        event = self._events[stream.last_event]
        state = stack_trace.start_state(event[5]) if stream.trace_state == UNKNOWN else stream.trace_state
        logical_line = stream.logical_line
        expired = logical_line is not None and gap_exceeded(
            stream.last_time or event[3], logical_line.time, self.grouping.trace_gap
        )
        return state > 0 and not expired

    def finish(self, continued_streams: Iterable[str] = ()) -> list[Event]:
        """End the slice and return all events, in the order of their first lines.

        `continued_streams`: streams whose last event was too long, so that a later part follows in another slice.
        """
        for name in continued_streams:
            self._end_open_part(self._streams[name.encode()])
        for stream in self._streams.values():
            self._close_partial(stream)
            self._join_lines(stream)
            stream.close()
        if self._is_unsorted:
            self._events.sort()  # by file and offset, which are unique
        return self._events


def oversized_lines(data: bytes, start: int, limit: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each raw line of more than `limit` bytes; the last one may continue after `data`."""
    while len(data) - start >= limit:
        newline = data.rfind(b"\n", start, start + limit)
        end = newline + 1
        if newline < 0:
            end = data.find(b"\n", start + limit) + 1 or len(data)
            yield start, end
        start = end


def slice_runs(log_slice: LogSlice) -> Iterable[Run]:
    """Yield the runs of a slice's value, one per segment."""
    start = 0
    for file, offset, length in log_slice.segments:
        yield file, offset, log_slice.value[start : start + length]
        start += length


@lru_cache(maxsize=64)
def _check_grouping(grouping: Grouping) -> None:
    if grouping.mode == "pattern":
        try:
            start_pattern.compile_start_pattern(grouping.pattern)
        except ValueError as error:
            raise RecordError(f"header grouping: {error}") from error


def group_slice(log_slice: LogSlice) -> list[Event]:
    """Group one slice of the raw topic. Raises RecordError if this version does not support its grouping."""
    _check_grouping(log_slice.grouping)
    for continuation in log_slice.continuations:
        if continuation.state not in stack_trace.CONTINUATION_STATES:
            raise RecordError(f"header carried: {list(continuation)} is not supported")
    grouper = Grouper(log_slice.grouping)
    grouper.add_runs(slice_runs(log_slice), log_slice.previous_time, log_slice.continuations)
    return grouper.finish(log_slice.continued_streams)
