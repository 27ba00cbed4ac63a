"""Type and message of the exception in a stack trace or a line, where a grammar proves that there is one. Pure, linear.

Only the first lines of a stack trace are examined, the lines of a Python traceback, and the beginning of a single line.
A class's name at the beginning of a line is an exception if its package is named too, or frames follow; what merely
looks like a class (`ErrorCount: 0`) is none.
"""

import re

from pipeline.contract.json_types import JsonObject

Error = tuple[str, str]
"""Type (a class's name, or `panic`) and message, each empty where it is unknown."""

STACK_TRACE = "error.stack_trace"

_MAX_LINE_CHARACTERS = 2000
_MAX_LEADING_LINES = 9
_MAX_MESSAGE_LINES = 32
_TRACEBACK = "Traceback (most recent call last):"
_PYTHON_FATAL = "Fatal Python error: "
_STACK = "Stack (most recent call last):"
_CLASS_NAME = (
    r"(?:[A-Za-z_$][\w.$+]*)?(?:Exception|Error|Throwable|Failure|Rejection)(?:\$[A-Z]\w*)?"  # `$NotFound`: within it
)
_EXCEPTION_LINE = re.compile(
    r"(?:! )?(?:Unhandled [Ee]xception[.:] |Uncaught |\(node:\d+\) \w{0,60}: )?"
    rf"({_CLASS_NAME})(?: \(\w+\)| \[\w+\])?(?:: ?(.*))?$"
)
_PREFIXED_LINE = re.compile(
    r"(?:Exception in thread .{0,200}? |Caused by: |Wrapped by: |Unhandled exception\. )"
    r"([A-Za-z_$][\w.$+]*)(?:: (.*))?$"
)
_BRACKETED_LINE = re.compile(rf"\[({_CLASS_NAME})(?:: (.*?))?\](?: \{{)?$")
_EMBEDDED_EXCEPTION = re.compile(
    r"(?<![\w.$])((?:[a-z][\w$]*+\.)++(?:[A-Z][\w$]*)?(?:Exception|Error|Throwable)(?:\$[A-Z]\w*)?)(?:: (.*))?$"
)
_EMBEDDED_CLASS = re.compile(r"(?<![\w.$])([A-Z][\w$]*(?:Exception|Error)|Error): (.*)$")
_MAX_STACK_CHARACTERS = 65536
_ANY_CLASS = re.compile(r"([A-Za-z_$][\w.$]*)(?:: (.*))?$")
_QUALIFIED_CLASS = re.compile(r"((?:[a-z][\w$]*+\.)++[A-Z][\w$]*+)(?:: (.*))?$")
_PACKAGE = re.compile(r"[A-Za-z_$][\w$]*\.")
_FRAME = re.compile(r"(?:! )?\s*(?:at |from |#\d+ |\d+: |\[[^\]]*\] \S+:\d+:in )|Stack trace:|\S+:\d+:in |.*\{$")
_MESSAGE_END = re.compile(
    r"\s*(?:at \S|\.\.\. ?\d|Caused by:|Stack backtrace:|Suppressed: |---|from \S+:\d)|\s*--->|! at |\[stacktrace\]"
)
_PYTHON_CLASS = re.compile(r"[A-Za-z_](?:[\w.]|<locals>)*")
_RUBY_FRAME = re.compile(r":\d+:in [`']")
_GO_POSITION = re.compile(r"\n\t\S+\.(?:go|s|c):\d+(?:\n|$)")
_RUST_BACKTRACE = re.compile(r"\n *\n *(?:Caused by|Stack backtrace):\n +\S")  # anyhow's; its message has no beginning
_GIN_FRAME = re.compile(r"/\S+:\d+ \(0x[0-9a-f]+\)$")
_MONOLOG = re.compile(r".{0,500}?\[object\] \((?P<type>[\w\\]+)\(code: \w+\): (?P<text>.*?) at \S+:\d+\)")
_PATTERNS = (
    re.compile(r"\S+:\d+:in .{1,200}?: (?P<text>.*) \((?P<type>[A-Z][\w:]*)\)$"),  # Ruby
    re.compile(r"[DIWEFA], \[.{1,60}?\] +[A-Z]+ -- [^:]{0,100}: (?P<text>.*) \((?P<type>[A-Z][\w:]*)\)$"),  # its logger
    re.compile(r"(?:.{0,200}?)exception '(?P<type>[\w\\]+)' with message '(?P<text>.*)' in "),  # PHP 5
    _MONOLOG,
    re.compile(r"\*\* \((?P<type>[\w.]+)\) (?P<text>.*)$"),  # Elixir
)
_RAILS = re.compile(r" ?(?:\[[^\]]{1,100}\] )*(?P<type>[A-Z][\w:]*) \((?P<text>.*)\):$")
_PHP = re.compile(
    r"(?:.{0,200}?PHP message: )?PHP [\w ]{0,30}?: +Uncaught (?P<type>[\w\\]+): (?P<text>.*) in \S+:\d+$", re.DOTALL
)
_PHP_POSITION = re.compile(r" in \S+:\d+$")
_PANIC = re.compile(r"(?:.{0,200}?\bpanic|fatal error): (?P<text>.*)$|.{0,200}?: panic serving \S+: (?P<served>.*)$")
_RECOVERED = re.compile(r" \[recovered(?:, repanicked)?\]$")
_RUST = re.compile(r"thread '.{0,200}?' (?:\(\d+\) )?panicked at (?:'(?P<text>.*)', \S+$)?")
_LEVELS = frozenset(
    [
        "DEBUG",
        "INFO",
        "NOTICE",
        "WARN",
        "WARNING",
        "ERROR",
        "CRITICAL",
        "FATAL",
        "TRACE",
        "Message",
        "Arguments",
        "Traceback",
    ]
)
_SINGLE_LINE = re.compile(
    r"((?:(?:[a-z][\w$]*+\.)++(?:[A-Z][\w$]*)?|[A-Z]\w{2,80})(?:Exception|Error)(?:\$[A-Z]\w*)?): (.*)$"
    r"|PHP (?:Fatal|Parse) error: +(?:Uncaught ([\w\\]+): )?(.*)$"
)


def from_trace(message: str) -> Error | None:
    """Return type and message of the exception in a joined stack trace; None if it has none, or they are ambiguous."""
    error = _from_trace(message)
    return (error[0], "") if error is not None and error[1] == "null" else error  # Java has no message then


def from_stack(text: str) -> Error | None:
    """Return type and message of a text that is a stack trace by its field's name: its class may have any name."""
    text = text.replace("\r\n", "\n")
    lines = text[:_MAX_STACK_CHARACTERS].split("\n")
    match = _ANY_CLASS.match(lines[0][:_MAX_LINE_CHARACTERS]) if _has_frame(lines, 0) else None
    is_class = match is not None and "." in match[1] and len(lines) > 1 and lines[1].startswith("\tat ")
    error = from_trace(text) if not is_class or "\nWrapped by: " in text else None
    if error is not None and any(error):
        return error
    return (match[1], _full_message(_java_message(match[2]), lines, 0)) if match else error


def _java_message(text: str | None) -> str:
    return text if text and text != "null" else ""


def _from_trace(message: str) -> Error | None:
    lines = message.split("\n")
    leading = [line[:_MAX_LINE_CHARACTERS] for line in lines[:_MAX_LEADING_LINES]]
    for number, line in enumerate(leading):
        if line.endswith(_TRACEBACK):
            return _from_python_traceback(lines, number)
    if leading[0].startswith('  File "'):
        return _from_python_traceback(lines, 0)
    if leading[0].startswith(_PYTHON_FATAL):
        return "", leading[0].removeprefix(_PYTHON_FATAL)
    if leading[0].startswith("Trace: "):
        return None  # console.trace
    error = _from_panic(lines, leading) or _from_class_line(lines, leading) or _from_other_line(message, leading)
    is_stack = _GO_POSITION.search(message) or _RUST_BACKTRACE.search(message)
    return error or _from_embedded(lines, leading) or (("", "") if is_stack else None)


def _from_class_line(lines: list[str], leading: list[str]) -> Error | None:
    """From a line that begins with an exception's class; of several that wrap each other the outer one counts."""
    wrapper = next((line for line in reversed(lines) if line.startswith("Wrapped by: ")), None)
    if wrapper is not None and (match := _PREFIXED_LINE.match(wrapper[:_MAX_LINE_CHARACTERS])) is not None:
        return match[1], _full_message(match[2] or "", lines, lines.index(wrapper))
    for number, line in enumerate(leading):
        text = line.lstrip()
        if (match := _PREFIXED_LINE.match(text)) is None and (match := _EXCEPTION_LINE.match(text)) is None:
            if (match := _BRACKETED_LINE.match(text)) is not None:
                return match[1], match[2] or ""
            continue
        is_proven = match.re is _PREFIXED_LINE or (text == line and bool(_PACKAGE.match(match[1])))
        if number and text.startswith("Caused by: ") and (outer := _QUALIFIED_CLASS.match(leading[number - 1])):
            return outer[1], outer[2] or ""  # its name ends in neither Exception nor Error
        if is_proven or _has_frame(lines, number):
            return match[1], _full_message(match[2] or "", lines, number)
    return None


def _has_frame(lines: list[str], number: int) -> bool:
    """Return whether frames, or a cause, follow the line that names an exception."""
    following = lines[number + 1 : number + 1 + _MAX_MESSAGE_LINES]
    is_cause = any(line in {"Caused by:", "Stack backtrace:"} for line in following)
    return lines[number].endswith("{") or is_cause or any(_FRAME.match(line) for line in following)


def _full_message(first: str, lines: list[str], number: int) -> str:
    """The message with its further lines, which end at a frame."""
    following = lines[number + 1 : number + 1 + _MAX_MESSAGE_LINES]
    end = next((index for index, line in enumerate(following) if _MESSAGE_END.match(line)), 0)
    return "\n".join([first, *following[:end]]).rstrip() if end else first


def _from_panic(lines: list[str], leading: list[str]) -> Error | None:
    if leading[0].endswith(" panic recovered:"):
        frame = next((number for number, line in enumerate(lines[:100]) if _GIN_FRAME.match(line)), 0)
        return ("panic", lines[frame - 1]) if frame > 1 else None
    for number, line in enumerate(leading):
        rust = _RUST.match(line)
        if rust is not None:
            return "panic", rust["text"] or (leading[number + 1] if number + 1 < len(leading) else "")
        panic = _PANIC.match(line)
        if panic is not None and any(line.startswith(("goroutine ", "runtime stack:")) for line in lines[number:]):
            while number + 1 < len(leading) and leading[number + 1].startswith("\tpanic: "):  # the last one counts
                number += 1  # noqa: PLW2901 - of the same panic
                panic = _PANIC.match(leading[number]) or panic
            return "panic", _RECOVERED.sub("", panic["text"] or panic["served"] or "")
    return None


def _from_other_line(message: str, leading: list[str]) -> Error | None:
    """From PHP, Ruby, Rails, Elixir and Monolog."""
    php = _PHP.match(message[:_MAX_LINE_CHARACTERS].partition("\nStack trace:")[0])
    if php is not None:
        return php["type"], php["text"]
    for line in leading:
        match = _RAILS.match(line) if _RUBY_FRAME.search(message) else None
        if match is not None:
            return match["type"], match["text"]
        if (error := _from_pattern(line)) is not None:
            return error
    return None


def _from_pattern(line: str) -> Error | None:
    for pattern in _PATTERNS:
        match = pattern.match(line)
        if match is not None:
            return match["type"], match["text"]
    return None


def _from_embedded(lines: list[str], leading: list[str]) -> Error | None:
    """From a class within the first line; without its package if a frame follows."""
    match = _EMBEDDED_EXCEPTION.search(leading[0])
    if match is None and _has_frame(lines, 0):
        match = _EMBEDDED_CLASS.search(leading[0])
    return (match[1], _full_message(match[2] or "", lines, 0)) if match else None


def _from_python_traceback(lines: list[str], first: int) -> Error | None:
    """From the last traceback of a chain: the line after its frames; in an exception group, that after the bar."""
    indent = len(lines[first]) - len(lines[first].lstrip()) if "Exception Group" not in lines[first] else 0
    if lines[first].startswith('  File "') or not lines[first].lstrip(" |+").startswith(
        ("Traceback", "Exception Group")
    ):
        indent = 0
    lines = [line[indent:] if not line[:indent].strip() else line for line in lines[first:]]
    last = max((number for number, line in enumerate(lines) if line.endswith(_TRACEBACK)), default=0)
    if lines[last].startswith("  + "):
        group = next((line for line in lines[last:] if line.startswith("  | ") and line[4:5].isalpha()), "")
        return _parse_python_error(group[4:])
    for number in range(last + 1, len(lines)):
        line = lines[number]
        if line[:1] not in ("", " ", "\t", "[", "(", ">"):
            ends = (at for at, text in enumerate(lines) if at > number and text in ("Call stack:", _STACK))
            text = "\n".join(lines[number : next(ends, len(lines))]).rstrip("\n")
            return _parse_python_error(text) or _from_pattern(line)
    return None


def _parse_python_error(text: str) -> Error | None:
    name, _, message = text.partition(": ")
    return (name, message) if _PYTHON_CLASS.fullmatch(name) and name not in _LEVELS else None


def from_rails_line(line: str, start: int) -> Error | None:
    """Return the exception in the text of a fatal line of Rails: tags, then `NoMethodError (undefined method …):`."""
    match = _RAILS.fullmatch(line, start, start + _MAX_LINE_CHARACTERS) if line.endswith("):") else None
    return (match["type"], match["text"]) if match else None


def from_line(line: str) -> Error | None:
    """Return the exception at the beginning of a single line: a class name that ends in Exception or Error."""
    match = _SINGLE_LINE.match(line, 0, _MAX_LINE_CHARACTERS)
    if match is None:
        return None
    name, message, php, text = match.groups()
    if name:
        return name, "" if message == "null" else message
    return php or "PHP error", _PHP_POSITION.sub("", text) if php else text


def from_monolog(line: str) -> Error | None:
    """Return the exception in the context of Monolog's line, which is JSON: its class has doubled backslashes."""
    match = _MONOLOG.match(line[:_MAX_LINE_CHARACTERS]) if "[object] (" in line else None
    return (match["type"].replace("\\\\", "\\"), match["text"]) if match else None


def add_error(fields: JsonObject, error: Error) -> None:
    """Add the type and the message of an error, each unless it is unknown or there is one."""
    for name, value in zip(("error.type", "error.message"), error, strict=True):
        if value:
            fields.setdefault(name, value)
