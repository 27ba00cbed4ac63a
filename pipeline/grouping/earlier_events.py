"""Joins complete events of a stream that a later line proves to be one: `message_lines` has the grammar. Pure."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

from pipeline.contract import cri
from pipeline.contract.record import Grouping
from pipeline.grouping import frames, message_lines, stack_trace
from pipeline.grouping.event import SPLIT, Event
from pipeline.grouping.event_builder import EventBuilder, Position

NO_EVENT = -1
UNDECIDED = -1  # state: it is not decided yet whether the event is a trace
REMOVED: Event = (-1, -1, 0, b"", b"removed", b"", 0, 0)
"""In place of an event that is part of an earlier one."""
_MAX_BLANK_LINES = 2  # between a log line and its exception
_ANY_POSITION = b"\t/a.go:1"


class EarlierEvent(NamedTuple):
    """An event whose lines may be joined to a later line: its index among the events, last line, and state after it.

    `is_simple`: it is one raw line; an event of several has no simple one before it that could be joined.
    """

    number: int
    last: bytes
    state: int
    is_simple: bool


class JoinedEvent(NamedTuple):
    """The index, among the events, of one that earlier events were joined to, that event, and its state."""

    number: int
    event: EventBuilder
    state: int


class EarlierEvents:
    """The complete events of one stream; `events` are those of all streams."""

    __slots__ = ("_closed", "_events", "_first", "_grouping", "_name", "has_removed")

    def __init__(self, name: bytes, grouping: Grouping, events: list[Event]) -> None:
        self._name = name
        self._grouping = grouping
        self._events = events
        self._first = 0  # events before this index are joined to nothing
        self._closed: tuple[int, EventBuilder, int] | None = None  # the last event of several raw lines, its state
        self.has_removed = False  # whether events were joined to earlier ones

    def add(self, index: int, event: EventBuilder, state: int) -> None:
        """Record an event that is complete; plain lines, of one raw line, need not be recorded."""
        if event.flags or event.part or event.last_time != event.time:
            self._closed = index, event, state

    def close(self) -> None:
        """Join nothing to the events so far."""
        self._first, self._closed = len(self._events), None

    def join(self, last: int, line: EventBuilder, state: int) -> JoinedEvent | None:
        """Join what `line` proves to be one event with it; None if the events stay as they are.

        `state`: after the line, if it continues the event at `last`, of one line, by itself.
        """
        if state:
            content = self._events[last][5]
            if message_lines.EXCEPTION_FIRST.match(content):
                title = self._title(last)
                return self._join([*title, last], line, _state_after(title, state)) if title else None
            if message_lines.names_exception(content):
                return None
        return self._join_proven(last, line)

    def _join_proven(self, last: int, line: EventBuilder) -> JoinedEvent | None:
        """Join the events up to that at `last` to the one whose message or stack they continue."""
        content = line.contents[0]
        indices: list[int] = []
        text: list[bytes] = []
        for entry in self._walk(last, line.time):
            indices.insert(0, entry.number)
            state = message_lines.resume(entry.state, entry.last, text, content)
            if state:
                return self._join_with_title(indices, line, state)
            if len(text) >= message_lines.MAX_LINES or not message_lines.is_text(entry.last):
                break
            text.append(entry.last)
        return None

    def _join_with_title(self, indices: list[int], line: EventBuilder, state: int) -> JoinedEvent | None:
        is_titled = state == frames.BODY and message_lines.EXCEPTION_FIRST.match(self._builder(indices[0]).contents[0])
        title = self._title(indices[0]) if is_titled else []
        joined = self._join([*title, *indices], line, _state_after(title, state)) if title else None
        return joined or self._join(indices, line, state)

    def _title(self, index: int) -> list[int]:
        """Return the log line before an event that begins with an exception's class, and the blank lines between."""
        time, title = self._events[index][3], list[int]()
        while len(title) <= _MAX_BLANK_LINES and (index := self._previous(index)) != NO_EVENT:
            _, _, _, last_time, _, content, flags, _ = self._events[index]
            is_simple = self._closed is None or self._closed[0] != index
            if flags or not is_simple or cri.gap_exceeded(last_time, time, self._grouping.trace_gap):
                break
            title.insert(0, index)
            if content.strip():
                return title if stack_trace.start_state(content) == frames.LOGGED else []
            time = last_time
        return []

    def _join(self, indices: list[int], line: EventBuilder | None, state: int) -> JoinedEvent | None:
        """Join events, and prepare the first one for `line`; None if a limit would be exceeded."""
        if not self._fits(indices, line):
            return None
        builders = [self._builder(index) for index in indices]
        for builder in builders[1:]:
            builders[0].add_line(builder, self._grouping)
        for index in indices[1:]:
            self._events[index] = REMOVED
            self.has_removed = True
        if self._closed is not None and self._closed[0] in indices:
            self._closed = None
        return JoinedEvent(indices[0], builders[0], state)

    def _fits(self, indices: list[int], line: EventBuilder | None = None) -> bool:
        """Return whether events, and `line`, are within the limits of one event."""
        builders = [self._builder(index) for index in indices]
        if line is not None:
            builders.append(line)
        places = builders[0].places
        for builder, following in itertools.pairwise(builders):
            places += following.places - (builder.end == (following.file, following.offset))
        return (
            sum(builder.length for builder in builders) <= self._grouping.max_bytes
            and sum(len(builder.contents) for builder in builders) <= self._grouping.max_lines
            and places <= self._grouping.max_places
        )

    def _builder(self, index: int) -> EventBuilder:
        if self._closed is not None and self._closed[0] == index:
            return self._closed[1]
        return EventBuilder(*self._events[index])

    def _walk(self, last: int, time: bytes = b"") -> Iterator[EarlierEvent]:
        """Yield the events from that at `last` backwards, until a gap before the next one, or before `time`."""
        index = last
        while index != NO_EVENT:
            event, is_simple = self._events[index], True
            last_time, content, state = event[3], event[5], UNDECIDED
            if self._closed is not None and self._closed[0] == index:
                builder, is_simple = self._closed[1], False
                last_time, content, state = builder.last_time, builder.contents[-1], self._closed[2]
            if event[6] & SPLIT or (time and cri.gap_exceeded(last_time, time, self._grouping.trace_gap)):
                return
            if is_simple and event[6]:
                return
            yield EarlierEvent(index, content, stack_trace.start_state(content) if state < 0 else state, is_simple)
            if not is_simple:
                return
            index, time = self._previous(index), event[3]

    def _previous(self, index: int) -> int:
        """Return the index of this stream's event before that at `index`."""
        events, name = self._events, self._name
        if index > self._first and events[index - 1][4] == name:
            return index - 1
        candidates = range(index - 1, self._first - 1, -1)
        return next((number for number in candidates if events[number][4] == name), NO_EVENT)

    def position(self, index: int) -> Position:
        """Return the position of the first line of an event."""
        return self._events[index][:2]

    def find_open(self, last: int, *, is_open: bool) -> int:
        """Return the index of the first event that later lines may join to that at `last`; NO_EVENT if there is none.

        `is_open`: whether a later line may continue the event at `last` by itself.
        """
        content = self._last_line(last)
        if not is_open and content and not message_lines.is_text(content):
            return NO_EVENT
        starts = [last] if is_open else []
        starts += self._blank_title(last) if not content.strip() else []
        text: list[bytes] = []
        for entry in self._walk(last):
            is_function = message_lines.resume(entry.state, entry.last, text, _ANY_POSITION)
            is_panic = entry.state == frames.RUST_MESSAGE  # its last line may have any form
            if is_function or is_panic or message_lines.may_begin(entry.last):
                starts.append(entry.number)
            if len(text) >= message_lines.MAX_LINES or not message_lines.is_text(entry.last):
                break
            text.append(entry.last)
        events, name = self._events, self._name
        titled = [start for start in starts if message_lines.EXCEPTION_FIRST.match(events[start][5])]
        titles = [title[0] for title in map(self._title, titled) if title]
        for start in sorted({*starts, *titles}):
            if self._fits([number for number in range(start, last + 1) if events[number][4] == name]):
                return start
        return NO_EVENT

    def _last_line(self, index: int) -> bytes:
        """Return the last line of an event."""
        return self._closed[1].contents[-1] if self._closed and self._closed[0] == index else self._events[index][5]

    def _blank_title(self, last: int) -> list[int]:
        """Return the log line before the blank lines up to the event at `last`: an exception may follow."""
        for number, entry in enumerate(self._walk(last)):
            if entry.last.strip():
                return [entry.number] if number and entry.state == frames.LOGGED else []
            if number >= _MAX_BLANK_LINES or not entry.is_simple:
                break
        return []


def _state_after(title: list[int], state: int) -> int:
    """The state after a frame: Spring Boot writes a blank line after the trace if it wrote one before it."""
    return frames.TITLED if len(title) > 1 else state
