"""Private keys in PEM that were logged line by line: each line is an event, and only the first and last are marked.

Pure. A slice may begin or end within a key. Hidden are: the lines from the BEGIN marker to the END marker; before an
END without a BEGIN, every line with the characters of a key; and every line of base 64 with the exact length of a key's
lines, as no other text has that form.
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
    """Return whether a line is base 64 with the length of a key's lines; a digest in hexadecimal is not."""
    return (
        len(content) in FULL_LINE_LENGTHS and _BASE64.fullmatch(content) is not None and _HEX.fullmatch(content) is None
    )


def find_key_lines(events: Iterable[Event]) -> frozenset[Position]:
    """Return the events of a slice that are lines of a key, by its BEGIN and END markers."""
    hidden: set[Position] = set()
    streams: dict[bytes, _StreamState] = {}
    for file, offset, _, _, stream, content, _, _ in events:
        streams.setdefault(stream, _StreamState(hidden)).add((file, offset), content)
    return frozenset(hidden)


class _StreamState:
    """One stream: whether a key is open, and the last lines, which may belong to a key that began before the slice."""

    def __init__(self, hidden: set[Position]) -> None:
        self._hidden = hidden
        self._in_key = False
        self._candidates: list[Position] = []

    def add(self, position: Position, content: bytes) -> None:
        """Add the stream's next event."""
        begin = _BEGIN.search(content)
        if begin is not None:
            self._in_key = _END.search(content, begin.end()) is None
            self._candidates = []
        elif _END_LINE.fullmatch(content):
            self._hidden.update(self._candidates)
            self._hidden.add(position)
            self._in_key, self._candidates = False, []
        elif _BODY.fullmatch(content):
            if self._in_key:
                self._hidden.add(position)
            else:
                self._candidates.append(position)
        else:
            self._in_key, self._candidates = False, []
