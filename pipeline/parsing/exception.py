"""Type and message of the exception in a stack trace or a line, where the text is unambiguous. Pure, and linear.

Only the first lines of a stack trace are examined, the last lines of a Python traceback, and the beginning of a single
line.
"""

import re

Error = tuple[str, str]
"""Type (a class's name, or `panic`) and message."""

_MAX_LINE_CHARACTERS = 2000
_MAX_LEADING_LINES = 7
_TRACEBACK = "Traceback (most recent call last):"
_POSTGRESQL_DETAILS = ("DETAIL:  ", "HINT:  ", "LINE ")
"""Lines that PostgreSQL adds to the message of a Python exception."""
_CLASS_NAME = r"(?:[A-Za-z_$][\w.$]*)?(?:Exception|Error|Throwable|Failure)[\w$]*+"
_EXCEPTION_LINE = re.compile(
    r"(?:Exception in thread .{0,200}? |Unhandled [Ee]xception[.:] |Uncaught |Caused by: |\(node:\d+\) \w{0,60}: )?"
    rf"({_CLASS_NAME})(?: \(\w+\)| \[\w+\])?(?:: ?(.*))?$"
)
_EMBEDDED_EXCEPTION = re.compile(
    r"(?<![\w.$])((?:[a-z][\w$]*+\.)++(?:[A-Z][\w$]*)?(?:Exception|Error|Throwable))(?:: (.*))?$"
)
_PATTERNS = (
    re.compile(r"\S+:\d+:in .{1,200}?: (?P<text>.*) \((?P<type>[A-Z][\w:]*)\)$"),  # Ruby
    re.compile(r"[DIWEFA], \[.{1,60}?\] +[A-Z]+ -- [^:]{0,100}: (?P<text>.*) \((?P<type>[A-Z][\w:]*)\)$"),  # its logger
    re.compile(r" ?(?P<type>[A-Z][\w:]*) \((?P<text>.*)\):$"),  # Rails
    re.compile(r"(?:.{0,200}?)exception '(?P<type>[\w\\]+)' with message '(?P<text>.*)' in "),  # PHP 5
    re.compile(r"PHP .{0,30}?: +Uncaught (?P<type>[\w\\]+): (?P<text>.*) in \S+:\d+$"),
    re.compile(r".{0,500}?\[object\] \((?P<type>[\w\\]+)\(code: \w+\): (?P<text>.*) at \S+:\d+\)"),  # Monolog
    re.compile(r"\*\* \((?P<type>[\w.]+)\) (?P<text>.*)$"),  # Elixir
)
_PANIC = re.compile(r"(?:.{0,200}?\bpanic|fatal error): (?P<text>.*)$|.{0,200}?: panic serving \S+: (?P<served>.*)$")
_RUST = re.compile(r"thread '.{0,200}?' (?:\(\d+\) )?panicked at (?:'(?P<text>.*)', \S+$)?")
_SINGLE_LINE = re.compile(
    r"((?:(?:[a-z][\w$]*+\.)++(?:[A-Z][\w$]*)?|[A-Z]\w{2,80})(?:Exception|Error)): (.*)$"
    r"|PHP (?:Fatal|Parse) error: +(?:Uncaught (\w+): )?(.*)$"
)


def from_trace(message: str) -> Error | None:
    """Return type and message of the exception in a joined stack trace; None when they are ambiguous."""
    lines = message.split("\n")
    leading = [line[:_MAX_LINE_CHARACTERS] for line in lines[:_MAX_LEADING_LINES]]
    if leading[0].startswith('  File "') or any(line.endswith(_TRACEBACK) for line in leading):
        return _from_python_traceback(lines)
    for number, line in enumerate(leading):
        if (panic := _panic(line, leading[number + 1 :])) is not None:
            return panic
        if (named := _EXCEPTION_LINE.match(line.lstrip())) is not None:
            return named[1], named[2] or ""
        if (error := _from_pattern(line)) is not None:
            return error
    embedded = _EMBEDDED_EXCEPTION.search(leading[0])
    return (embedded[1], embedded[2] or "") if embedded else None


def _panic(line: str, following: list[str]) -> Error | None:
    panic = _PANIC.match(line)
    if panic is not None:
        return "panic", panic["text"] or panic["served"] or ""
    rust = _RUST.match(line)
    if rust is not None:
        return "panic", rust["text"] or (following[0] if following else "")
    return None


def _from_pattern(line: str) -> Error | None:
    for pattern in _PATTERNS:
        match = pattern.match(line)
        if match is not None:
            return match["type"], match["text"]
    return None


def _from_python_traceback(lines: list[str]) -> Error | None:
    """The last line without indent names the exception; in an exception group, the line after the bar."""
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if line[:1] not in ("", " ", "\t", "[", "(") and not line.startswith(_POSTGRESQL_DETAILS):
            return _parse_python_error("\n".join([line, *lines[number + 1 :]]).rstrip("\n")) or _from_pattern(line)
    group = next((line for line in lines if line.startswith("  | ") and line[4:5].isalpha()), "")
    return _parse_python_error(group[4:])


def _parse_python_error(text: str) -> Error | None:
    name, _, message = text.partition(": ")
    return (name, message) if re.fullmatch(r"[A-Za-z_][\w.]*", name) else None


def from_line(line: str) -> Error | None:
    """Return the exception at the beginning of a single line: a class name that ends in Exception or Error."""
    match = _SINGLE_LINE.match(line, 0, _MAX_LINE_CHARACTERS)
    if match is None:
        return None
    name, message, php, text = match.groups()
    return (name, message) if name else (php or "PHP error", text)
