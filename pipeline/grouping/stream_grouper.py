"""Groups the lines of one stream: partials into lines, lines of a trace into events. Pure."""

from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping
from pipeline.grouping import frames, message_lines, stack_trace
from pipeline.grouping.earlier_events import NO_EVENT, UNDECIDED, EarlierEvents
from pipeline.grouping.event import PARTIAL, SPLIT, Event, OpenEvent
from pipeline.grouping.event_builder import EventBuilder, Position
from pipeline.grouping.stack_trace import PATTERN_EVENT
from pipeline.grouping.start_pattern import StartMatcher

NO_TRACE = 0  # state: no line can continue the last event
_RESERVED: Event = (0, 0, 0, b"", b"", b"", 0, 0)


class StreamGrouper:
    """One stream: its open line of partials, and its last event, which may continue. Appends to `events`.

    The caller may append a plain line itself, for speed: one that can only be an event of its own. It closes
    `last_event` first, and sets `last_index` and `state`.
    """

    __slots__ = (
        *("_earlier", "_events", "_grouping", "_joins_earlier", "_name", "_starts_event"),
        *("continuation", "is_unsorted", "last_event", "last_index", "open_line", "state"),
    )

    def __init__(self, name: bytes, grouping: Grouping, starts_event: StartMatcher | None, events: list[Event]) -> None:
        self._name = name
        self._grouping = grouping
        self._starts_event = starts_event
        self._events = events
        self._earlier = EarlierEvents(name, grouping, events)
        self._joins_earlier = grouping.mode == "traces"
        self.open_line: EventBuilder | None = None  # partials whose end is missing
        self.continuation: Continuation | None = None  # set: the next line begins a later part
        self.last_index = NO_EVENT  # index in `events` of the event that may continue
        self.last_event: EventBuilder | None = None  # that event; None: there is none, or it is a plain line
        self.state = UNDECIDED  # of the last event: a state of the grammar, or one of the above
        self.is_unsorted = False  # whether an event was appended after events of later lines

    @property
    def has_removed(self) -> bool:
        """Whether events were joined to earlier ones; `REMOVED` is in their place."""
        return self._earlier.has_removed

    def resume(self, continuation: Continuation) -> None:
        """Resume an event as if its previous parts had been added."""
        if continuation.state == PATTERN_EVENT and self._starts_event is None:
            continuation = continuation._replace(state=NO_TRACE)  # the grouping has changed within the event
        self.continuation = continuation
        self.state = continuation.state or frames.HEAD  # so that the first line is not handled as a plain one

    def add_line(self, position: Position, size: int, line: cri.Line) -> None:
        """Add one raw line of `size` bytes."""
        part = 0
        open_line = self.open_line
        if open_line is not None:
            if cri.gap_exceeded(open_line.last_time, line.time, self._grouping.partial_gap):
                self._close_line(open_line)
            elif open_line.is_full(position, size, self._grouping):
                part = self._end_line_part(open_line) + 1
        open_line = self.open_line
        if open_line is not None:
            self.is_unsorted = True
            open_line.add_partial(position, size, line.time, line.content)
        else:
            if self.continuation is not None and not self.continuation.state:
                part, self.continuation = self.continuation.part, None
            flags = SPLIT if part else 0
            open_line = EventBuilder(*position, size, line.time, line.stream, line.content, flags, part)
            self.open_line = open_line
        if not line.partial:
            self._complete_line(open_line)

    def _close_line(self, line: EventBuilder) -> None:
        """Complete an open line whose rest is missing."""
        line.flags |= PARTIAL
        self.is_unsorted = True
        self._complete_line(line)

    def _end_line_part(self, line: EventBuilder) -> int:
        """Complete an open line as one part, since it is too long; return its part number."""
        line.end_part()
        self.is_unsorted = True
        self._complete_line(line)  # which may make it a later part of a trace
        return line.part

    def _complete_line(self, line: EventBuilder) -> None:
        """End a line: it continues the last event, or is an event of its own."""
        self.open_line = None
        content = line.join_partials()
        continuation, self.continuation = self.continuation, None
        state = NO_TRACE
        if continuation is not None:
            state = continuation.state
            line.begin_part(continuation.part, state)
        elif line.part <= 1 and (state := self._next_state(line, content)):
            event = self._resume_last_event()
            if event.add_line(line, self._grouping):
                self.state = state
                return
            line.begin_part(event.end_part() + 1, state)
        self.close_last_event()
        self.last_event, self.last_index = line, len(self._events)
        self._events.append(_RESERVED)
        self.state = state or self._first_line_state(content)

    def _first_line_state(self, content: bytes) -> int:
        """The state after the first line of an event, if any line may follow; else it is decided later."""
        if self._starts_event is not None:
            return PATTERN_EVENT
        return stack_trace.start_state(content) if stack_trace.decides_at_once(content) else UNDECIDED

    def _next_state(self, line: EventBuilder, content: bytes) -> int:
        """The state after a line that continues the last event, to which it may join earlier ones; else NO_TRACE."""
        if self.last_index == NO_EVENT or self._grouping.mode == "off":
            return NO_TRACE
        if self.state == UNDECIDED and not stack_trace.may_continue(content):
            return NO_TRACE
        if self._expires_before(line.time):
            return NO_TRACE
        if self._starts_event is not None:
            return NO_TRACE if self._starts_event(content) else PATTERN_EVENT
        state = self._decided_state()
        state = stack_trace.next_state(state, content) if state else NO_TRACE
        if state:
            if state != frames.BODY or (self.last_event is not None and len(self.last_event.contents) > 1):
                return state
        elif not message_lines.may_prove(content):
            return NO_TRACE
        self._complete_last_event()
        joined = self._earlier.join(self.last_index, line, state)
        if joined is None:
            return state
        self.last_index, self.last_event = joined.number, joined.event
        return joined.state

    def _expires_before(self, time: bytes) -> bool:
        """Return whether a line of this time comes too late to continue the last event."""
        event = self.last_event
        last_time = event.last_time if event is not None else self._events[self.last_index][3]
        return cri.gap_exceeded(last_time, time, self._grouping.trace_gap)

    def _decided_state(self) -> int:
        """The state of the last event, which is decided now at the latest."""
        if self.state != UNDECIDED:
            return self.state
        event = self.last_event
        return stack_trace.start_state(event.contents[0] if event is not None else self._events[self.last_index][5])

    def _resume_last_event(self) -> EventBuilder:
        """Return the last event, under construction again if it was a plain line."""
        event = self.last_event
        if event is None:
            event = self.last_event = EventBuilder(*self._events[self.last_index])
        return event

    def end_open_part(self) -> None:
        """End the open event as one part: it is too long."""
        if self.open_line is not None:
            self._end_line_part(self.open_line)
        elif self.last_index != NO_EVENT:
            self._resume_last_event().end_part()

    def close_last_event(self) -> None:
        """Build the last event, unless it is a plain line."""
        if self.last_event is not None:
            self._complete_last_event()
            self.last_event = None

    def _complete_last_event(self) -> None:
        """Build the last event, which may continue, unless it is a plain line."""
        if self.last_event is not None:
            self._events[self.last_index] = self.last_event.build()
            if self._joins_earlier:
                self._earlier.add(self.last_index, self.last_event, self.state)

    def close(self) -> None:
        """End the open line and the last event: nothing continues them."""
        if self.open_line is not None:
            self._close_line(self.open_line)
        self.close_last_event()
        self._earlier.close()
        self.last_index, self.state = NO_EVENT, UNDECIDED

    def open_event(self) -> OpenEvent | None:
        """Return the event that a later line could continue, if any."""
        line, event, gap = self.open_line, self.open_line, self._grouping.partial_gap
        first = self._first_open()
        if first != NO_EVENT:
            event = self._resume_last_event()
        if event is None:
            return None
        if line is None:
            line, gap = event, self._grouping.trace_gap
        if first not in (NO_EVENT, self.last_index):
            file, offset = self._earlier.position(first)
            return OpenEvent(file, offset, line.last_time, gap, self._name, None)
        continuation = Continuation(self._name.decode(), event.part, event.first_state) if event.part > 1 else None
        return OpenEvent(event.file, event.offset, line.last_time, gap, self._name, continuation)

    def _first_open(self) -> int:
        """Return the index of the first event that the open line, or the next one, may continue; else NO_EVENT."""
        if self.last_index == NO_EVENT or self._grouping.mode == "off":
            return NO_EVENT
        if self.open_line is not None and self._expires_before(self.open_line.time):
            return NO_EVENT
        is_open = self._decided_state() > 0
        if not self._joins_earlier:
            return self.last_index if is_open else NO_EVENT
        self._complete_last_event()
        first = self._earlier.find_open(self.last_index, is_open=is_open)
        return first if first != NO_EVENT or not is_open else self.last_index
