"""Events, the result of grouping lines, and open events. Pure."""

from typing import NamedTuple

from pipeline.contract.record import Continuation

PARTIAL = 1  # a partial without its end
MULTILINE = 2  # several lines of the container in one event
SPLIT = 4  # part of an event that was too long
UNPARSED = 8  # not a CRI line: kept verbatim
NUL_BYTES = 16  # NUL bytes before the line were removed; set after grouping

Event = tuple[int, int, int, bytes, bytes, bytes, int, int]
"""One event, a plain tuple for speed: index of the file, offset of the first line, raw bytes of its lines, CRI
time of the first line, stream, content (partials joined, lines of a trace joined by newlines), flags, part.

The time is empty for a line that is not CRI and follows no CRI line; `part` counts from 1 in a split event.
"""


class OpenEvent(NamedTuple):
    """An event that a later line could continue, until `gap` nanoseconds after `last_time`.

    `continuation`: the state for resuming at its first line, if it is a later part of an event that was too long.
    """

    file: int
    offset: int
    last_time: bytes
    gap: int
    stream: bytes
    continuation: Continuation | None
