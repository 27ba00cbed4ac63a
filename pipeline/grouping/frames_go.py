"""Go's stacks without arguments, as zap and `github.com/pkg/errors` print them, and gin's recovery. Pure.

Such a stack has two lines for each call: the function's name, then a tab, the file and the line. The function's line
has no form of its own, so it is joined by the position after it (`message_lines`).
"""

import re
from collections.abc import Callable

STACK = 65  # after a position
GIN = 66  # after gin's `[Recovery] … panic recovered:`; the request may follow
GIN_MESSAGE = 67
GIN_FRAMES = 68

GIN_RECOVERED = b" panic recovered:"
_MAX_FUNCTION_BYTES = 1024
_POSITION = re.compile(rb"\t\S+\.(?:go|s|c):\d+$")
_FUNCTION = re.compile(rb"[A-Za-z_][^\s\"'=:]*\.[^\s\"'=:]+$")
_REQUEST_LINE = re.compile(rb"[A-Z]{3,10} \S.* HTTP/\d|[\w-]{1,100}: ")
_GIN_FRAME = re.compile(rb"\S+:\d+ \(0x[0-9a-f]+\)$")
_END_OF_COLOUR = b"\x1b[0m"


def is_position(content: bytes) -> bool:
    """Return whether a line is a file and a line number, as the second line of a call."""
    return content[:1] == b"\t" and _POSITION.match(content) is not None


def is_function(content: bytes) -> bool:
    """Return whether a line may be the first line of a call: a qualified name."""
    return len(content) <= _MAX_FUNCTION_BYTES and _FUNCTION.match(content) is not None


def is_request_line(content: bytes) -> bool:
    """Return whether a line may be of the head of an HTTP request."""
    return _REQUEST_LINE.match(content) is not None


def is_gin_line(content: bytes) -> bool:
    """Return whether a line is a position of gin's recovery, or ends the request before it."""
    return content == b"\r" or (content[-1:] == b")" and _GIN_FRAME.match(content) is not None)


def _stack(_: bytes) -> int:
    return 0


def _gin(content: bytes) -> int:
    if content in (b"", b"\r") or _REQUEST_LINE.match(content):  # the request's lines end as HTTP's do
        return GIN
    return 0 if content[0] in b"{[0123456789" else GIN_MESSAGE


def _gin_message(content: bytes) -> int:
    return GIN_FRAMES if _GIN_FRAME.match(content) else 0


def _gin_frames(content: bytes) -> int:
    return GIN_FRAMES if content[:1] == b"\t" or content == _END_OF_COLOUR or _GIN_FRAME.match(content) else 0


TRANSITIONS: dict[int, Callable[[bytes], int]] = {
    STACK: _stack,
    GIN: _gin,
    GIN_MESSAGE: _gin_message,
    GIN_FRAMES: _gin_frames,
}
