"""A file of settings, named by `CRISP_CONFIG_FILE`: the syntax of an environment file (docker compose, dotenv).

A line is `KEY=value`; `export` may precede it. Empty lines are ignored, and so is what follows a `#` at the beginning
of a line or after a blank. A value in single quotes is literal; in double quotes, `\\"`, `\\\\`, `\\n`, `\\r`, `\\t`
are escapes. A `$` is literal everywhere.
"""

import re
from typing import NamedTuple

MAX_BYTES = 1024 * 1024
"""The maximum size of a file; it bounds what a wrong name, such as that of a log, costs."""

_LINE = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_REST = r"[ \t]*(?:[ \t]#.*)?"
_SINGLE_QUOTED = re.compile(rf"'([^']*)'{_REST}")
_DOUBLE_QUOTED = re.compile(rf'"((?:[^"\\]|\\.)*)"{_REST}')
_COMMENT = re.compile(r"(?:^|[ \t]+)#.*")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\"}
_PLAIN = re.compile(r"[^\s'\"#\\$`&;|<>()*?!~\[\]{}]*")


class Entry(NamedTuple):
    """A value of the file, and its place, `file:line`."""

    value: str
    place: str


def read(path: str) -> tuple[dict[str, Entry], list[str]]:
    """Return the entries of a file by name, and its problems, each with its place; no problem contains a value."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        return {}, [f"CRISP_CONFIG_FILE: {path} cannot be read: {error}"]
    if len(content) > MAX_BYTES:
        return {}, [f"CRISP_CONFIG_FILE: {path} is larger than {MAX_BYTES} bytes"]
    entries: dict[str, Entry] = {}
    problems = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        place = f"{path}:{number}"
        try:
            if (pair := _parse_line(line)) is None:
                continue
            name, value = pair
            if name in entries:
                raise ValueError(f"{name} is already set by {entries[name].place}")
        except ValueError as error:
            problems.append(f"{place}: {error}")
        else:
            entries[name] = Entry(value, place)
    return entries, problems


def quote(value: str) -> str:
    """Return a value as it is written in a file; also a shell reads it as this value."""
    if _PLAIN.fullmatch(value):
        return value
    if "'" not in value and value.isprintable():
        return f"'{value}'"
    escapes = {character: f"\\{letter}" for letter, character in _ESCAPES.items()}
    return '"' + "".join(escapes.get(character, character) for character in value) + '"'


def _parse_line(content: bytes) -> tuple[str, str] | None:
    """Return name and value, None if there is neither. Raises ValueError."""
    try:
        line = content.decode().strip()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not line or line.startswith("#"):
        return None
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError("not KEY=value")
    try:
        return match[1], _parse_value(match[2])
    except ValueError as error:
        raise ValueError(f"{match[1]}: {error}") from None


def _parse_value(text: str) -> str:
    text = text.strip()
    if text.startswith("'"):
        if quoted := _SINGLE_QUOTED.fullmatch(text):
            return quoted[1]
        raise ValueError("the single quote is not closed at the end of the value")
    if text.startswith('"'):
        if quoted := _DOUBLE_QUOTED.fullmatch(text):
            return _ESCAPE.sub(_unescape, quoted[1])
        raise ValueError("the double quote is not closed at the end of the value")
    return _COMMENT.sub("", text, count=1)


def _unescape(match: re.Match[str]) -> str:
    if match[1] not in _ESCAPES:
        raise ValueError('in double quotes, \\ must precede one of " \\ n r t; in single quotes it is literal')
    return _ESCAPES[match[1]]
