"""Output of the JVM and of `java.util.logging` that has several lines: states and transitions. Pure.

`java.util.logging` writes time and source on one line, level and message on the next. A full thread dump, as on
`SIGQUIT`, is one event.
"""

import re
from collections.abc import Callable

RECORD = 63  # after the header of a record of java.util.logging
DUMP = 64

MONTHS: frozenset[bytes] = frozenset(b"Ja Fe Ma Ap Ju Au Se Oc No De".split())
"""The first two bytes of a record's header."""
THREAD_DUMP = b"Full thread dump "

# JDK 20 and later have a narrow blank before AM and PM.
_HEADER = re.compile(
    rb"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d(?: |\xe2\x80\xaf)[AP]M (?:[\w$]+\.)*[\w$]+(?: [\w$<>]+)?$"
)
_LEVEL = re.compile(rb"(?:SEVERE|WARNING|INFO|CONFIG|FINE|FINER|FINEST): ")
_DUMP_LINE_STARTS = (b'"', b"JNI global ref", b"Found ", b"=====", b"Java stack information ", b"Heap")


def is_record_header(content: bytes) -> bool:
    """Return whether a line is the first of a record of java.util.logging."""
    return content[:2] in MONTHS and _HEADER.match(content) is not None


def is_record_text(content: bytes) -> bool:
    """Return whether a line is the second of a record of java.util.logging."""
    return _LEVEL.match(content) is not None


def _dump(content: bytes) -> int:
    return DUMP if content[:1] in (b"", b" ", b"\t") or content.startswith(_DUMP_LINE_STARTS) else 0


TRANSITIONS: dict[int, Callable[[bytes], int]] = {DUMP: _dump}
