"""Private keys that were logged line by line: each line is an event, and none but the first and last says what it is.

Pure. A slice may begin or end within a key. What stands between its two edges is hidden; so is, before an end without
a beginning, every line of a key's shape; and, as nothing else is written so, every line that is as long as a key's are.
"""

import re
from collections.abc import Iterable

from pipeline.grouping.event import Event

MARKER = b"PRIVATE KEY"
_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_END = re.compile(rb"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_END_LINE = re.compile(rb"\s*-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----\s*")
_BODY = re.compile(rb"\s*(?:[A-Za-z0-9+/]{1,128}={0,2}|(?:Proc-Type|DEK-Info|Comment|Version): .{0,200})?\s*")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")
_HEX = re.compile(rb"[0-9a-fA-F]+")
FULL_LINE_LENGTHS = (64, 76)  # RFC 7468 and RFC 2045

Position = tuple[int, int]
"""File and offset of an event."""


def is_full_line(content: bytes) -> bool:
    """Whether a line is as long as those of a key, and in base 64; a digest in hexadecimal is none."""
    return (
        len(content) in FULL_LINE_LENGTHS and _BASE64.fullmatch(content) is not None and _HEX.fullmatch(content) is None
    )


def find_key_lines(events: Iterable[Event]) -> frozenset[Position]:
    """The events of a slice that are lines of a key, as far as its edges tell."""
    hidden: set[Position] = set()
    streams: dict[bytes, _StreamState] = {}
    for file, offset, _, _, stream, content, _, _ in events:
        streams.setdefault(stream, _StreamState(hidden)).add((file, offset), content)
    return frozenset(hidden)


class _StreamState:
    """One stream: whether a key is open, and the lines just before that could be of a key begun before the slice."""

    def __init__(self, hidden: set[Position]) -> None:
        self._hidden = hidden
        self._in_key = False
        self._candidates: list[Position] = []

    def add(self, place: Position, content: bytes) -> None:
        """Take the stream's next event."""
        begin = _BEGIN.search(content)
        if begin is not None:
            self._in_key = _END.search(content, begin.end()) is None
            self._candidates = []
        elif _END_LINE.fullmatch(content):
            self._hidden.update(self._candidates)
            self._hidden.add(place)
            self._in_key, self._candidates = False, []
        elif _BODY.fullmatch(content):
            if self._in_key:
                self._hidden.add(place)
            else:
                self._candidates.append(place)
        else:
            self._in_key, self._candidates = False, []
