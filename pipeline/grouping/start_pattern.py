"""A pattern of the users' own that says which line begins an event: RE2, so its time is linear in the line. Pure."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

MAX_LENGTH = 1000
_MAX_MEMORY = 1 << 20  # bytes, of one compiled pattern

StartMatcher = Callable[[bytes], Any]
"""True for a content that begins an event."""


@lru_cache(maxsize=128)
def compile_start_pattern(pattern: str) -> StartMatcher:
    """The test of a pattern; it may match anywhere in the line. Raises ValueError that says what is wrong with it."""
    # Loaded only where a pattern is in use: a shipper without one saves the memory.
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
    except re2.error as fault:
        raise ValueError(f"pattern {pattern!r}: {_message(fault)}") from fault
    return search


def _message(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
