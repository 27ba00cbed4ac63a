"""The grammar of stack traces: which line continues one, by content alone. Pure, linear in the length of a line.

A trace is recognised by its first line and the shape of the next: a line that reports an error is one event, until
a frame follows. Languages: Java and other JVM languages (nested causes, suppressed, elided), Python (chained, groups,
syntax errors, fatal errors), Go (panics, fatal errors, goroutines), JavaScript, C#/.NET (also its two-line console
format), Ruby and Rails, PHP (also Monolog's traces), Dart, Rust, Elixir, Lua, Perl. `frames` defines the later lines.

Whether a line begins a trace is decided late: only when a possible second line (`may_continue`) or the end of a slice
follows. A line that ends with a colon (`Traceback …:`, `Unhandled exception:`), or is the header of a record of
java.util.logging (it begins with a month's name), is decided at once (`decides_at_once`), since any line may follow.
"""

import re

from pipeline.grouping import frames, frames_go, frames_java, frames_python, message_lines
from pipeline.grouping.frames_python import GROUP_TRACEBACK, TRACEBACK

OPENING_BYTE = b":"
"""The last byte of a line after which any line may follow."""

_CLASS_STARTS = frozenset(b"ja or co ne io ko sc de ak gr fe jd Sy Mi".split())  # java., org. … of a class's name
SECOND_LINE_STARTS: frozenset[bytes] = frozenset(
    [
        *message_lines.SUSPECT_STARTS,
        *(
            b"! ",
            b'"s',
            b'"e',
            b"Em",
            b"",
            b" ",
            b"\t",
            b"Ca",
            b"--",
            b"St",
            b"[s",
            b"go",
            b"**",
            b"no",
            b"PC",
            b"fu",
            b"PH",
        ),
        *_CLASS_STARTS,
        *(b"#%d" % digit for digit in range(10)),
        *(first + bytes((byte,)) for first in (b" ", b"\t", b"/") for byte in range(256)),
    ]
)
"""The first two bytes that a second line of a trace can have."""

SUSPECT_STARTS = SECOND_LINE_STARTS | frames_java.MONTHS
"""Those, and the first two bytes of lines that are decided at once."""

_CONTINUATION_STARTS = SECOND_LINE_STARTS | frozenset(
    [
        *b"( [p [U ^ } Su Du Th Tr cr .. ex st ru <a Ne No Re Fo Cu Py Ex Lo Wr [p JN He Ja ==".split(),
        *(b'"' + bytes((byte,)) for byte in range(256)),
    ]
)
_SECOND_LINES = frozenset((TRACEBACK, frames_python.STACK, b"stack traceback:"))
_LOGGED = re.compile(
    rb"(?:^|[\s\[|:(]|\x1b\[[\d;]{0,20}m)(?:ERROR|WARN(?:ING)?|FATAL|SEVERE|CRITICAL|ERR|FTL)(?:[\s\]|:,)/\x1b]|$)"
    rb"|\t(?:error|dpanic|panic|fatal)\t"
    rb"|\[(?:error|critical|exception) *\]|\blevel=(?:error|fatal|critical)\b"
)
_LEVEL_MAX_OFFSET = 160
_ERROR_STARTS = (
    b"--- Logging error ---",
    b"Exception in ",
    b"Exception ignored in",
    b"Unhandled exception in ",
    b"Internal Server Error: ",
)
_CONSOLE = re.compile(
    rb"[\d\-/:.,T \[\]ZAPM+]{0,40}(?:\x1b\[[\d;]{0,20}m)*(?:fail|crit|warn|info|dbug|trce)"
    rb"(?:\x1b\[[\d;]{0,20}m)*: \S.*\[\d+\]$"
)
_INDENTED = re.compile(
    rb"\[[DIWEC] \d{6} \d\d:\d\d:\d\d \S+:\d+\] "
    rb"|\[(?:[\d-]{10} )?[\d:]{8}\.\d{3}(?: [+-]\d{4})?\] [A-Z]{4,5} \([^()]{1,200}\): "
    rb"|\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [A-Z]+ +[\w:]+\] "
)
"""The heads of Tornado, pino-pretty and env_logger, which indent the further lines of a message."""
_KLOG_BLOCK = re.compile(rb"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d{6} .{1,2000}=<$")
_HCLOG = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d{4}) \[[A-Z]{4,5}\] ")
_PERL = re.compile(rb".{1,400} at \S{1,200} line \d{1,9}\.$")
_ERROR_PREFILTER = re.compile(
    rb"xception|rror|Throwable|ailure|k trace|ERR|WARN|FATAL|SEVERE|CRITICAL|Unhandled|Uncaught|FTL|critical|fatal"
    rb"|failed|panic"
)
"""A fast prefilter: it matches every line that `frames.ERROR_WORDS`, `_LOGGED` or `_PANIC` matches."""
_PANIC = re.compile(rb"\bpanic: |: panic serving ")
_SIGNAL = re.compile(rb"SIG[A-Z]{3,4}: ")
_OBJECT = re.compile(rb"\[?(?:Unhandled\w+|Uncaught|[A-Z]\w{0,60}Error)\b.{0,2000} \{$")


def decides_at_once(content: bytes) -> bool:
    """Return whether any line may follow this one, so that its state is decided at once."""
    return content[-1:] == OPENING_BYTE or frames_java.is_record_header(content)


def start_state(content: bytes) -> int:
    """Return the state after the first line of a trace; 0 if the line cannot be one."""
    first = content[:1]
    if first == b"{":
        return frames.JSON_OPEN if content.rstrip().endswith(b",") else 0
    if content.startswith(b'  File "'):  # a syntax error has no traceback before it
        return frames_python.PYTHON if b", in " not in content else frames_python.PYTHON_STACK
    if _INDENTED.match(content):
        return frames.INDENTED
    if content[-1:] == b"<" and _KLOG_BLOCK.match(content):
        return frames.KLOG_BLOCK
    if _HCLOG.match(content):
        return frames.HCLOG
    if content.endswith(b":"):
        state = _colon_line_state(content)
        if state:
            return state
    elif frames_java.is_record_header(content):
        return frames_java.RECORD
    may_be_error = _ERROR_PREFILTER.search(content) is not None
    return _crash_state(content, may_be_error=may_be_error) or _error_line_state(content, may_be_error=may_be_error)


def _colon_line_state(content: bytes) -> int:
    """The state after a line that ends with a colon."""
    if content.endswith(TRACEBACK):
        return frames_python.PYTHON if content != GROUP_TRACEBACK else frames_python.PYTHON_END
    if content == frames_python.STACK:
        return frames_python.PYTHON_STACK
    if content.endswith(frames_go.GIN_RECOVERED) and b"[Recovery]" in content:
        return frames_go.GIN
    if message_lines.is_rails_head(content):
        return frames.RAILS_TAGGED
    if content == b"Unhandled exception:":
        return frames.DART
    if content.startswith(frames_java.THREAD_DUMP):
        return frames_java.DUMP
    if frames.GOROUTINE.match(content):
        return frames.GO_FRAMES
    return frames.RUST if content.startswith(b"thread '") and b" panicked at " in content else 0


def _crash_state(content: bytes, *, may_be_error: bool) -> int:
    """The state after a line that a crashing program prints."""
    if content.startswith(b"fatal error: ") or (may_be_error and _PANIC.search(content)):
        return frames.GO_PANIC
    if content.startswith(b"Fatal Python error: "):
        return frames_python.PYTHON_FATAL
    if content.startswith(b"thread '") and b" panicked at '" in content:
        return frames.RUST_TEXT  # before Rust 1.73
    if content.startswith(b"** ("):
        return frames.ELIXIR
    return frames.GO_SIGNAL if _SIGNAL.match(content) else 0


def _error_line_state(content: bytes, *, may_be_error: bool) -> int:
    """The state after a line that reports an error."""
    if content.endswith(b" exception was never retrieved"):
        return frames_python.PYTHON_TASK
    if _CONSOLE.match(content):
        return frames.CONSOLE
    if frames.is_location(content):
        return frames.LOCATION
    if frames.is_ruby_crash(content):
        return frames.RUBY_CRASH
    if content.endswith(b" {") and _OBJECT.match(content):
        return frames.OBJECT
    if frames.ERROR_CLASS.match(content):
        return frames.THROWN
    if content.startswith(_ERROR_STARTS) or (may_be_error and _LOGGED.search(content, 0, _LEVEL_MAX_OFFSET)):
        return frames.LOGGED
    if content.startswith(b"Error: "):
        return frames.ERROR_LINE
    if may_be_error and frames.ERROR_WORDS.search(content):
        return frames.HEAD
    return frames.HEAD if content.startswith((b"lua: ", b"PHP ", b"Trace: ")) or _PERL.match(content) else 0


def may_continue(content: bytes) -> bool:
    """Return whether this can be the second line of a trace whose first line is undecided."""
    return content[:2] in SECOND_LINE_STARTS or content in _SECOND_LINES or message_lines.may_prove(content)


def certainly_starts_event(previous: bytes, content: bytes) -> bool:
    """Return whether `content` certainly begins an event; `previous` is the line before it on its stream.

    It may still be within an exception's message, if a line before it begins one: `message_lines.may_begin`. Otherwise
    a line of any shape may continue a trace only after a blank or indented line, or one that ends with a colon; a Java
    frame is followed by lines of known shapes only, and Go's functions and registers by others of their kind.
    """
    if content[:2] in _CONTINUATION_STARTS or content.endswith(TRACEBACK) or frames_python.is_error_detail(content):
        return False
    if frames.RUBY_FRAME.match(content) or (
        frames_java.is_record_header(previous) and frames_java.is_record_text(content)
    ):
        return False
    if message_lines.EXCEPTION_FIRST.match(content) or frames_go.is_function(content) or frames_go.is_gin_line(content):
        return False
    if frames.is_elixir_detail(content):
        return False
    if frames.is_rails_tagged(content) or message_lines.is_rails_head(content) or content.startswith(frames.BODY_LINES):
        return False
    if frames.CERTAIN_START.match(content):
        return True
    if frames_go.is_request_line(content) and frames_go.is_request_line(previous):
        return False
    if previous in (b"", b"\r") or frames_python.is_indented_text(previous) or previous.endswith(b":"):
        return False
    if frames.GO_FUNCTION.match(previous) and frames.GO_FUNCTION.match(content):
        return False
    return not previous.startswith(b"FormatException")


def next_state(state: int, content: bytes) -> int:
    """Return the state after `content` if it continues a trace in `state`; else 0."""
    return frames.TRANSITIONS[state](content)


STATES = tuple(frames.TRANSITIONS)
"""Every state of the grammar."""
PATTERN_EVENT = 90  # within an event of a user's pattern, outside the grammar
CONTINUATION_STATES = frozenset({0, PATTERN_EVENT, *STATES})
"""Valid states of a `Continuation`: how a later part of an event that was too long may begin."""
