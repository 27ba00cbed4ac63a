"""What a line of plain text tells by the format it is in: level, logger, time, and the fields of a request. Pure.

The message itself is never changed. A line's first characters say which formats are tried, so that a line in none of
them costs next to nothing, and what a line means never depends on the lines before it. Only the first line of an
event is looked at, of java.util.logging's records two, and of that 4 KiB; every pattern is linear in it.

A time is taken only where it names its zone. A level is taken from where a format has it, or from a level's word at
the very beginning; a word within a text is none.
"""

import re
from collections.abc import Callable
from typing import Any

from pipeline.parsing import access_log, ansi, exception, leading_timestamp, level, logfmt, server_log

MAX_CHARACTERS = 4096

Fields = dict[str, Any]

_KLOG = re.compile(  # CockroachDB has the year too
    r"([IWEFD])\d{4}(?:\d\d)? \d\d:\d\d:\d\d\.\d{6} +(\d{1,10}) ([^:\s\]]{1,200}):(\d{1,9})(?:\]| )", re.ASCII
)
_REDIS = re.compile(r"(\d{1,10}):[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) ", re.ASCII)
_REDIS_LEVELS = {".": "debug", "-": "info", "*": "notice", "#": "warn"}
_APACHE = re.compile(
    r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.?\d* \d{4}\] \[(?:(\w+):)?(\w+)\d?\] (?:\[pid (\d{1,10})\b)?", re.ASCII
)
_RUBY = re.compile(r"([DIWEFA]), \[[\d:.T-]{19,26} #(\d{1,10})\] +[A-Z]+ -- ([^:]{0,100}): ", re.ASCII)
_LEADING_LEVEL = re.compile(r"[\[(<]?([A-Za-z]{3,11}\d?)(?=([\])>:|\t]|$| +[-|] | ))", re.ASCII)
_PYTHON_LOGGER = re.compile(r":([A-Za-z_][\w.]{0,200}):", re.ASCII)
_DOTNET_LOGGER = re.compile(r": ([\w.+`]{1,200})\[(\d{1,9})\](?: |$)", re.ASCII)
_JUL = re.compile(
    r"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d[ \u202f][AP]M ([\w.$]{1,200})(?: ([\w$<>]{1,200}))?\n"
    r"([A-Z]{4,7}): ",
    re.ASCII,
)


def parse(message: str) -> Fields | None:
    """The fields that a line's format gives; None when it is in no format known here."""
    read = _BY_FIRST_CHARACTER.get(message[:1])
    if read is None:
        return None
    line = message if len(message) <= MAX_CHARACTERS else message[:MAX_CHARACTERS]
    if "\n" in line:
        if (match := _JUL.match(line)) is not None:
            return _jul(match)
        line = line[: line.index("\n")]
    if "\x1b" in line:
        line = str(ansi.strip(line)).strip()
        read = _BY_FIRST_CHARACTER.get(line[:1], _no_format)
    return read(line)


def _jul(match: re.Match[str]) -> Fields | None:
    """A record of java.util.logging's: time and place on the first line, the level on the second."""
    logger, function, word = match.groups()
    name = level.WORDS.get(word)
    found = {"log.level": name, "log.logger": logger, "log.origin.function": function}
    return {key: text for key, text in found.items() if text} if name else None


def _no_format(_: str) -> None:
    return None


def _digit_first(line: str) -> Fields | None:
    mark = line[4:5]
    if mark == "-" or mark == "/" or line[2:3] == line[5:6] == ":":
        found = leading_timestamp.parse(line)
        if found is not None or mark == "/":
            return found
    read = _BY_CLOCK.get(line[2:3] + line[4:5])
    if read is not None and (found := read(line)) is not None:
        return found
    if '] "' in line:
        return access_log.combined(line)
    match = _REDIS.match(line)
    if match is not None:
        return {"log.level": _REDIS_LEVELS[match[2]], "process.pid": int(match[1])}
    if line[-1] == '"':
        return access_log.haproxy(line)
    return server_log.haproxy_error(line) if ": " in line and "[" in line[:60] else None


def _klog(line: str) -> Fields | None:
    match = _KLOG.match(line)
    if match is None:
        return None
    return {
        "log.level": level.LETTERS[match[1]],
        "process.thread.id": int(match[2]),
        "log.origin.file.name": match[3],
        "log.origin.file.line": int(match[4]),
    }


def _access(line: str) -> Fields | None:
    for read in (access_log.combined, access_log.envoy, access_log.haproxy, access_log.uvicorn, access_log.django):
        found = read(line)
        if found is not None:
            return found
    return None


def _ruby(line: str) -> Fields | None:
    match = _RUBY.match(line)
    if match is None:
        return None
    found = {"log.level": level.normalize(match[1]), "process.pid": int(match[2])}
    return {**found, "log.logger": match[3]} if match[3].strip() else found


def _letter_first(line: str) -> Fields | None:
    """Begins with a letter: a level's word, klog, Ruby's logger, logfmt, an access log by host name, an error."""
    start = line[:3]
    if start in _LEVEL_AND_METHOD_PREFIXES:
        found = _level_first(line) if start not in _METHOD_PREFIXES else server_log.morgan(line)
        if found is not None:
            return found
    mark = line[1:2]
    if mark.isdecimal():
        found = _klog(line)
    elif mark == ",":
        found = _ruby(line)
    elif "=" in line[:40]:
        found = logfmt.parse(line)
    else:
        found = access_log.combined(line) if '] "' in line else None
    if found is None and ": " in line and (what := exception.from_line(line)) is not None:
        return {"error.type": what[0], "error.message": what[1]}
    return found


def _level_first(line: str) -> Fields | None:
    match = _LEADING_LEVEL.match(line)
    if match is None:
        return None
    word, behind = match.groups()
    name = level.WORDS.get(word)
    if name is None or (behind == " " and (not word.isupper() or word in _COLON_ONLY)):
        return None
    if line.startswith("INFO: ") and (request := access_log.uvicorn(line)) is not None:
        return request
    found: Fields = {"log.level": name}
    if behind == ":":
        logger = _PYTHON_LOGGER.match(line, match.end()) or _DOTNET_LOGGER.match(line, match.end())
        if logger is not None:
            found["log.logger"] = logger[1]
    elif behind == "]" and (told := server_log.coredns(line)) is not None:
        found.update(told)
    return found


def _bracket_first(line: str) -> Fields | None:
    """Begins with `[`: a time in brackets, or a level."""
    if line[1:2].isdecimal():
        return _bracketed_time(line)
    read = _BY_BRACKET.get(line[1:5])
    if read is not None:
        return read(line)
    if line[1:2] == " " or line[2:3] == " ":
        return server_log.linkerd(line) or server_log.tornado(line)
    if line[4:5] == " ":
        match = _APACHE.match(line)
        if match is not None:
            return {**_apache(match), **server_log.apache_client(line)} or None
    return _level_first(line) or server_log.slf4j_simple(line)


def _bracketed_time(line: str) -> Fields | None:
    behind = line.find("] ", 2, 12)
    if behind > 0 and line[1:behind].isdecimal():  # NATS has its process before the time
        return leading_timestamp.parse(line, behind + 2)
    if '] "' in line[:60]:
        return access_log.envoy(line) if line[5:6] == "-" else access_log.django(line)
    if line[3:4] == "-":
        return server_log.php(line)
    return leading_timestamp.parse_nested(line) if "][" in line[20:40] else leading_timestamp.parse(line, 1)


def _apache(match: re.Match[str]) -> Fields:
    name = level.normalize(match[2])
    if name is None:
        return {}
    found: Fields = {"log.level": name}
    if match[1]:
        found["log.logger"] = match[1]
    if match[3]:
        found["process.pid"] = int(match[3])
    return found


_BY_CLOCK: dict[str, Callable[[str], Fields | None]] = {
    **dict.fromkeys((f"/{digit}" for digit in "0123456789"), server_log.spark),
    **dict.fromkeys((f"{digit}." for digit in "0123456789"), server_log.clickhouse),
    **dict.fromkeys((f"-{letter}" for letter in "aeucpo"), server_log.tomcat),
    **dict.fromkeys((f":{digit}" for digit in "0123456789"), server_log.zerolog),
    **dict.fromkeys((f"{digit}{half}" for digit in "0123456789" for half in "AP"), server_log.zerolog),
}
"""By the third and the fifth character of a line that begins with a digit."""
_BY_BRACKET: dict[str, Callable[[str], Fields | None]] = {
    "GIN]": server_log.gin,
    "Nest": server_log.nest,
}
_COLON_ONLY = frozenset({"LOG", "CONFIG", "ALERT", "FAIL", "FINE"})
"""Capitals that begin headlines too."""
_METHOD_PREFIXES = frozenset(("GET", "HEA", "POS", "PUT", "PAT", "DEL", "OPT"))
_LEVEL_AND_METHOD_PREFIXES = frozenset(word[:3] for word in level.WORDS) | _METHOD_PREFIXES
_BY_FIRST_CHARACTER: dict[str, Callable[[str], Fields | None]] = {
    **dict.fromkeys("0123456789", _digit_first),
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", _letter_first),
    **dict.fromkeys("<(", _level_first),
    "[": _bracket_first,
    ":": access_log.combined,  # IPv6
    "\x1b": _no_format,  # colours: read again without them
}
PARSERS: dict[str, Callable[[str], Fields | None]] = {
    "auto": parse,
    "text": parse,
    "json": _no_format,
    "none": _no_format,
    "klog": _klog,
    "logfmt": logfmt.parse,
    "access": _access,
}
"""By the name of a parser, as a setting or a pod's annotation has it."""
