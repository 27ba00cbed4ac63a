"""Finds where a slice may end: only where no event is open. Pure.

Lines are not scanned one by one. For each stream the last lines are searched from the end of the data, back to one
that certainly starts an event; these few lines go through the grouper, which reports whether the stream's last event
is open. Data without a line of the stream is searched once in full, by StringZilla: seven times as fast as
`bytes.rfind`.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from stringzilla import rfind

from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping
from pipeline.grouping import message_lines, stack_trace, start_pattern
from pipeline.grouping.event import OpenEvent
from pipeline.grouping.grouper import Grouper

MAX_UNPARSED_BYTES = 65536

File = TypeVar("File")


class Chunk(NamedTuple, Generic[File]):
    """Complete lines of a file, from `offset` on: `data[start:stop]`, not copied."""

    file: File
    offset: int
    data: bytes
    start: int
    stop: int

    def subrange(self, start: int, stop: int) -> "Chunk[File]":
        """Return the lines between two positions of `data`."""
        return Chunk(self.file, self.offset + start - self.start, self.data, start, stop)

    def size(self) -> int:
        """Return the size of the lines in bytes."""
        return self.stop - self.start

    def to_bytes(self) -> bytes:
        """Return the lines; they are copied unless they are all of `data`."""
        return self.data[self.start : self.stop]

    def view(self) -> memoryview:
        """Return the lines, not copied."""
        return memoryview(self.data)[self.start : self.stop]

    def end(self) -> int:
        """Return the offset after the last line."""
        return self.offset + self.stop - self.start


class LocatedLine(NamedTuple):
    """A line: index of its chunk, its start, the position after its newline, and its parsed form."""

    chunk: int
    start: int
    stop: int
    parsed: cri.Line


class OpenEventLines(NamedTuple):
    """An event that is open at the end of the chunks, and its lines so far."""

    event: OpenEvent
    lines: list[LocatedLine]


def find_open_events(
    chunks: list[Chunk[File]], grouping: Grouping, continuations: Iterable[Continuation] = ()
) -> list[OpenEventLines]:
    """Return the events that are open at the end of the chunks. Before them only `continuations` were open."""
    open_events = []
    files = list(dict.fromkeys(chunk.file for chunk in chunks))
    delimiters = [_stream_delimiter(chunk) for chunk in chunks]
    for stream in cri.STREAMS:
        lines, from_start = _last_lines(chunks, [edge + stream + edge for edge in delimiters], stream, grouping)
        if not lines:
            continue
        grouper = Grouper(grouping)
        grouper.resume(entry for entry in continuations if from_start and entry.stream.encode() == stream)
        positions = [(files.index(chunks[line.chunk].file), _file_offset(chunks, line)) for line in lines]
        for position, line in zip(positions, lines, strict=True):
            grouper.add_line(*position, line.stop - line.start, line.parsed)
        open_events += [
            OpenEventLines(event, lines[positions.index((event.file, event.offset)) :])
            for event in grouper.open_events()
        ]
    return open_events


def split_off_open(
    chunks: list[Chunk[File]], open_events: list[OpenEventLines]
) -> tuple[list[Chunk[File]], list[Chunk[File]]]:
    """Split into the lines that may be sent, and those of open events, which are held."""
    spans = _spans(chunks, sorted(line for event in open_events for line in event.lines))
    chosen: list[Chunk[File]] = []
    held: list[Chunk[File]] = []
    for number, chunk in enumerate(chunks):
        position = chunk.start
        for start, stop in spans.get(number, ()):
            if start > position:
                chosen.append(chunk.subrange(position, start))
            held.append(chunk.subrange(start, stop))
            position = stop
        if position < chunk.stop:
            chosen.append(chunk.subrange(position, chunk.stop))
    return chosen, held


def _spans(chunks: list[Chunk[File]], lines: list[LocatedLine]) -> dict[int, list[list[int]]]:
    """Return the spans of the lines and of the unparsed lines after them, by chunk; touching spans are merged."""
    spans: dict[int, list[list[int]]] = {}
    for line, following in itertools.zip_longest(lines, lines[1:]):
        touched = following is not None and (following.chunk, following.start) == (line.chunk, line.stop)
        stop = line.stop if touched else _skip_unparsed(chunks[line.chunk], line.stop)
        in_chunk = spans.setdefault(line.chunk, [])
        if in_chunk and in_chunk[-1][1] == line.start:
            in_chunk[-1][1] = stop
        else:
            in_chunk.append([line.start, stop])
    return spans


def end_of_unparsed(chunk: Chunk[File]) -> int:
    """Return the end of the non-CRI lines at the start of the chunk."""
    return _skip_unparsed(chunk, chunk.start)


def _skip_unparsed(chunk: Chunk[File], start: int) -> int:
    """Return the end of the non-CRI lines from `start` on; their time is that of the line before them."""
    limit = min(chunk.stop, start + MAX_UNPARSED_BYTES)
    while start < limit:
        stop = chunk.data.find(b"\n", start, chunk.stop) + 1 or chunk.stop
        if cri.parse(chunk.data[start:stop].removesuffix(b"\n")) is not None:
            break
        start = stop
    return start


def _file_offset(chunks: list[Chunk[File]], line: LocatedLine) -> int:
    chunk = chunks[line.chunk]
    return chunk.offset + line.start - chunk.start


def _last_lines(
    chunks: list[Chunk[File]], needles: list[bytes], stream: bytes, grouping: Grouping
) -> tuple[list[LocatedLine], bool]:
    """Return the last lines of a stream, from one that certainly starts an event; or all lines, and True."""
    lines: list[LocatedLine] = []
    start = 0  # lines from one that starts an event, unless the lines before it belong to a message; 0: none is known
    for line in _lines_backwards(chunks, needles, stream):
        # The end of a partial does not show by itself how its line began.
        if line.parsed.partial:
            start = 0
        elif len(lines) > 1:
            if not start and _starts_new_event(lines[-1].parsed, lines[-2].parsed, grouping):
                start = len(lines) - 1
            if start:
                is_known, is_message = _reaches_message(lines[start - 1 :], grouping)
                if is_known and not is_message:
                    return lines[:start][::-1], False
                start = 0 if is_message else start
        lines.append(line)
    return lines[::-1], True


def _reaches_message(lines: list[LocatedLine], grouping: Grouping) -> tuple[bool, bool]:
    """Return whether it is known, and whether a later line may join the first of the lines to the last one's message.

    The lines are in reverse order; the last one was not examined yet.
    """
    first, later, line = lines[0].parsed.content, lines[-2].parsed, lines[-1].parsed
    if grouping.mode != "traces" or cri.gap_exceeded(line.time, later.time, grouping.trace_gap):
        return True, False
    if not message_lines.is_text(first) and not message_lines.may_prove(first):
        return True, False
    if message_lines.may_begin(line.content):
        return True, True
    return len(lines) > message_lines.MAX_LINES + 2 or not message_lines.is_text(line.content), False


def _starts_new_event(line: cri.Line, later: cri.Line, grouping: Grouping) -> bool:
    """Return whether `later`, the next line of the stream, certainly starts an event."""
    if line.partial:
        return cri.gap_exceeded(line.time, later.time, grouping.partial_gap)
    if grouping.mode == "off":
        return True
    if later.partial:
        return cri.gap_exceeded(line.time, later.time, grouping.trace_gap)
    if grouping.mode == "pattern":
        certain = bool(start_pattern.compile_start_pattern(grouping.pattern)(later.content))
    else:
        certain = stack_trace.certainly_starts_event(line.content, later.content)
    return certain or cri.gap_exceeded(line.time, later.time, grouping.trace_gap)


def _lines_backwards(chunks: list[Chunk[File]], needles: list[bytes], stream: bytes) -> Iterator[LocatedLine]:
    """Yield the lines of a stream, the last one first. Each contains the chunk's needle, which is rare elsewhere."""
    for number in range(len(chunks) - 1, -1, -1):
        _, _, data, begin, end = chunks[number]
        while (at := rfind(data, needles[number], begin, end)) >= 0:
            start = data.rfind(b"\n", begin, at) + 1 or begin
            stop = data.find(b"\n", at, end) + 1 or end
            line = cri.parse(data[start:stop].removesuffix(b"\n"))
            if line is not None and line.stream == stream:
                yield LocatedLine(number, start, stop, line)
            end = start


def _stream_delimiter(chunk: Chunk[File]) -> bytes:
    """Return the bytes around the stream name in every line; the first parsed line determines the format."""
    _, _, data, start, end = chunk
    while start < end:
        if data.startswith(b'{"log":', start):
            return b'"'
        stop = data.find(b"\n", start, end) + 1 or end
        if cri.parse(data[start:stop].removesuffix(b"\n")) is not None:
            break
        start = stop
    return b" "
