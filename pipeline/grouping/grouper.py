"""Lines into events: partials joined, stack traces kept whole, per stream. A pure function of the bytes.

The worker groups whole slices; the shipper finds the events that are still open at the end of a slice. So both
agree by construction. Rules, for each stream of a container separately (stdout never joins stderr):

- a `P` line continues in the next line of its stream, unless that came more than `partial_gap` after it;
- a line continues a stack trace if the grammar of `stack_trace` accepts it, or if a line soon after it proves that it
  does (`message_lines`), or in mode `pattern` an event if the pattern does not match; in all cases only if it came at
  most `trace_gap` after the previous line of its stream;
- an event of more than `max_bytes` of raw lines, more than `max_lines`, or more than `max_places` separate byte
  ranges is split there: the rest is an event of its own, numbered and flagged;
- a raw line longer than `max_bytes` is split into pieces of that size; nothing before it continues, on any stream.
Time is always the CRI time of the lines, never the clock.
"""

from collections.abc import Iterable

from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping, LogSlice
from pipeline.errors import RecordError
from pipeline.grouping import stack_trace, start_pattern
from pipeline.grouping.earlier_events import REMOVED, UNDECIDED
from pipeline.grouping.event import UNPARSED, Event, OpenEvent
from pipeline.grouping.oversized_line import OversizedLine, find_oversized_lines
from pipeline.grouping.stack_trace import PATTERN_EVENT
from pipeline.grouping.stream_grouper import StreamGrouper

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


class Grouper:
    """Groups the runs of one slice: `add_runs`, then `finish` for the events or `open_events` for the open ones."""

    def __init__(self, grouping: Grouping) -> None:
        by_pattern = grouping.mode == "pattern"
        starts_event = start_pattern.compile_start_pattern(grouping.pattern) if by_pattern else None
        self._starts_event = starts_event
        self._suspects = stack_trace.SUSPECT_STARTS if grouping.mode == "traces" else frozenset[bytes]()
        self._plain_state = PATTERN_EVENT if by_pattern else UNDECIDED
        self._max_bytes = grouping.max_bytes
        self._events: list[Event] = []
        self._streams = {name: StreamGrouper(name, grouping, starts_event, self._events) for name in cri.STREAMS}
        self._oversized_line = OversizedLine(grouping.max_bytes)
        self._last_time = b""

    def add_runs(
        self, runs: Iterable[Run], previous_time: bytes = b"", continuations: Iterable[Continuation] = ()
    ) -> None:
        """Add whole lines, each with its newline.

        `previous_time` is the CRI time of the line before them, if known; `continuations`: events that continue here.
        """
        self._last_time = previous_time
        self.resume(continuations)
        for file, position, data in runs:
            start = 0
            if self._oversized_line.continues_at(file, position):
                start = data.find(b"\n") + 1 or len(data)
                self._events += self._oversized_line.add(file, position, data[:start], self._last_time)
            self._add_run(file, position + start, data[start:])

    def resume(self, continuations: Iterable[Continuation]) -> None:
        """Resume events that were too long, as if their previous parts had been added."""
        for continuation in continuations:
            if continuation.stream:
                self._streams[continuation.stream.encode()].resume(continuation)
            else:
                self._oversized_line.resume(continuation.part)

    def _add_run(self, file: int, position: int, data: bytes) -> None:
        """Add whole lines, each of which may be oversized."""
        start = 0
        for begin, end in find_oversized_lines(data, self._max_bytes):
            self._add_lines(file, position + start, data[start:begin])
            for stream in self._streams.values():
                stream.close()
            self._events += self._oversized_line.begin(file, position + begin, data[begin:end], self._last_time)
            self._last_time = self._events[-1][3]
            start = end
        self._add_lines(file, position + start, data[start:])

    def _add_lines(self, file: int, position: int, data: bytes) -> None:
        """The hot loop: a plain line costs a split and a few tests; every other line takes `_add_raw_line`."""
        events, streams, suspects, opening_byte = self._events, self._streams, self._suspects, stack_trace.OPENING_BYTE
        starts_event, plain_state, second = self._starts_event, self._plain_state, b""
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
                        stream.state <= 0
                        or (starts_event is not None and stream.continuation is None and starts_event(content))
                    )
                    and stream.open_line is None
                    and len(time) <= 30
                    and (time[:19] == second or cri.nanoseconds(time))
                    and time[19:20] == b"."
                    and time[-1:] == b"Z"
                    and time[20:-1].isdigit()
                ):
                    second = time[:19]
                    if stream.last_event is not None:
                        stream.close_last_event()
                    stream.last_index, stream.state = len(events), plain_state
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
        self._streams[line.stream].add_line((file, position), size, line)

    def open_events(self) -> list[OpenEvent]:
        """Return the events that a later line could continue, at most one per stream."""
        open_events = [stream.open_event() for stream in self._streams.values()]
        return [event for event in open_events if event is not None]

    def finish(self, continued_streams: Iterable[str] = ()) -> list[Event]:
        """End the slice and return all events, in the order of their first lines.

        `continued_streams`: streams whose last event was too long, so that a later part follows in another slice.
        """
        for name in continued_streams:
            self._streams[name.encode()].end_open_part()
        for stream in self._streams.values():
            stream.close()
        if any(stream.is_unsorted for stream in self._streams.values()):
            self._events.sort()  # by file and offset, which are unique
        if any(stream.has_removed for stream in self._streams.values()):
            self._events = [event for event in self._events if event != REMOVED]
        return self._events


def slice_runs(log_slice: LogSlice) -> Iterable[Run]:
    """Yield the runs of a slice's value, one per segment."""
    start = 0
    for file, offset, length in log_slice.segments:
        yield file, offset, log_slice.value[start : start + length]
        start += length


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
    event = _single_event(log_slice)
    if event is not None:
        return [event]
    grouper = Grouper(log_slice.grouping)
    grouper.add_runs(slice_runs(log_slice), log_slice.previous_time, log_slice.continuations)
    return grouper.finish(log_slice.continued_streams)


def _single_event(log_slice: LogSlice) -> Event | None:
    """Return the event of a slice of one complete line, whatever it says; None if it needs the grouper.

    Most slices of quiet containers are such: the grouper's state would cost more than the line.
    """
    value = log_slice.value
    size = len(value)
    if len(log_slice.segments) != 1 or value.find(b"\n") != size - 1 or size > log_slice.grouping.max_bytes:
        return None
    if log_slice.continuations or log_slice.continued_streams:
        return None
    line = cri.parse(value[:-1])
    if line is None or line.partial:
        return None
    file, offset, length = log_slice.segments[0]
    return (file, offset, length, line.time, line.stream, line.content, 0, 0)
