"""An event under construction: a line whose partials are joined, then perhaps a trace of several lines. Pure."""

from pipeline.contract.record import Grouping
from pipeline.grouping.event import MULTILINE, SPLIT, Event

Position = tuple[int, int]
"""Index of a file, offset in it."""


class EventBuilder:
    """An event under construction; `build` returns it as a tuple.

    `contents` are the partials of a line until `join_partials`, then the lines of a trace. `places` counts separate
    byte ranges. `first_state`: the state after the first line, if that begins a later part of a trace.
    """

    __slots__ = (
        *("contents", "end", "file", "first_state", "flags", "last_time", "length", "offset", "part", "places"),
        *("stream", "time"),
    )

    def __init__(
        self, file: int, offset: int, length: int, time: bytes, stream: bytes, content: bytes, flags: int, part: int
    ) -> None:
        self.file = file
        self.offset = offset
        self.length = length
        self.time = self.last_time = time
        self.stream = stream
        self.contents = [content]
        self.flags = flags
        self.part = part
        self.first_state = 0
        self.places = 1
        self.end: Position = (file, offset + length)

    def add_partial(self, position: Position, length: int, time: bytes, content: bytes) -> None:
        """Add the next raw line of a line of partials."""
        if self.end != position:
            self.places += 1
        self.end = (position[0], position[1] + length)
        self.length += length
        self.last_time = time
        self.contents.append(content)

    def is_full(self, position: Position, length: int, limits: Grouping) -> bool:
        """Return whether another partial would exceed a limit."""
        if self.length + length > limits.max_bytes or len(self.contents) >= limits.max_lines:
            return True
        return self.end != position and self.places >= limits.max_places

    def join_partials(self) -> bytes:
        """Join the partials; return the content of the line."""
        content = b"".join(self.contents)
        self.contents = [content]
        return content

    def add_line(self, line: "EventBuilder", limits: Grouping) -> bool:
        """Add a joined line to the trace; return False if that would exceed a limit."""
        length = self.length + line.length
        places = self.places + line.places - (self.end == (line.file, line.offset))
        if length > limits.max_bytes or len(self.contents) >= limits.max_lines or places > limits.max_places:
            return False
        self.length, self.places, self.end = length, places, line.end
        self.last_time = line.last_time
        self.contents += line.contents
        self.flags |= line.flags | MULTILINE
        return True

    def end_part(self) -> int:
        """End the event as one part, since it is too long; return its part number."""
        self.part = self.part or 1
        self.flags |= SPLIT
        return self.part

    def begin_part(self, part: int, state: int) -> None:
        """Make the event a later part of a trace; `state`: that after its first line."""
        self.part = part
        self.first_state = state
        self.flags |= SPLIT

    def build(self) -> Event:
        """Return the event."""
        content = b"\n".join(self.contents)
        return (self.file, self.offset, self.length, self.time, self.stream, content, self.flags, self.part)
