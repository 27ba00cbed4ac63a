"""What a Java machine and its own logger write on more than one line: states, and their steps. Pure.

`java.util.logging` puts time and place on a line of their own, level and message on the next. A dump of all threads,
as `SIGQUIT` brings it, is a page.
"""

import re
from collections.abc import Callable

RECORD = 63  # behind the first line of a record
DUMP = 64

MONTHS: frozenset[bytes] = frozenset(b"Ja Fe Ma Ap Ju Au Se Oc No De".split())
"""The first two bytes of a record."""
THREAD_DUMP = b"Full thread dump "

# JDK 20 and later have a narrow blank before AM and PM.
_HEADER = re.compile(
    rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d(?: |\xe2\x80\xaf)[AP]M (?:[\w$]+\.)*[\w$]+(?: [\w$<>]+)?$"
)
_LEVEL = re.compile(rb"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ")
_DUMP_LINE_STARTS = (b'"', b"JNI global ref", b"Found ", b"=====", b"Java stack information ", b"Heap")


def is_record_header(content: bytes) -> bool:
    """Whether a line is the first of a record."""
    return content[:2] in MONTHS and _HEADER.match(content) is not None


def is_record_text(content: bytes) -> bool:
    """Whether a line is the second of a record."""
    return _LEVEL.match(content) is not None


def _dump(content: bytes) -> int:
    return DUMP if content[:1] in (b"", b" ", b"\t") or content.startswith(_DUMP_LINE_STARTS) else 0


TRANSITIONS: dict[int, Callable[[bytes], int]] = {DUMP: _dump}
