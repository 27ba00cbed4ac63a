"""Errors that loggers write as JSON: stack traces that are lists, objects per frame, or within another field. Pure.

Flattened, the frames of a trace are one list per name (`thrown.extendedStackTrace.class`, `….method`). They become the
text that the runtime prints for them, so that one field has the stack trace of every logger.
"""

from itertools import zip_longest
from typing import NamedTuple

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import exception
from pipeline.parsing.exception import STACK_TRACE

LISTS = (
    "stacktrace",
    "stack_trace",
    "stackTrace",
    "stackTraceAsArray",
    "exception",
    "stack",
    "error.stack_trace",
    "err.stack",
    "error.stack",
)
"""Names of a stack trace that is a list of lines."""


class _Frames(NamedTuple):
    """Where a logger writes the frames of an error: the names of class, method, file and line."""

    class_name: str
    method: str
    file: str
    line: str


_JAVA_FRAMES = (
    _Frames(*(f"thrown.extendedStackTrace.{name}" for name in ("class", "method", "file", "line"))),  # Log4j
    _Frames(
        *(f"throwable.stepArray.{name}" for name in ("className", "methodName", "fileName", "lineNumber"))
    ),  # Logback
    _Frames(*(f"exception.frames.{name}" for name in ("class", "method", "file", "line"))),  # JBoss, Quarkus
)
_STRUCTLOG_TYPE = "exception.exc_type"
_NAMES = frozenset((_STRUCTLOG_TYPE, *(frames.class_name for frames in _JAVA_FRAMES)))


def has_error_object(names: tuple[str, ...]) -> bool:
    """Return whether one of the names is that of an error's frames."""
    return not _NAMES.isdisjoint(names)


def derive_error(fields: JsonObject) -> bool:
    """Add to the fields of a JSON object what its stack trace contains; return whether a field changed."""
    before = len(fields)
    is_changed = False
    for name in LISTS:
        lines = fields.get(name)
        if type(lines) is list and all(type(line) is str for line in lines):
            if name != STACK_TRACE and STACK_TRACE in fields:
                continue
            del fields[name]
            fields[STACK_TRACE] = "\n".join(lines)
            is_changed = True
    _add_structlog_error(fields)
    _add_java_frames(fields)
    stack = fields.get(STACK_TRACE)
    if type(stack) is str and (error := exception.from_stack(stack)) is not None:
        exception.add_error(fields, error)
    return is_changed or len(fields) != before


def _add_structlog_error(fields: JsonObject) -> None:
    """Add the first of structlog's exceptions, which are objects; flattened, each field is a list."""
    types, values = fields.get(_STRUCTLOG_TYPE), fields.get("exception.exc_value")
    if not (type(types) is list and type(values) is list and types and values and type(types[0]) is str):
        return
    exception.add_error(fields, (types[0], str(values[0])))
    frames = [fields.get(f"exception.frames.{name}") for name in ("filename", "lineno", "name")]
    columns = [column for column in frames if isinstance(column, list)]
    calls = zip(*columns, strict=False) if len(columns) == len(frames) else ()
    lines = [f'  File "{file}", line {number}, in {name}' for file, number, name in calls]
    text = ["Traceback (most recent call last):", *lines, f"{types[0]}: {values[0]}"]
    fields.setdefault(STACK_TRACE, "\n".join(text))


def _add_java_frames(fields: JsonObject) -> None:
    """Add the stack trace of a JVM's logger that writes an object per frame, as the JVM prints it."""
    for frames in _JAVA_FRAMES:
        classes, methods = fields.get(frames.class_name), fields.get(frames.method)
        if not (isinstance(classes, list) and isinstance(methods, list) and len(classes) == len(methods)):
            continue
        kind, message = fields.get("error.type"), fields.get("error.message")
        title = ": ".join(text for text in (kind, message) if isinstance(text, str))
        calls = zip(classes, methods, _positions(fields, frames, len(classes)), strict=True)
        lines = [f"\tat {name}.{method}({position})" for name, method, position in calls]
        fields.setdefault(STACK_TRACE, "\n".join([title, *lines]))


def _positions(fields: JsonObject, frames: _Frames, count: int) -> list[str]:
    """File and line of each frame; a frame without one has no value in its list, so that a short list is of no use."""
    columns = [
        column if isinstance(column, list) and len(column) == count else []
        for column in (fields.get(frames.file), fields.get(frames.line))
    ]
    pairs = zip_longest(*columns)
    positions = [f"{file or 'Unknown Source'}{'' if line is None else f':{line}'}" for file, line in pairs]
    return positions or ["Unknown Source"] * count
