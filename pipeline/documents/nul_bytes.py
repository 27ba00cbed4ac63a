"""NUL bytes before a line: a hole of a sparse file, or a write that a crash tore. Pure.

The grouper cannot parse such a line. Its offset and length, and so its document's id, stay those of the bytes.
"""

from pipeline.contract import cri
from pipeline.contract.record import LogSlice
from pipeline.grouping.event import NUL_BYTES, PARTIAL, UNPARSED, Event

NUL = b"\0"
MIN_RUN_BYTES = 512  # a disk's sector; fewer before text that is no log line are its own, as in UTF-16


def remove_from(log_slice: LogSlice, events: list[Event]) -> list[Event]:
    """Return a slice's events without the NUL bytes before lines; a CRI line behind them has its own time and stream.

    They stay in text that is no log line if they are few, and within lines. Known limit: a part of an oversized line
    that ends within the time behind them is text.
    """
    if NUL not in log_slice.value:
        return events
    return [_remove(event) if event[5][:1] == NUL and event[6] & UNPARSED else event for event in events]


def _remove(event: Event) -> Event:
    file, offset, length, time, stream, content, flags, part = event
    rest = content.lstrip(NUL)
    count = len(content) - len(rest)
    line = cri.parse(rest)
    if line is not None:
        time, stream, rest = line.time, line.stream, line.content
        flags = flags & ~UNPARSED | (PARTIAL if line.partial else 0)
    elif not rest:
        rest = b"%d NUL bytes: a hole of the file, or a write that a crash tore" % count
    elif count < MIN_RUN_BYTES:
        return event
    return file, offset, length, time, stream, rest, flags | NUL_BYTES, part
