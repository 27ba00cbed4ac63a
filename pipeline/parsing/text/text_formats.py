"""Parsers of plain text in a known format: level, logger, time, and the fields of a request. Pure.

The message itself is never changed. A line's first characters select the formats that are tried, so that a line in none
of them costs next to nothing, and the result never depends on the lines before it. Only the first line of an event is
parsed (two of a java.util.logging record), at most 4 KiB; every pattern is linear in it.

A time is used only if it has a zone. A level is one at its place in a format, or a level's word at the very beginning;
a word within a text is none.
"""

import re
from collections.abc import Callable

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import ansi, exception, level, timestamp
from pipeline.parsing.text import access_log, head_formats, leading_timestamp, logfmt, server_log

MAX_CHARACTERS = 4096
MAX_STACK_CHARACTERS = 65536
"""Of a line of logfmt that contains a stack trace, with escaped line breaks."""

_KLOG = re.compile(  # CockroachDB has the year too
    r"([IWEFD])\d{4}(?:\d\d)? \d\d:\d\d:\d\d\.\d{6} +(\d{1,10}) ([^:\s\]]{1,200}):(\d{1,9})(?:\]| )", re.ASCII
)
_REDIS = re.compile(
    r"(?:(\d{1,10}):[XCSM]|\[(\d{1,10})\]) \d\d \w{3} (?:\d{4} )?\d\d:\d\d:\d\d\.\d{3} ([.*#-]) ", re.ASCII
)
_REDIS_LEVELS = {".": "debug", "-": "info", "*": "notice", "#": "warn"}
_APACHE = re.compile(
    r"\[\w{3} \w{3} \d\d \d\d:\d\d:\d\d\.?\d* \d{4}\] \[(?:(\w+):)?(\w+)\d?\] "
    r"(?:\[pid (\d{1,10})(?::tid (\d{1,18}))?\])?",
    re.ASCII,
)
_SYSTEMD = re.compile(r"<([0-7])>([\w.+`]{1,200})\[\d{1,9}\](?: |$)", re.ASCII)
_GIN_DEBUG = re.compile(r"\[GIN-debug\] \[([A-Z]{4,8})\] ")
_EPOCH = re.compile(r"(\d(?:\.\d{1,20})?e\+09|\d{10}(?:\.\d{1,9})?)\t([A-Za-z]{4,6})(?=\t)", re.ASCII)
_RUBY = re.compile(r"([DIWEFA]), \[[\d:.T-]{19,26} #(\d{1,10})\] +[A-Z]+ -- ([^:]{0,100}): ", re.ASCII)
_LEADING_LEVEL = re.compile(
    r"(?:\[ ?(?P<bracket>[A-Za-z]{3,11}\d?) *\]|[(<](?P<angle>[A-Za-z]{3,11}\d?)[)>]"
    r"|(?P<bare>[A-Za-z]{3,11}\d?)(?:[+-]\d{1,2})?(?=(?P<closing>[:|\t]|$| +[-|] | "
    r"|\[(?:\d{4,9}|[\d-]{10}[T ][\d:]{8}(?:Z|[+-]\d\d:\d\d)?)\] )))",
    re.ASCII,
)
_PYTHON_LOGGER = re.compile(r":([A-Za-z_][\w.]{0,200}):", re.ASCII)
_DOTNET_LOGGER = re.compile(r": ([\w.+`]{1,200})\[(\d{1,9})\](?: |$)", re.ASCII)
_JUL_START = re.compile(r"[A-Z][a-z]{2} \d")
_JUL_END = re.compile(r".{20,300}\n[A-Z]{4,7}: ")


def parse(message: str) -> JsonObject | None:
    """Return the fields of a line in any supported format; None for any other line."""
    parser = _BY_FIRST_CHARACTER.get(message[:1])
    if parser is None:
        return None
    text = line = message if len(message) <= MAX_CHARACTERS else _shorten(message)
    if "\n" in line:
        if _JUL_END.match(line) is not None and (fields := _jul(line)) is not None:
            return fields
        line = line[: line.index("\n")]
    if "\x1b" in line:
        line = str(ansi.strip(line)).strip()
        parser = _BY_FIRST_CHARACTER.get(line[:1], _no_format)
    fields = parser(line)
    if fields is not None and "=" in line and "log.level" in fields and "http.request.method" not in fields:
        logfmt.add_tail(fields, line)
    if fields is not None and text is not line and "log.level" in fields:
        logfmt.add_block_error(fields, text)
    return fields


def _shorten(message: str) -> str:
    line = message[:MAX_CHARACTERS]
    is_stack = "\\n" in line and "\n" not in line and "=" in line[:40]
    return message[:MAX_STACK_CHARACTERS] if is_stack else line


def _jul(line: str) -> JsonObject | None:
    """A record of java.util.logging: time and source, then the level, on one line or two."""
    return _other_line(line) if _JUL_START.match(line) is not None else None


def _no_format(_: str) -> None:
    return None


def _digit_first(line: str) -> JsonObject | None:
    mark = line[4:5]
    if mark == "-" or mark == "/" or line[2:3] == line[5:6] == ":":
        fields = leading_timestamp.parse(line)
        if fields is not None or mark == "/":
            return fields
    parser = _BY_CLOCK.get(line[2:3] + line[4:5])
    if parser is not None and (fields := parser(line)) is not None:
        return fields
    if '] "' in line and (fields := access_log.combined(line)) is not None:
        return fields
    if (fields := _redis(line)) is not None:
        return fields
    if "\t" in line[6:24] or line[6:7] == " ":
        return _epoch(line) or _other_line(line)
    if line[-5:-3] == '" ' and (fields := access_log.php_fpm(line)) is not None:
        return fields
    return _haproxy(line)


def _haproxy(line: str) -> JsonObject | None:
    if "[" not in line[:60]:
        return None
    return access_log.haproxy(line) or (server_log.haproxy_error(line) if ": " in line else None)


def _redis(line: str) -> JsonObject | None:
    match = _REDIS.match(line)
    return {"log.level": _REDIS_LEVELS[match[3]], "process.pid": int(match[1] or match[2])} if match else None


def _epoch(line: str) -> JsonObject | None:
    """zap's console with seconds since the epoch."""
    match = _EPOCH.match(line)
    name = level.WORDS.get(match[2]) if match else None
    if match is None or name is None:
        return None
    fields: JsonObject = {"log.level": name}
    seconds = float(match[1])
    if 10**8 <= seconds < 10**10:
        fields["@timestamp"] = timestamp.format_utc(round(seconds * 10**6) * 1000)
    leading_timestamp.add_tab_separated(fields, line, match.end())
    return fields


def _klog(line: str) -> JsonObject | None:
    match = _KLOG.match(line)
    if match is None:
        return None
    return {
        "log.level": level.LETTERS[match[1]],
        "process.thread.id": int(match[2]),
        "log.origin.file.name": match[3],
        "log.origin.file.line": int(match[4]),
    }


def _access(line: str) -> JsonObject | None:
    for parser in (
        access_log.combined,
        access_log.php_fpm,
        access_log.envoy,
        access_log.haproxy,
        access_log.uvicorn,
        access_log.django,
    ):
        fields = parser(line)
        if fields is not None:
            return fields
    return None


def _ruby(line: str) -> JsonObject | None:
    match = _RUBY.match(line)
    if match is None:
        return None
    fields = {"log.level": level.normalize(match[1]), "process.pid": int(match[2])}
    if match[1] == "F" and (error := exception.from_rails_line(line, match.end())) is not None:
        exception.add_error(fields, error)
    return {**fields, "log.logger": match[3]} if match[3].strip() else fields


def _ipv6_first(line: str) -> JsonObject | None:
    return access_log.combined(line) if '] "' in line else _haproxy(line)


def _letter_first(line: str) -> JsonObject | None:
    """Begins with a letter: a level's word, klog, Ruby's logger, logfmt, an access log by host name, an exception."""
    start = line[:3]
    if start == "NOT" and line.startswith(_FPM_MESSAGE):
        return _letter_first(line.removeprefix(_FPM_MESSAGE)) or _level_first(line)
    if start in _LEVEL_AND_METHOD_PREFIXES:
        fields = _level_first(line) if start not in _METHOD_PREFIXES else server_log.morgan(line)
        if fields is not None:
            return fields
    mark = line[1:2]
    if line[3:4] == " " and (fields := _jul(line)) is not None:
        return fields
    if mark.isdecimal():
        fields = _klog(line)
    elif mark == ",":
        fields = _ruby(line)
    elif "=" in line[:40]:
        fields = logfmt.parse(line)
    else:
        fields = (access_log.combined(line) if '] "' in line else None) or _haproxy(line)
    if fields is None and ": " in line and (error := exception.from_line(line)) is not None:
        fields = {"error.type": error[0], "error.message": error[1]} if error[1] else {"error.type": error[0]}
    if start == "PHP":
        return {**(server_log.php(line) or {}), **(fields or {})} or None
    return fields


def _level_first(line: str) -> JsonObject | None:
    match = _LEADING_LEVEL.match(line)
    if match is None:
        return None
    bracket, angle, bare, closing = match.groups()
    name = level.WORDS.get(bare or bracket or angle)
    is_prose = closing == " " and (not bare.isupper() or bare in _COLON_ONLY)
    if name is None or is_prose or line.startswith("Trace: "):  # Node's `console.trace` is a stack, no level
        return None
    if line.startswith("INFO: ") and (request := access_log.uvicorn(line)) is not None:
        return request
    fields: JsonObject = {"log.level": name}
    if bracket:
        if (details := server_log.coredns(line)) is not None:
            return fields | details
        if name == bracket and line[match.end() - 2] == " ":
            return fields | server_log.structlog(line, match.end())
    if closing and closing[0] == "[" and (closing[-3] == "Z" or closing[-8:-7] in ("+", "-")):  # logrus' time
        fields["@timestamp"] = closing[1:-2]
    if closing == ":":
        fields |= _after_colon(line, match.end())
    elif bare is None or bare.isupper():
        leading_timestamp.add_after_level(fields, line, match.end(), certain=False)
    return fields


def _after_colon(line: str, level_end: int) -> JsonObject:
    """The logger of Python's default format, with the request that aiohttp and Werkzeug log; or that of .NET's."""
    logger = _PYTHON_LOGGER.match(line, level_end)
    if logger is None:
        logger = _DOTNET_LOGGER.match(line, level_end)
        return {"log.logger": logger[1]} if logger is not None else {}
    request = access_log.combined(line[logger.end() :]) if '] "' in line else None
    return {**(request or {}), "log.logger": logger[1]}


def _systemd(line: str) -> JsonObject | None:
    """.NET's console for systemd: syslog's severity, then the logger."""
    match = _SYSTEMD.match(line)
    if match is None:
        return _level_first(line)
    return {"log.level": level.SYSLOG[int(match[1])], "log.logger": match[2]}


def _blank_first(line: str) -> JsonObject | None:
    """Rust's tracing without a time or with its pretty form; ActiveMQ's ` INFO | `."""
    stripped = line[:5].lstrip(" ") + line[5:]
    if stripped[4:5] == "-" and stripped[10:11] == "T":
        return leading_timestamp.parse(stripped)
    if not stripped[:4].isupper():
        return _other_line(stripped) if stripped[7:8] == "[" or stripped[6:7] == "[" else None
    fields = _level_first(stripped)
    return fields if fields and ("log.logger" in fields or stripped[4:8].lstrip().startswith("| ")) else None


def _bracket_first(line: str) -> JsonObject | None:
    """Begins with `[`: a time in brackets, or a level."""
    if line[1:2].isdecimal():
        return _bracketed_time(line)
    parser = _BY_BRACKET.get(line[1:5])
    if parser is not None:
        return parser(line)
    if line[1:2] == " " or line[2:3] == " ":
        return server_log.linkerd(line) or server_log.tornado(line)
    if line[4:5] == " ":
        match = _APACHE.match(line)
        if match is not None:
            return {**_apache(match), **server_log.apache_client(line)} or None
    return _level_first(line) or _other_line(line)


def _other_line(line: str) -> JsonObject | None:
    match = head_formats.LINES.match(line)
    if match is None:
        return None
    fields = head_formats.LINES.formats[match.lastindex].fields(match)
    name = level.normalize(fields["log.level"])
    return {**fields, "log.level": name} if name else None


def _gin_debug(line: str) -> JsonObject | None:
    match = _GIN_DEBUG.match(line)
    name = level.WORDS.get(match[1]) if match else None
    return {"log.level": name} if name else None


def _bracketed_time(line: str) -> JsonObject | None:
    if line[11:13] == "][" or "s][" in line[4:20]:
        return _other_line(line)
    if "s][" in line[30:50] and (fields := _other_line(line)):  # the JVM with time and uptime
        return {**(leading_timestamp.parse(line, 1) or {}), **fields}
    process_end = line.find("] ", 2, 12)
    if process_end > 0 and line[1:process_end].isdecimal():  # NATS and old Redis write their process id before the time
        return _redis(line) or _nats(line, process_end)
    if '] "' in line[:60]:
        return access_log.envoy(line) if line[5:6] == "-" else access_log.django(line)
    if line[3:4] == "-":
        return server_log.php(line)
    return leading_timestamp.parse_nested(line) if "][" in line[20:40] else leading_timestamp.parse(line, 1)


def _nats(line: str, process_end: int) -> JsonObject | None:
    fields = leading_timestamp.parse(line, process_end + 2)
    return {**fields, "process.pid": int(line[1:process_end])} if fields and "log.level" in fields else fields


def _apache(match: re.Match[str]) -> JsonObject:
    name = level.normalize(match[2])
    if name is None:
        return {}
    fields: JsonObject = {"log.level": name}
    if match[1]:
        fields["log.logger"] = match[1]
    if match[3]:
        fields["process.pid"] = int(match[3])
    if match[4]:
        fields["process.thread.id"] = int(match[4])
    return fields


_BY_CLOCK: dict[str, Callable[[str], JsonObject | None]] = {
    **dict.fromkeys((f"/{digit}" for digit in "0123456789"), server_log.spark),
    **dict.fromkeys((f"{digit}." for digit in "0123456789"), server_log.clickhouse),
    **dict.fromkeys((f"-{letter}" for letter in "aeucpo"), server_log.tomcat),
    **dict.fromkeys((f":{digit}" for digit in "0123456789"), server_log.zerolog),
    **dict.fromkeys((f"{digit}{half}" for digit in "0123456789" for half in "AP"), server_log.zerolog),
}
"""By the third and the fifth character of a line that begins with a digit."""
_BY_BRACKET: dict[str, Callable[[str], JsonObject | None]] = {
    "GIN]": server_log.gin,
    "GIN-": _gin_debug,
    "Nest": server_log.nest,
    "otel": _other_line,
}
_FPM_MESSAGE = "NOTICE: PHP message: "
_COLON_ONLY = frozenset({"LOG", "CONFIG", "ALERT", "FAIL", "FINE"})
"""Words in capitals that begin headlines too."""
_METHOD_PREFIXES = frozenset(("GET", "HEA", "POS", "PUT", "PAT", "DEL", "OPT"))
_LEVEL_AND_METHOD_PREFIXES = frozenset(word[:3] for word in level.WORDS) | _METHOD_PREFIXES
_BY_FIRST_CHARACTER: dict[str, Callable[[str], JsonObject | None]] = {
    **dict.fromkeys("0123456789", _digit_first),
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", _letter_first),
    "<": _systemd,
    "=": _other_line,
    "(": _level_first,
    " ": _blank_first,
    "[": _bracket_first,
    ":": _ipv6_first,
    "-": _ipv6_first,  # no address
    "\x1b": _no_format,  # colours: parsed again without them
}
PARSERS: dict[str, Callable[[str], JsonObject | None]] = {
    "auto": parse,
    "text": parse,
    "json": _no_format,
    "none": _no_format,
    "klog": _klog,
    "logfmt": logfmt.parse_all,
    "access": _access,
}
"""By the name of a parser in a setting or a pod's annotation."""
