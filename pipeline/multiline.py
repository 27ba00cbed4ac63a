"""Which line continues a stack trace: a small grammar, by content alone. Pure, and linear in the length of a line.

A trace is recognised by its first line and the shape of the next: a line that speaks of an error is one event, until
a frame follows. Languages: Java and its like (nested causes, suppressed, elided), Python (chained, groups), Go (panics,
goroutines), JavaScript, C#/.NET (also its two-line console format), Ruby and Rails, PHP, Dart, Rust.

What begins a trace is asked late: only when a line comes that could be a second one (`may_continue`), or at a cut. A
line that ends with a colon (`Traceback …:`, `Unhandled exception:`) is asked at once, since after it anything may come.
"""

import re

HEAD = 1  # speaks of an error; a frame may follow
BODY = 2  # in the frames of Java, JavaScript, C#, Ruby
RAILS = 3  # in Rails' frames
NESTED = 4  # after `nested exception is:`
OBJECT = 5  # in the object that Node prints behind the frames
NESTED_TEXT = 6
PLACE = 7  # Node names the place first, then shows the source line
SOURCE = 9
LOGGED = 8  # a logger's line of level warning or worse; the error's class may follow, then its frames
PYTHON = 10
PYTHON_END = 11
PYTHON_CHAIN = 12
GO_PANIC = 20
GO_BLANK = 21
GO_FRAMES = 22
NUMBERED = 31  # frames of PHP and Dart: #0, #1, …
DART = 40
RUST = 50
RUST_TEXT = 51
CONSOLE = 60  # .NET's console format: the category, then the text indented

_CLASS_STARTS = frozenset(b"ja or co ne io ko sc de".split())  # java., org., com. … of a class's full name
SECOND_LINE_STARTS: frozenset[bytes] = frozenset(
    [
        *(b"", b" ", b"\t", b"Ca", b"--", b"St", b"[s", b"go"),
        *_CLASS_STARTS,
        *(b"#%d" % digit for digit in range(10)),
        *(blank + bytes((byte,)) for blank in (b" ", b"\t") for byte in range(256)),
    ]
)
"""The first two bytes that a second line of a trace can have."""

_LATER_STARTS = SECOND_LINE_STARTS | {
    b"}",
    b"Su",
    b"Du",
    b"Th",
    b"Tr",
    b"cr",
    b"..",
    b"ex",
    b"no",
    b"st",
    b"ru",
    b"<a",
    b"Ne",
}

_TROUBLE = re.compile(
    rb"[Ee]xception|[Ee]rror|Throwable|[Ff]ailure|stack trace|ERROR|WARN|FATAL|SEVERE|CRITICAL|Uncaught|Unhandled"
)
_LOGGED = re.compile(rb"(?:^|[\s\[|:(])(?:ERROR|WARN(?:ING)?|FATAL|SEVERE|CRITICAL)(?:[\s\]|:,)]|$)")
_CLASS = re.compile(rb"(?:[a-z][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable)(?::|$)")
_LEVEL_WITHIN = 160
_FRAME = re.compile(
    rb"[ \t]+(?:at |eval at |async |from |\.\.\. ?\d|nested exception is:|---|Caused by: |Suppressed: |\^"
    rb"|[^\s()]+:\d+:in )"
)
_RAILS_FRAME = re.compile(rb" +[\w.-]+ \(\d[^)\s]*\) \S+:\d+")
_NUMBERED = re.compile(rb"#\d+ ")
_PYTHON_END = re.compile(rb"[A-Za-z_][\w.]*(?::|$)")
_GO_FUNCTION = re.compile(
    rb"created by \S|[^\s{\[\"'=\d][^\s\"'=(]*\(.*\)$|\.\.\.|r\w\w? +0x|[cfg]s +0x|exit status \d"
)
_GOROUTINE = re.compile(rb"goroutine \d+ |runtime stack:$")
_SOURCE = re.compile(rb"(?:/|file:|node:)\S+:\d+$")
_CONSOLE = re.compile(rb"(?:fail|crit|warn|info|dbug|trce): \S.*\[\d+\]$")
_CERTAIN = re.compile(rb"[{\[0-9]")
_JAVA_FRAME = b"\tat "
_TRACEBACK = b"Traceback (most recent call last):"
_GROUP = b"  + Exception Group " + _TRACEBACK


def start(content: bytes) -> int:
    """The state after the first line of a trace; 0 if it cannot be one."""
    first = content[:1]
    if first == b"{":
        return 0
    if content.endswith(b":"):
        if content.endswith(_TRACEBACK):
            return PYTHON
        if content == b"Unhandled exception:":
            return DART
        if content.startswith(b"thread '") and b" panicked at " in content:
            return RUST
    if content.startswith((b"panic: ", b"fatal error: ")) or b": panic serving " in content:
        return GO_PANIC
    if _CONSOLE.match(content):
        return CONSOLE
    if _SOURCE.match(content):
        return PLACE
    if _LOGGED.search(content, 0, _LEVEL_WITHIN):
        return LOGGED
    return HEAD if _TROUBLE.search(content) else 0


def may_continue(content: bytes) -> bool:
    """Whether this can be the second line of a trace whose first line was not asked yet."""
    return content[:2] in SECOND_LINE_STARTS or content == _TRACEBACK


def separates(before: bytes, content: bytes) -> bool:
    """Whether `content`, whose stream has `before` just before it, certainly begins an event.

    Only behind a blank or indented line, or one that ends with a colon, may a line of any shape continue a trace; a
    frame of Java's is followed by lines of known shapes only.
    """
    if content[:2] in _LATER_STARTS or content.endswith(_TRACEBACK):
        return False
    if _CERTAIN.match(content):
        return True
    if content[:2] in _CLASS_STARTS and _CLASS.match(content) and not before.startswith(_JAVA_FRAME):
        return False
    return bool(before) and not _foreign(before) and not before.endswith(b":")


def step(state: int, content: bytes) -> int:
    """The state after `content` if it continues a trace in `state`; else 0."""
    return _STEPS[state](content)


def _indented(content: bytes) -> bool:
    return content[:1] in (b" ", b"\t")


def _foreign(content: bytes) -> bool:
    """Indented, and no frame of Java's: where one stands, no other language's trace is under way."""
    return content[:1] in (b" ", b"\t") and not content.startswith(_JAVA_FRAME)


def _head(content: bytes) -> int:
    if _indented(content):
        if _FRAME.match(content):
            return _body(content)
        return RAILS if not content.strip() else 0
    if content == b"Stack trace:" or _NUMBERED.match(content):
        return NUMBERED
    if content.startswith((b"Caused by: ", b"--- End of ")):
        return BODY
    # A logger's line that tells of an error, and the traceback right behind it.
    return PYTHON if content == _TRACEBACK else 0


def _logged(content: bytes) -> int:
    return HEAD if _CLASS.match(content) else _head(content)


def _body(content: bytes) -> int:
    if _indented(content):
        if content.strip() == b"nested exception is:":
            return NESTED
        return OBJECT if content.endswith(b" {") else BODY
    return BODY if content.startswith((b"Caused by: ", b"Suppressed: ", b"--- End of ")) else 0


def _object(content: bytes) -> int:
    if content == b"}":
        return BODY
    return OBJECT if _indented(content) else 0


def _rails(content: bytes) -> int:
    return RAILS if _RAILS_FRAME.match(content) or (content and not content.strip()) else 0


def _nested(content: bytes) -> int:
    return 0 if _CERTAIN.match(content) or not content else NESTED_TEXT


def _nested_text(content: bytes) -> int:
    return NESTED_TEXT if not content else _body(content)


def _place(content: bytes) -> int:
    return SOURCE if _foreign(content) else 0


def _source(content: bytes) -> int:
    if not content or _foreign(content):
        return SOURCE
    return HEAD if _PYTHON_END.match(content) and _TROUBLE.search(content) else 0


def _python(content: bytes) -> int:
    if _foreign(content):
        return PYTHON if content != _GROUP else 0
    return PYTHON_END if _PYTHON_END.match(content) else 0


def _python_end(content: bytes) -> int:
    if _foreign(content):
        return PYTHON_END if content != _GROUP else 0
    if content.startswith((b"During handling of the above exc", b"The above exception was the dire")):
        return PYTHON_CHAIN
    return 0 if content else PYTHON_END


def _python_chain(content: bytes) -> int:
    if content in (_TRACEBACK, _GROUP):
        return PYTHON
    return 0 if content else PYTHON_CHAIN


def _go_panic(content: bytes) -> int:
    if _foreign(content):
        return GO_PANIC
    return _go_blank(content)


def _go_blank(content: bytes) -> int:
    if not content or content.startswith((b"[signal ", b"[originating from")):
        return GO_BLANK
    return GO_FRAMES if _GOROUTINE.match(content) else 0


def _go_frames(content: bytes) -> int:
    if _foreign(content) or _GO_FUNCTION.match(content):
        return GO_FRAMES
    return _go_blank(content)


def _numbered(content: bytes) -> int:
    if _NUMBERED.match(content) or _foreign(content) or content == b"<asynchronous suspension>":
        return NUMBERED
    return 0


def _dart(content: bytes) -> int:
    return 0 if _CERTAIN.match(content) or not content else NUMBERED


def _rust(content: bytes) -> int:
    return 0 if _CERTAIN.match(content) or not content else RUST_TEXT


def _rust_text(content: bytes) -> int:
    return RUST_TEXT if _foreign(content) or content.startswith((b"note: ", b"stack backtrace:")) else 0


def _console(content: bytes) -> int:
    return CONSOLE if _foreign(content) else 0


_STEPS = {
    HEAD: _head,
    BODY: _body,
    RAILS: _rails,
    NESTED: _nested,
    OBJECT: _object,
    NESTED_TEXT: _nested_text,
    PLACE: _place,
    SOURCE: _source,
    LOGGED: _logged,
    PYTHON: _python,
    PYTHON_END: _python_end,
    PYTHON_CHAIN: _python_chain,
    GO_PANIC: _go_panic,
    GO_BLANK: _go_blank,
    GO_FRAMES: _go_frames,
    NUMBERED: _numbered,
    DART: _dart,
    RUST: _rust,
    RUST_TEXT: _rust_text,
    CONSOLE: _console,
}

STATES = tuple(_STEPS)
"""Every state, for the tests."""

_NAMED = re.compile(
    r"(?:Exception in thread .{0,200}? |Unhandled exception\. |Uncaught )?"
    r"([A-Za-z_$][\w$.]*(?:Exception|Error|Throwable|Failure)[\w$]*)(?: \(\w+\))?(?:: ?(.*))?$"
)
_RUBY = re.compile(r"\S+:\d+:in .{1,200}?: (.*) \(([A-Z][\w:]*)\)$")
_PHP = re.compile(r"exception '([\w\\]+)' with message '(.*)' in ")
_FIRST_LINES = 4


def error_of(message: str) -> tuple[str, str] | None:
    """Type and message of the error that a joined trace is about; None when they are not certain."""
    lines = message.split("\n")
    if any(line.endswith("Traceback (most recent call last):") for line in lines[:_FIRST_LINES]):
        last = next((line for line in reversed(lines) if line and not line.startswith((" ", "\t"))), "")
        name, _, text = last.partition(": ")
        return (name, text) if _PYTHON_END.match(name.encode() + b":") and " " not in name else None
    for line in lines[:_FIRST_LINES]:
        if line.startswith(("panic: ", "fatal error: ")):
            return "panic", line.partition(": ")[2]
        found = _NAMED.match(line)
        if found is not None:
            return found[1], found[2] or ""
        ruby, php = _RUBY.match(line), _PHP.match(line)
        if ruby is not None:
            return ruby[2], ruby[1]
        if php is not None:
            return php[1], php[2]
    return None
