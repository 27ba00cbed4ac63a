"""Where a slice may be cut: only where no event is open. Pure.

Lines are not looked at one by one. For each stream the last line is found from the end, then as many lines
before it as it takes to come to one that certainly begins an event; these few go through the one
implementation of grouping, which says whether the last event of the stream is open.
"""

from pipeline import cri, multiline
from pipeline.grouping import Grouper, Open, gap_exceeded
from pipeline.record import Grouping

Span = tuple[int, int]
"""Where a line stands in the data: from its first byte to behind its newline."""


def open_events(data: bytes, grouping: Grouping) -> list[tuple[bytes, Open]]:
    """The events still open at the end of `data`, with their streams; `offset` counts from its first byte.

    `data` holds whole lines, and nothing was open before its first one.
    """
    found = []
    for stream in cri.STREAMS:
        grouper = Grouper(grouping)
        grouper.feed((0, start, data[start:end]) for start, end in _tail(data, stream, grouping))
        found += [(stream, event) for event in grouper.open()]
    return found


def before(data: bytes, place: int, grouping: Grouping) -> int:
    """The last place at or before `place` where no event is open on any stream."""
    while place and (opened := open_events(data[:place], grouping)):
        place = min(event.offset for _, event in opened)
    return place


def _tail(data: bytes, stream: bytes, grouping: Grouping) -> list[Span]:
    """The last lines of a stream, from one that certainly begins an event (or the first of all) on."""
    spans: list[Span] = []
    later: cri.Line | None = None
    end = len(data)
    while (found := _line_before(data, stream, end)) is not None:
        span, line = found
        if later is not None and _separate(line, later, grouping) and not _ends_partial(data, stream, span[0]):
            break
        spans.append(span)
        later, end = line, span[0]
    spans.reverse()
    return spans


def _separate(line: cri.Line, later: cri.Line, grouping: Grouping) -> bool:
    """Whether `later`, the next line of its stream, certainly begins an event."""
    if line.partial:
        return gap_exceeded(line.time, later.time, grouping.partial_gap)
    if grouping.mode == "off" or gap_exceeded(line.time, later.time, grouping.trace_gap):
        return True
    return not later.partial and multiline.separates(line.content, later.content)


def _ends_partial(data: bytes, stream: bytes, start: int) -> bool:
    """Whether the line at `start` is the end of a partial: then its own bytes do not tell how it began."""
    found = _line_before(data, stream, start)
    return found is not None and found[1].partial


def _line_before(data: bytes, stream: bytes, end: int) -> tuple[Span, cri.Line] | None:
    """The last line of the stream that ends at or before `end`."""
    needle = _needle(data, stream)
    while (at := data.rfind(needle, 0, end)) >= 0:
        start = data.rfind(b"\n", 0, at) + 1
        stop = data.find(b"\n", at) + 1 or len(data)
        line = cri.parse(data[start : stop - 1])
        if line is not None and line.stream == stream:
            return (start, stop), line
        end = at if line is None else start
    return None


def lines_of(data: bytes, stream: bytes, start: int) -> list[Span]:
    """Every line of a stream from `start` on, adjacent ones as one span."""
    needle = _needle(data, stream)
    spans: list[Span] = []
    position = start
    while (at := data.find(needle, position)) >= 0:
        begin = max(data.rfind(b"\n", 0, at) + 1, start)
        position = data.find(b"\n", at) + 1 or len(data)
        line = cri.parse(data[begin:position].removesuffix(b"\n"))
        if line is None or line.stream != stream:
            continue
        if spans and spans[-1][1] == begin:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((begin, position))
    return spans


def _needle(data: bytes, stream: bytes) -> bytes:
    """What stands in every line of the stream, and seldom elsewhere."""
    return b" " + stream + b" " if not data.startswith(b"{") else b'"' + stream + b'"'
