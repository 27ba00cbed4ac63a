"""The lines that may follow within a Python traceback: states and their transitions. Pure.

Chained errors, exception groups, fatal errors of the interpreter, asyncio's exceptions that were never retrieved; the
statement and parameters that SQLAlchemy prints after the error, and PostgreSQL's details.
"""

import re
from collections.abc import Callable

PYTHON = 10
PYTHON_END = 11
PYTHON_CHAIN = 12
PYTHON_FATAL = 13  # a fatal error of the interpreter
PYTHON_FIELDS = 73  # after pydantic's error, or a line on one of its fields
PYTHON_STACK = 74  # a stack without an error, as `traceback.print_stack` prints it
PYTHON_SPACED = 75  # loguru's traceback, with blank lines between the frames
PYTHON_CALLS = 76  # `Call stack:` of an error within logging itself
PYTHON_TASK = 18  # asyncio prints the task before the traceback

TRACEBACK = b"Traceback (most recent call last):"
STACK = b"Stack (most recent call last):"
GROUP_TRACEBACK = b"  + Exception Group " + TRACEBACK
ERROR_NAME = re.compile(
    rb"(?!(?:DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL|TRACE)\b)[A-Za-z_](?:[\w.]|<locals>)*(?::|$)"
)
_JAVA_FRAME = b"\tat "
_ERROR_DETAILS = (b"[SQL: ", b"[parameters: ", b"(Background on this error at: ", b"DETAIL:  ", b"HINT:  ", b"LINE ")
_CRASH_DUMP_STARTS = (b"Current thread 0x", b"Thread 0x", b"Python runtime state: ", b"Extension modules: ")


def is_indented_text(content: bytes) -> bool:
    """Return whether a line is indented and not a Java frame: a Java frame belongs to no other language's trace."""
    return content[:1] in (b" ", b"\t") and not content.startswith(_JAVA_FRAME)


def is_error_detail(content: bytes) -> bool:
    """Return whether an unindented line may be a detail after an error's message."""
    return content.startswith(_ERROR_DETAILS)


def traceback_state(content: bytes) -> int:
    """Return the state after the first line of a traceback; 0 for any other line."""
    if content == TRACEBACK:
        return PYTHON
    if content == STACK:
        return PYTHON_STACK
    return PYTHON_END if content == GROUP_TRACEBACK else 0


def _frames(content: bytes) -> int:
    if is_indented_text(content):
        return PYTHON if content != GROUP_TRACEBACK else 0
    return PYTHON_SPACED if not content else _error(content)


def _error(content: bytes) -> int:
    if not ERROR_NAME.match(content):
        return 0
    return PYTHON_FIELDS if b" validation error" in content else PYTHON_END


def _spaced(content: bytes) -> int:
    if not content or is_indented_text(content) or content.startswith(b'> File "'):
        return PYTHON_SPACED
    return _error(content)


def _fields(content: bytes) -> int:
    return PYTHON_FIELDS if is_indented_text(content) else _end(content)


def _stack(content: bytes) -> int:
    return PYTHON_STACK if is_indented_text(content) else 0


def _calls(content: bytes) -> int:
    is_call = is_indented_text(content) or content.startswith((b"Message: ", b"Arguments: "))
    return PYTHON_CALLS if is_call else 0


def _end(content: bytes) -> int:
    if is_indented_text(content):
        return 0 if content == GROUP_TRACEBACK or content.startswith(b'  File "') else PYTHON_END
    if content.startswith((b"During handling of the above exc", b"The above exception was the dire")):
        return PYTHON_CHAIN
    if content == b"Call stack:":
        return PYTHON_CALLS
    if content == STACK:
        return PYTHON_STACK
    return 0 if content and not is_error_detail(content) else PYTHON_END


def _chain(content: bytes) -> int:
    return traceback_state(content) if content else PYTHON_CHAIN


def _fatal(content: bytes) -> int:
    return PYTHON_FATAL if not content or is_indented_text(content) or content.startswith(_CRASH_DUMP_STARTS) else 0


def _task(content: bytes) -> int:
    return PYTHON_TASK if content.startswith(b"future: <") else traceback_state(content)


TRANSITIONS: dict[int, Callable[[bytes], int]] = {
    PYTHON: _frames,
    PYTHON_END: _end,
    PYTHON_CHAIN: _chain,
    PYTHON_FATAL: _fatal,
    PYTHON_TASK: _task,
    PYTHON_FIELDS: _fields,
    PYTHON_STACK: _stack,
    PYTHON_SPACED: _spaced,
    PYTHON_CALLS: _calls,
}
