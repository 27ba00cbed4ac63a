"""Private keys that were logged line by line: each line is an event, and none but the first and last says what it is.

Pure. A slice may begin or end within a key. What stands between its two edges is hidden; so is, before an end without
a beginning, every line of a key's shape; and, as nothing else is written so, every line that is as long as a key's are.
"""

import re
from collections.abc import Iterable

from pipeline.grouping.event import Event

EDGE = b"PRIVATE KEY"
_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_END_LINE = re.compile(rb"\s*-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----\s*")
_BODY = re.compile(rb"\s*(?:[A-Za-z0-9+/]{1,128}={0,2}|(?:Proc-Type|DEK-Info|Comment|Version): .{0,200})?\s*")
_FULL = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_HEX = re.compile(rb"[0-9a-fA-F]+")
FULL_LENGTHS = (64, 76)  # RFC 7468 and RFC 2045

Place = tuple[int, int]
"""File and offset of an event."""


def is_full_line(content: bytes) -> bool:
    """Whether a line is as long as those of a key, and in base 64; a digest in hexadecimal is none."""
    return len(content) in FULL_LENGTHS and _FULL.fullmatch(content) is not None and _HEX.fullmatch(content) is None


def lines(events: Iterable[Event]) -> frozenset[Place]:
    """The events of a slice that are lines of a key, as far as its edges tell."""
    hidden: set[Place] = set()
    streams: dict[bytes, _Stream] = {}
    for file, offset, _, _, stream, content, _, _ in events:
        streams.setdefault(stream, _Stream(hidden)).take((file, offset), content)
    return frozenset(hidden)


class _Stream:
    """One stream: whether a key is open, and the lines just before that could be of a key begun before the slice."""

    def __init__(self, hidden: set[Place]) -> None:
        self._hidden = hidden
        self._open = False
        self._before: list[Place] = []

    def take(self, place: Place, content: bytes) -> None:
        """Take the stream's next event."""
        begin = _BEGIN.search(content)
        if begin is not None:
            self._open = _END.search(content, begin.end()) is None
            self._before = []
        elif _END_LINE.fullmatch(content):
            self._hidden.update(self._before)
            self._hidden.add(place)
            self._open, self._before = False, []
        elif _BODY.fullmatch(content):
            if self._open:
                self._hidden.add(place)
            else:
                self._before.append(place)
        else:
            self._open, self._before = False, []
