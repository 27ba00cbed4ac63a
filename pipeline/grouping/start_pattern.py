"""A user's pattern for the first line of an event: RE2, so its time is linear in the length of the line. Pure."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

MAX_LENGTH = 1000
_MAX_MEMORY = 1 << 20  # bytes, for one compiled pattern

StartMatcher = Callable[[bytes], Any]
"""Returns a true value for a content that begins an event."""


@lru_cache(maxsize=128)
def compile_start_pattern(pattern: str) -> StartMatcher:
    """Compile a pattern, which may match anywhere in the line. Raises ValueError with the problem of an invalid one."""
    # Imported only if a pattern is in use: a shipper without one saves the memory.
    import re2

    if not pattern:
        raise ValueError("the pattern is empty")
    if len(pattern) > MAX_LENGTH:
        raise ValueError(f"the pattern has {len(pattern)} characters, at most {MAX_LENGTH}")
    options = re2.Options()
    options.max_mem = _MAX_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        search: StartMatcher = re2.compile(pattern, options).search
    except re2.error as error:
        raise ValueError(f"pattern {pattern!r}: {_message(error)}") from error
    return search


def _message(error: Exception) -> str:
    message = error.args[0] if error.args else error
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
