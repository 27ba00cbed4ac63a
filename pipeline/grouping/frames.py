"""The lines that may follow within a stack trace, by language: states and their transitions. Pure.

A state is a small number, 0 the end. `stack_trace` defines how a trace begins, `message_lines` which lines only a later
one proves to be of a trace. A line of any other shape may continue a trace only after a blank or indented line, a line
that ends with a colon, or Dart's `FormatException`: `stack_trace.certainly_starts_event` relies on it. Python's states
are in `frames_python`, Go's stacks without arguments in `frames_go`, the JVM's own output in `frames_java`. A function
`_head`, `_body`, … returns the state after a line in the state of that name.
"""

import re
from collections.abc import Callable

from pipeline.grouping import frames_go, frames_java, frames_python
from pipeline.grouping.frames_python import is_indented_text

HEAD = 1  # a line that reports an error; a frame may follow
BODY = 2  # within the frames of Java, JavaScript, C#, Ruby
RAILS = 3  # within Rails' frames
NESTED = 4  # after `nested exception is:`
OBJECT = 5  # within the object that Node prints after the frames
NESTED_TEXT = 6
LOCATION = 7  # Node prints the location first, then the source line
LOGGED = 8  # a log line of level warning or above; the error's class may follow, then its frames
SOURCE = 9
THROWN = 14  # the line begins with the error's class; its text may continue indented
NODE = 15  # the frames after a source line, until Node prints its version
ERROR_LINE = 16  # `Error: …`, as Rust's main and JavaScript print it; a cause may follow after a blank line
CAUSES = 17
RUBY = 19  # the frames after a line of Ruby's logger, not indented
GO_PANIC = 20
GO_BLANK = 21
GO_FRAMES = 22
GO_SIGNAL = 23
INNER = 24  # after one of the errors within a .NET AggregateException
NUMBERED = 31  # frames of PHP and Dart: #0, #1, …
MAIN = 32  # after PHP's last frame; a blank line and the next error of the chain may follow
NEXT = 33
XDEBUG = 34
DART = 40
DART_TEXT = 41
DART_SOURCE = 42  # Dart prints the source that it could not parse
RUST = 50
RUST_TEXT = 51
CONSOLE = 60  # .NET's console format: the category, then the text indented
ELIXIR = 61
LUA = 62
TITLED = 69  # as BODY, after a log line and a blank one; a blank line ends it
ENDED = 70
RUST_MESSAGE = 71  # after the first line of a panic's message
RUST_CAUSES = 77  # within the causes of the error of a failed `unwrap`
DROPWIZARD = 78  # each line begins with an exclamation mark
RAILS_TAGGED = 79  # each line begins with Rails' tags
JSON_OPEN = 80  # the first line of Elasticsearch 7's JSON with a stack trace
JSON_TRACE = 81
KLOG_BLOCK = 82  # within a value of several lines that klog writes
HCLOG = 83  # after a line of hclog; a value of several lines may follow
RUBY_CRASH = 84  # after the first line that Ruby prints of an exception; the source may follow before the frames
INDENTED = 72  # a log line whose further lines are indented

ERROR_CLASS = re.compile(rb"(?:[a-z][\w$]*\.)+(?:[A-Z][\w$]*)?(?:Exception|Error|Throwable)(?:\$[A-Z]\w*)?(?::|$)")
CERTAIN_START = re.compile(rb"[{\[0-9]")
_DOTNET_ERROR_CLASS = re.compile(rb"(?:[A-Z][\w+]*\.)+[\w+]*Exception(?: \(0x[0-9A-Fa-f]{1,8}\))?(?::|$)")
GOROUTINE = re.compile(rb"goroutine \d+ |runtime stack:$")
ERROR_WORDS = re.compile(
    rb"[Ee]xception|[Ee]rror|Throwable|[Ff]ailure|stack trace|ERROR|WARN|FATAL|SEVERE|CRITICAL|Uncaught|Unhandled"
    rb"|failed"
)
_FRAME = re.compile(
    rb"[ \t]+(?:at |eval at |async |from |\.\.\. ?\d|nested exception is:|---|Caused by: |Suppressed: |\^"
    rb"|[^\s()]+:\d+:in |[^\s(]+\(.{0,200}\) called at )"
)
BODY_LINES = (
    *(b"Caused by: ", b"Wrapped by: ", b"Suppressed: ", b"--- End of "),
    *(b"Assembly trace from producer [", b"Error has been observed at the following site", b"Original Stack Trace:"),
    *(b"ClientConnectionId:", b"Error Number:"),
)
_RAILS_FRAME = re.compile(rb" +[\w.-]+ \(\d[^)\s]*\) \S+:\d+")
_RAILS_HEAD = re.compile(rb" [A-Z][\w:]* \(.*\):$")
_RAILS_TAGGED = re.compile(
    rb"(?:\[[\w.:@-]{1,100}\] )+ *(?:$|Causes:|[A-Z][\w:]* \(.*\)$|\S+:\d+:in [`']|[\w.-]+ \(\d\S*\) \S+:\d+:in [`'])"
)
RUBY_FRAME = re.compile(rb"[^\s:]+:\d+:in [`'][^']*'$")
_RUBY_CRASH = re.compile(rb"\S{1,400}:\d+:in [`'].{1,400}': .* \([A-Z][\w:]*\)$")
_NUMBERED = re.compile(rb"#\d+ ")
_RUST_LINES = (b"note: ", b"stack backtrace:", b"Stack backtrace:")
_PHP_MAIN = re.compile(rb"#\d+ \{main\}$")
_XDEBUG_FRAME = re.compile(rb"PHP +\d+\. ")
GO_FUNCTION = re.compile(rb"created by \S|[^\s{\[\"'=\d][^\s\"'=(]*\(.*\)$|\.\.\.|r\w\w? +0x|[cfg]s +0x|exit status \d")


_HCLOG_BLOCK = re.compile(rb"  (?:[\w.@-]{1,100}=$|\|(?: |$)|$)")
_ELIXIR_DETAILS = (b"Last message", b"State: ", b"Function: ", b"Initial Call: ", b"Client #PID<", b"Process Label: ")


_LOCATION = re.compile(rb"(?:/|file:|node:)\S+:\d+$")


def is_location(content: bytes) -> bool:
    """Return whether a line is a file and a line number, as Node prints before the source line."""
    return _LOCATION.match(content) is not None


def _is_indented(content: bytes) -> bool:
    return content[:1] in (b" ", b"\t")


def _head(content: bytes) -> int:
    if _is_indented(content):
        if _FRAME.match(content):
            return _body(content)
        return RAILS if not content.strip() else 0
    if content in (b"Stack trace:", b"[stacktrace]") or content.startswith(b"#0 "):
        return NUMBERED
    if content == b"stack traceback:":
        return LUA
    if content == b"PHP Stack trace:":
        return XDEBUG
    return BODY if content.startswith((b"Caused by: ", b"--- End of ")) else 0


def _logged(content: bytes) -> int:
    """After a log line that reports an error: the traceback may follow directly."""
    if (state := frames_python.traceback_state(content)) != 0:
        return state
    if content.startswith(b"** ("):
        return ELIXIR
    if RUBY_FRAME.match(content):
        return RUBY
    if content.startswith(b"! ") and ERROR_CLASS.match(content, 2):
        return DROPWIZARD
    if ERROR_CLASS.match(content, 1 if content.startswith(b"\t") else 0):  # Tomcat indents it
        return THROWN
    return THROWN if _DOTNET_ERROR_CLASS.match(content) else _head(content)


def _record(content: bytes) -> int:
    return LOGGED if frames_java.is_record_text(content) else 0


def is_ruby_crash(content: bytes) -> bool:
    """Return whether a line is what Ruby prints of an exception: position, message and class."""
    return content[-1:] == b")" and b":in " in content and _RUBY_CRASH.match(content) is not None


def _ruby_crash(content: bytes) -> int:
    return RUBY_CRASH if not content or _is_indented(content) or content.startswith(b"Did you mean?") else 0


def _ruby(content: bytes) -> int:
    return RUBY if RUBY_FRAME.match(content) else 0


def _thrown(content: bytes) -> int:
    return _head(content) or (THROWN if content.strip() and is_indented_text(content) else 0)


def _error_line(content: bytes) -> int:
    return CAUSES if not content else _head(content)


def _causes(content: bytes) -> int:
    if content in (b"Caused by:", b"Location:", b"Stack backtrace:"):
        return CAUSES
    return CAUSES if not content or is_indented_text(content) else 0


def _body(content: bytes) -> int:
    if not _is_indented(content):
        return BODY if content.startswith(BODY_LINES) else 0
    if content.endswith((b" {", b"<---")):
        return OBJECT if content.endswith(b"{") else INNER
    if content.strip() == b"nested exception is:":
        return NESTED
    return 0 if _RAILS_HEAD.match(content) else BODY


def _titled(content: bytes) -> int:
    if not content:
        return ENDED
    state = _body(content)
    return TITLED if state == BODY else state


def _ended(_: bytes) -> int:
    return 0


def _inner(content: bytes) -> int:
    return _body(content) if content else INNER


def _object(content: bytes) -> int:
    if content == b"}":
        return BODY
    return OBJECT if _is_indented(content) else 0


def _node(content: bytes) -> int:
    is_node = not content or _is_indented(content) or content == b"}"
    return NODE if is_node or content.startswith((b"Emitted 'error' event ", b"Node.js v")) else 0


def _rails(content: bytes) -> int:
    return RAILS if _RAILS_FRAME.match(content) or (content and not content.strip()) else 0


def _nested(content: bytes) -> int:
    return 0 if CERTAIN_START.match(content) or not content else NESTED_TEXT


def _nested_text(content: bytes) -> int:
    return NESTED_TEXT if not content else _body(content)


def _location(content: bytes) -> int:
    return SOURCE if is_indented_text(content) else 0


def _source(content: bytes) -> int:
    if not content or is_indented_text(content):
        return SOURCE
    if content.startswith(b"[UnhandledPromiseRejection: "):
        return NODE
    return NODE if frames_python.ERROR_NAME.match(content) and ERROR_WORDS.search(content) else 0


def _go_panic(content: bytes) -> int:
    if is_indented_text(content):
        return GO_PANIC
    return _go_blank(content)


def _go_blank(content: bytes) -> int:
    if not content or content.startswith((b"[signal ", b"[originating from")):
        return GO_BLANK
    return GO_FRAMES if GOROUTINE.match(content) else 0


def _go_frames(content: bytes) -> int:
    if is_indented_text(content) or GO_FUNCTION.match(content):
        return GO_FRAMES
    return 0 if content else GO_BLANK  # a blank line is between two goroutines


def _go_signal(content: bytes) -> int:
    return GO_BLANK if content.startswith(b"PC=0x") else 0


def _main(content: bytes) -> int:
    return _numbered(content) if content else NEXT


def _next(content: bytes) -> int:
    if content in (b"Stack trace:", b"[stacktrace]"):
        return NUMBERED
    return NEXT if content.startswith((b"Next ", b"[previous exception] ")) else 0


def _xdebug(content: bytes) -> int:
    return XDEBUG if _XDEBUG_FRAME.match(content) else 0


def _numbered(content: bytes) -> int:
    if _PHP_MAIN.match(content):
        return MAIN
    if _NUMBERED.match(content) or is_indented_text(content) or content == b"<asynchronous suspension>":
        return NUMBERED
    return NUMBERED if content.startswith(b'"}') else 0  # the end of Monolog's context


def _dart(content: bytes) -> int:
    if CERTAIN_START.match(content) or not content:
        return 0
    return DART_SOURCE if content.startswith(b"FormatException") else DART_TEXT


def _dart_source(content: bytes) -> int:
    if content and not CERTAIN_START.match(content) and not _NUMBERED.match(content):
        return DART_TEXT
    return _dart_text(content)


def _dart_text(content: bytes) -> int:
    if not content.strip(b" ^") or content.startswith((b"Receiver: ", b"Tried calling: ", b"Found: ")):
        return DART_TEXT
    return NUMBERED if _NUMBERED.match(content) else (DART_TEXT if is_indented_text(content) else 0)


def _rust(content: bytes) -> int:
    return 0 if CERTAIN_START.match(content) or not content else RUST_MESSAGE


def _rust_text(content: bytes) -> int:
    return RUST_TEXT if is_indented_text(content) or content.startswith(_RUST_LINES) else 0


def _rust_causes(content: bytes) -> int:
    return RUST_CAUSES if not content or is_indented_text(content) else _rust_text(content)


def _dropwizard(content: bytes) -> int:
    return DROPWIZARD if content.startswith(b"! ") else 0


def _rails_tagged(content: bytes) -> int:
    return RAILS_TAGGED if is_rails_tagged(content) else 0


def is_rails_tagged(content: bytes) -> bool:
    """Return whether a line with Rails' tags is a frame, blank, or names a cause."""
    return content[:1] == b"[" and _RAILS_TAGGED.match(content) is not None


def _json_open(content: bytes) -> int:
    return JSON_TRACE if content.startswith((b'"stacktrace": [', b'"exception": {')) else 0


def _json_trace(content: bytes) -> int:
    if content[:1] != b'"':
        return 0
    return ENDED if content.endswith(b"}") else JSON_TRACE


def _console(content: bytes) -> int:
    return CONSOLE if is_indented_text(content) else 0


def _elixir(content: bytes) -> int:
    return ELIXIR if is_indented_text(content) or is_elixir_detail(content) else 0


def is_elixir_detail(content: bytes) -> bool:
    """Return whether a line is one that OTP's report of a terminated process has behind its frames."""
    return content.startswith(_ELIXIR_DETAILS)


def _klog_block(content: bytes) -> int:
    if content[:1] == b"\t":
        return KLOG_BLOCK
    if content[:2] != b" >":
        return 0
    return KLOG_BLOCK if content.endswith(b"=<") else ENDED


def _hclog(content: bytes) -> int:
    return HCLOG if _HCLOG_BLOCK.match(content) else 0


def _lua(content: bytes) -> int:
    return LUA if is_indented_text(content) or content.startswith(b"coroutine ") else 0


TRANSITIONS: dict[int, Callable[[bytes], int]] = {
    **frames_python.TRANSITIONS,
    **frames_java.TRANSITIONS,
    **frames_go.TRANSITIONS,
    frames_java.RECORD: _record,
    HEAD: _head,
    BODY: _body,
    TITLED: _titled,
    ENDED: _ended,
    RUST_MESSAGE: _rust_text,
    INDENTED: _console,
    KLOG_BLOCK: _klog_block,
    HCLOG: _hclog,
    RUST_CAUSES: _rust_causes,
    DROPWIZARD: _dropwizard,
    RAILS_TAGGED: _rails_tagged,
    JSON_OPEN: _json_open,
    JSON_TRACE: _json_trace,
    INNER: _inner,
    RAILS: _rails,
    NESTED: _nested,
    OBJECT: _object,
    NESTED_TEXT: _nested_text,
    LOCATION: _location,
    LOGGED: _logged,
    RUBY: _ruby,
    RUBY_CRASH: _ruby_crash,
    SOURCE: _source,
    THROWN: _thrown,
    NODE: _node,
    ERROR_LINE: _error_line,
    CAUSES: _causes,
    GO_PANIC: _go_panic,
    GO_BLANK: _go_blank,
    GO_FRAMES: _go_frames,
    GO_SIGNAL: _go_signal,
    NUMBERED: _numbered,
    MAIN: _main,
    NEXT: _next,
    XDEBUG: _xdebug,
    DART: _dart,
    DART_TEXT: _dart_text,
    DART_SOURCE: _dart_source,
    RUST: _rust,
    RUST_TEXT: _rust_text,
    CONSOLE: _console,
    ELIXIR: _elixir,
    LUA: _lua,
}
