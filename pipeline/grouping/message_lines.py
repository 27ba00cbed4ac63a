"""Lines that belong to a trace because of a later line: an exception's message may have lines of any shape. Pure.

A frame proves that the lines before it, back to the exception's class, are its message. So are the other lines here
proven by the line after them: the log line and the blank before an exception (Spring Boot), the source line before a
caret (Node), the functions of a Go stack without arguments, the fields of a pydantic error. The search goes back at
most `MAX_LINES` lines, and ends at a line that looks like the beginning of a log line; where nothing is proven, nothing
is joined.
"""

import re
from collections.abc import Sequence

from pipeline.grouping import frames, frames_go, frames_python

MAX_LINES = 24
"""Lines between the beginning of the message and the line that proves it."""
MAX_LINE_BYTES = 4096

AT_FRAME = re.compile(rb"[ \t]+at [^ ].*[(:<]|[ \t]+at async |[ \t]+at [\w$./]+$")
_CLASS = (
    rb"(?:[\w$]++[.\\])*+(?=[A-Z])[\w$+]*(?:Exception|Error|Throwable|Failure)(?:\$[A-Z]\w*)?(?: \(\w+\)| \[\w+\])?"
)
EXCEPTION_FIRST = re.compile(rb"%b(?::|$)" % _CLASS)
_NAMES_EXCEPTION = re.compile(rb"(?:^|[\s(:>\[])%b(?::|$)" % _CLASS)
_NAMED_ANYWHERE = re.compile(rb"(?:^|[\s(:>\[])(?:[\w$]++[.\\])*+[A-Z][\w$]*: ")
_CLASS_ENDINGS = (b"Exception", b"Error", b"Throwable", b"Failure")
_PROVEN_CLASS = (b"Caused by: ", b"Exception in thread ", b"Wrapped by: ")
_LOG_LINE = re.compile(
    rb"[\[(<|]?(?:TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|FATAL|CRITICAL|SEVERE|FINE|CONFIG|LOG)\b"
    rb"|(?:trace|debug|info|notice|warn|warning|error|fatal|fail|crit|dbug|trce|http|verbose): "
    rb"|[\w.@-]{1,40}=|[DIWEF]\d{4} |[DIWEFC], \[|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d|\x1b"
)
_PHP_PROOFS = (b"Stack trace:", b"[stacktrace]")
_PHP_HEADS = (b"Uncaught ", b"exception '", b"[object] (")
_RUST_PROOFS = (b"note: ", b"stack backtrace:", b"Stack backtrace:", b"Caused by:")
_SQL_PROOFS = (b"[parameters: ", b"(Background on this error at: ")
_PYTHON_PROOFS = (*_SQL_PROOFS, b"During handling of the above exc", b"The above exception was the dire")
_RAILS_HEAD = re.compile(rb"((?:\[[\w.:@-]{1,100}\] )+)[A-Z][\w:]* \(.*\):$")
_RUST_CAUSES = (b"Caused by:", b"Location:", b"Stack backtrace:")
_CARET = re.compile(rb"[ \t]*\^+$")
_THROWN_VALUE = b"(Use `node --trace-uncaught"
_FIELD = re.compile(rb"[\w\[\]{}(),.`'\" -]+$")
_FIELD_ERROR = re.compile(rb" +\S.*\[type=| +\S.*\(type=")

SUSPECT_STARTS = frozenset((b"^", b"^^", b"(U", b"[p", b"(B"))
"""First two bytes of lines that prove, besides those of a trace's second line."""


def is_text(content: bytes) -> bool:
    """Return whether a line may be within a message: not one that begins like a log line, nor a frame."""
    return (
        len(content) <= MAX_LINE_BYTES
        and frames.CERTAIN_START.match(content) is None
        and _LOG_LINE.match(content) is None
        and AT_FRAME.match(content) is None
    )


def may_prove(content: bytes) -> bool:
    """Return whether the line may prove that lines before it belong to a trace."""
    first = content[:1]
    if first == b"[":
        return content.startswith(b"[parameters: ") or content == b"[stacktrace]" or is_rails_head(content)
    if first in (b" ", b"\t"):
        return (
            AT_FRAME.match(content) is not None
            or frames_go.is_position(content)
            or _CARET.match(content) is not None
            or _FIELD_ERROR.match(content) is not None
        )
    return content.startswith((*_PHP_PROOFS, *_RUST_PROOFS, *_PYTHON_PROOFS, _THROWN_VALUE, b"^"))


def resume(state: int, last: bytes, text: Sequence[bytes], content: bytes) -> int:
    """Return the state after `content`, which proves that `text` continues a trace; 0 if it does not.

    `state`: after the trace's last line, `last`, which may be its only one; `text`: the lines between, the last first.
    """
    if frames_go.is_position(content):
        return frames_go.STACK if _is_go_stack(state, text) else 0
    if not text:
        return _tagged(last, content)
    if AT_FRAME.match(content):
        keeps_state = state in (frames.TITLED, frames.NODE)
        return frames.TRANSITIONS[state if keeps_state else frames.BODY](content) if names_exception(last) else 0
    if content.startswith(_PHP_PROOFS):
        return frames.NUMBERED if any(head in last for head in _PHP_HEADS) else 0
    if content.startswith(_RUST_PROOFS):
        return _resume_rust(state, text, content)
    if content.startswith(_PYTHON_PROOFS):
        return _resume_python(state, last, content)
    return _resume_after_line(state, last, text[0], content) if len(text) == 1 else 0


def _is_go_stack(state: int, text: Sequence[bytes]) -> bool:
    """Return whether the lines before a position are a function and, before it, the rest of the stack or its title."""
    if not text or not frames_go.is_function(text[0]):
        return False
    if state == frames_go.STACK:
        return True
    return len(text) == 1 and state in (frames.HEAD, frames.LOGGED, frames.THROWN, frames.ERROR_LINE)


def _resume_rust(state: int, text: Sequence[bytes], content: bytes) -> int:
    """After the message of a panic; and anyhow's causes after a log line and a blank one."""
    if state == frames.RUST_MESSAGE:
        return frames.RUST_CAUSES if content in _RUST_CAUSES else frames.RUST_TEXT
    return frames.CAUSES if state == frames.LOGGED and content in _RUST_CAUSES and [*text] == [b""] else 0


def _resume_python(state: int, last: bytes, content: bytes) -> int:
    """After a statement that SQLAlchemy prints, or a message before the next traceback of a chain."""
    if state != frames_python.PYTHON_END:
        return 0
    if content.startswith(_SQL_PROOFS):
        return frames_python.PYTHON_END if last.startswith(b"[SQL: ") else 0
    return frames_python.PYTHON_CHAIN if names_exception(last) else 0


def _resume_after_line(state: int, last: bytes, line: bytes, content: bytes) -> int:
    """After one line: a field of pydantic's, a value that Node's program threw, Node's source line."""
    if _FIELD_ERROR.match(content):
        is_field = any(part in last for part in _FIELD_BEGINNINGS) and _FIELD.match(line)
        return frames_python.PYTHON_FIELDS if is_field else 0
    if content.startswith(_THROWN_VALUE):
        return frames.NODE if state == frames.SOURCE and _CARET.match(last) else 0
    return frames.SOURCE if state == frames.LOCATION and _CARET.match(content) else 0


def is_rails_head(content: bytes) -> bool:
    """Return whether a line has Rails' tags and an exception."""
    return content[-2:] == b"):" and _RAILS_HEAD.match(content) is not None


def _tagged(last: bytes, content: bytes) -> int:
    """Rails' exception after its first line, which has the tags alone."""
    head = _RAILS_HEAD.match(content)
    return frames.RAILS_TAGGED if head and b" FATAL -- : " in last and last.rstrip().endswith(head[1].rstrip()) else 0


def names_exception(content: bytes) -> bool:
    """Return whether a line has the class of an exception where its message may follow."""
    if any(ending in content for ending in _CLASS_ENDINGS) and _NAMES_EXCEPTION.search(content) is not None:
        return True
    line = content.lstrip()
    return line.startswith(_PROVEN_CLASS) and _NAMED_ANYWHERE.search(line) is not None


def may_begin(content: bytes) -> bool:
    """Return whether text after this line may belong to a trace: at least wherever `resume` may accept it."""
    if content[:1] == b"{":
        return False
    return (  # a line within the message of a panic may have any form, but the line before it does not
        names_exception(content)
        or content.startswith((b"[SQL: ", b"thread '"))
        or frames_go.is_position(content)
        or _CARET.match(content) is not None
        or _FIELD_ERROR.match(content) is not None
        or any(part in content for part in _BEGINNINGS)
        or frames.is_location(content)
    )


_FIELD_BEGINNINGS = (b" validation error", b"errors.pydantic.dev", b"[type=", b"(type=")
_BEGINNINGS = (*_PHP_HEADS, *_FIELD_BEGINNINGS)
