"""Parser of lines that begin with a timestamp: level, logger, thread and the time itself as flat ECS fields. Pure.

Supported: log4j, logback, Spring Boot, JBoss and Quarkus, Python's logging, loguru, gunicorn, Celery, Airflow, Monolog,
zap's console, Istio, hclog, Go's own log, Rust's env_logger and tracing, Serilog, PostgreSQL, MySQL, MariaDB, MongoDB,
RabbitMQ, etcd, Elasticsearch, Kafka, Envoy, nginx's error log and others: `head_formats` has the rows. The text after
the time is parsed in two steps, the level and the rest, each one pattern without nested repetition.
"""

import re

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import exception, level
from pipeline.parsing.text import head_formats, logfmt, server_log

# Possessive quantifiers: without backtracking no line costs more than its length.
TIMESTAMP = re.compile(
    r"(?:(\d{4}[-/]\d\d[-/]\d\d)[T ])?(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?"
    r"(Z\b|[+-]\d\d(?::?\d\d)?\b|(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?\b"
    # After a blank it could be a word or a number of the text, unless what follows is a head.
    r"| (?:(?:UTC|GMT)(?:[+-]\d{1,2}(?::?\d\d)?)?\b|Z\b|[+-]\d\d:\d\d\b"
    r"|[+-]\d{4}(?=\]|:? ?\[|:? \||\t| +[A-Z]{3,8}\b)|[+-]\d\d(?=\]|:? ?\[\d| [A-Z]{3,8}\b)"
    r"|(?:[A-Z]{2,4}T|MSK|WIB)(?= \[| +[A-Z]{3,})))?"
    r"[\]\s|:-]*+([\[(<]?) ?(?:([A-Za-z]{1,11}\d?)(?:[+-]\d{1,2}\b)?(?=[\s\])>:|/]|$))?",
    re.ASCII,
)
"""Date, clock, fraction, zone; an opening bracket; a word."""
_OFFSET = re.compile(r"([+-])(\d{1,2}):?(\d\d)?")
_MAX_OFFSET_HOURS = 14
_OFFSET_MINUTES = (None, "00", "15", "30", "45")
_IN_BRACKETS = re.compile(r" in ([\w.]{1,60}): |\] \[([\w:.]{1,60})\] |\] ([\w.-]{1,60}) - ", re.ASCII)
"""Flask's, Fluent Bit's, log4js' name."""
_KAFKA_LOGGER = re.compile(r"(?:kafka|state|org|com|io|net)(?:\.[\w$-]{1,100}){1,20}", re.ASCII)
_HCLOG = re.compile(r"\](?:  |(?<=[A-Z]{5}\]) )[\w.-]{1,60}: ", re.ASCII)
_DOTTED_NAME = re.compile(r"[^/]+(?:\.|::)[^/]+", re.ASCII)
_ORIGIN = re.compile(r"([\w./-]{1,200}\.go):(\d{1,9}): ", re.ASCII)
_NESTED_TIME = re.compile(r"\[(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)[.,](\d{1,9})(Z|[+-]\d\d:?\d\d)?\]", re.ASCII)
_ELASTICSEARCH = re.compile(r"\]\[(\w+) *\]\[([^\]\s]{1,200}) *\](\[?)", re.ASCII)
_ENVOY = re.compile(r"\]\[(\d{1,10})\]\[(\w+)\]\[([\w-]{1,60})\]", re.ASCII)
_MONGODB = re.compile(r"([FEWID])\d? +([A-Z_]{1,20}|-) +\[([^\]]{1,100})\] ", re.ASCII)
_ETCD = re.compile(r"([TDINWECF]) \| (?:([\w./-]{1,60}): )?", re.ASCII)
_ZAP_CALLER = re.compile(r"([\w./@+-]{1,300}\.go):(\d{1,9})", re.ASCII)
_ZAP_NAME = re.compile(r"[A-Za-z_][\w./:-]{0,100}", re.ASCII)
_JAVA_CLASS = re.compile(r"(?:[a-z]\w*\.){1,20}[A-Z][\w$.]*", re.ASCII)
_MYSQL = {"Note": "notice", "System": "info", "Warn": "warn"}
_PROSE = frozenset({"LOG", "CONFIG", "ALERT", "FAIL", "FINE"})
"""Words in capitals that begin a text too."""
_CLOSING = frozenset("])>:|/\t")


def parse(line: str, start: int = 0) -> JsonObject | None:
    """Return the fields of a line whose time begins at `start`; None without a time or without any field."""
    match = TIMESTAMP.match(line, start)
    if match is None:
        return None
    day, clock, fraction, zone, opening, word = match.groups()
    fields: JsonObject = {}
    if zone and day and (offset := _offset(zone.lstrip())):
        fields["@timestamp"] = f"{day.replace('/', '-')}T{clock}{'.' if fraction else ''}{fraction or ''}{offset}"
    end = match.end()
    name = level.WORDS.get(word) if word else None
    if name is None:
        if not (word and len(word) <= 2 and _add_letter_level(fields, line, match.start(6))):
            _add_later_level(fields, line, match.start(5))
    elif line[end : end + 1] == "\t" and (day or opening == ""):
        fields["log.level"] = name
        add_tab_separated(fields, line, end)
    else:
        certain = zone is not None and _is_certain(line, match)
        head: JsonObject = {}
        if opening == "[" and not start:
            head = server_log.coredns(line[match.start(5) :]) or _structlog(line, word, end)
        if not head and not (start and _add_bracketed(head, line, end, day)):
            add_after_level(head, line, end, certain=certain or line[match.start(6) - 1] == ":")
        closing = line[end : end + 1]
        if (
            (word.isupper() and (closing != " " or head or word not in _PROSE))
            or opening
            or closing in _CLOSING
            or "log.logger" in head
        ):
            fields |= {"log.level": name, **head}
    return fields or None


def _is_certain(line: str, match: re.Match[str]) -> bool:
    """Whether a time with a zone is Rust's tracing, env_logger or hclog: what follows the level is a logger."""
    day, _, fraction, zone, opening, _ = match.groups()
    if zone == "Z" and fraction is not None and len(fraction) == 6:
        return True
    if zone == "Z" and not opening and match.start() == 1 and line[11:12] == "T":
        return True
    return day is not None and opening == "[" and _HCLOG.match(line, match.end()) is not None


def _structlog(line: str, word: str, end: int) -> JsonObject:
    """The logger of structlog's console, which pads the level within its brackets."""
    closing = line.find("]", end, end + 8)
    return (
        server_log.structlog(line, closing + 1) if line[end : end + 1] == " " and word.islower() and closing > 0 else {}
    )


def _offset(zone: str) -> str:
    """Return a zone as `Z` or `+03:00`; empty for a zone's name, which could be several, and for an invalid offset."""
    match = _OFFSET.search(zone)
    if match is None:
        return "Z" if zone in ("Z", "UTC", "GMT") else ""
    sign, hours, minutes = match.groups()
    if int(hours) > _MAX_OFFSET_HOURS or minutes not in _OFFSET_MINUTES:
        return ""
    return f"{sign}{int(hours):02d}:{minutes or '00'}"


def _add_bracketed(fields: JsonObject, line: str, end: int, day: str | None) -> bool:
    """A time in brackets: Flask's module, Fluent Bit's component, log4js' category, Kafka's logger at the end."""
    match = _IN_BRACKETS.match(line, end)
    if match is None:
        return line[-1] == ")" and _add_trailing_logger(fields, line)
    if match[3] and (line[11] != "T" or not head_formats.is_logger(match[3])):
        return False
    if match[1] or match[3]:
        fields["log.logger"] = match[1] or match[3]
        return True
    file, _, number = match[2].partition(":")
    if number.isdecimal():  # TiDB
        fields["log.origin.file.name"], fields["log.origin.file.line"] = file, int(number)
    elif (day and day[4] == "/") or ("." in file and head_formats.is_logger(file)):
        fields["log.logger"] = match[2]
    return bool(fields)


def parse_nested(line: str) -> JsonObject | None:
    """Return the fields of a line with time, level and logger each in brackets; None for any other line."""
    at = line.find("][", 20, 40)
    match = _ENVOY.match(line, at)
    if match is not None:
        name = level.normalize(match[2])
        return {"log.level": name, "log.logger": match[3], "process.thread.id": int(match[1])} if name else None
    match = _ELASTICSEARCH.match(line, at)
    name = level.normalize(match[1]) if match else None
    if match is None or name is None:
        return None
    fields: JsonObject = {"log.level": name}
    if "." in match[2] or not match[3]:
        fields["log.logger"] = match[2]
    time = _NESTED_TIME.match(line)
    if time is not None and time[4] and (offset := _offset(time[4])):
        fields["@timestamp"] = f"{time[1]}T{time[2]}.{time[3]}{offset}"
    return fields


def _add_letter_level(fields: JsonObject, line: str, start: int) -> bool:
    """A letter is a level if etcd's bar or MongoDB's component follows."""
    match = _ETCD.match(line, start)
    if match is not None:
        fields["log.level"] = level.LETTERS[match[1]]
        if match[2]:
            fields["log.logger"] = match[2]
        return True
    match = _MONGODB.match(line, start)
    if match is None:
        return False
    fields |= {"log.level": level.LETTERS[match[1]], "process.thread.name": match[3]}
    if match[2] != "-":
        fields["log.logger"] = match[2]
    return True


def add_tab_separated(fields: JsonObject, line: str, end: int) -> None:
    """What follows a level and a tab: zap's name and caller; Trino's thread and class; else Istio's scope."""
    parts = line[end + 1 :].split("\t")
    if len(parts) > 2 and _JAVA_CLASS.fullmatch(parts[1]) is not None:
        fields |= {"process.thread.name": parts[0], "log.logger": parts[1]}
        return
    caller = _ZAP_CALLER.fullmatch(parts[0])
    if caller is None and len(parts) > 1 and _ZAP_NAME.fullmatch(parts[0]) and not parts[1].startswith("{"):
        fields["log.logger"] = parts.pop(0)
        caller = _ZAP_CALLER.fullmatch(parts[0])
    if caller is not None and len(parts) > 1:
        fields |= {"log.origin.file.name": caller[1], "log.origin.file.line": int(caller[2])}
    if line[-1] == "}":
        logfmt.add_tail_object(fields, line)


def add_after_level(fields: JsonObject, line: str, end: int, *, certain: bool) -> None:
    """Logger, thread or source after the level. A single word is a logger only in an unambiguous (`certain`) format."""
    if " --- [" in line and (spring := head_formats.spring_boot(line, end)):
        fields.update(spring)
        return
    match = head_formats.AFTER_LEVEL.match(line, end)
    if match is None:
        return
    row = head_formats.AFTER_LEVEL.formats[match.lastindex]
    if row.name in head_formats.WITH_LOGGER:
        _add_logger(fields, line, match, certain=certain)
        return
    found = row.fields(match)
    if row.name not in head_formats.WITHOUT_SEPARATOR or head_formats.is_logger(found["log.logger"]):
        fields.update(found)
    if row.name == "nginx":
        fields.update(server_log.nginx(line))


def _add_logger(fields: JsonObject, line: str, match: re.Match[str], *, certain: bool) -> None:
    """A logger with its thread, function and line; or a source file with its line."""
    row = head_formats.AFTER_LEVEL.formats[match.lastindex]
    groups = row.groups
    logger, thread = match[groups["logger"]], (match[groups["thread"]] or "").rstrip()
    function, number = ("", "") if len(groups) == 2 else (row.text(match, "function"), row.text(match, "line"))
    if number and not function and head_formats.is_file(logger):
        fields |= {"log.origin.file.name": logger, "log.origin.file.line": int(number)}
    elif head_formats.is_logger(logger) and (certain or thread or number or _DOTTED_NAME.fullmatch(logger)):
        fields["log.logger"] = logger
        if "::" in logger:
            fields |= head_formats.rust_source(line, match.end())
        if thread and head_formats.may_be_thread(thread):
            fields["process.thread.name"] = thread
        if number:
            fields["log.origin.file.line"] = int(number)
        if number and function:
            fields["log.origin.function"] = function
        fields |= head_formats.correlation_ids(line, match.start(), match.end())


def _add_later_level(fields: JsonObject, line: str, start: int) -> None:
    """The level follows a thread, a process, a logger or a source file."""
    match = head_formats.BEFORE_LEVEL.match(line, start)
    if match is None:
        _add_origin(fields, line, start)
        return
    row = head_formats.BEFORE_LEVEL.formats[match.lastindex]
    word, end = row.text(match, "level"), match.end()
    name = level.WORDS.get(word) or _MYSQL.get(word)
    if name is None:
        if row.name == "PostgreSQL":  # a line that belongs to an error
            fields |= row.fields(match)
        return
    if not word.isupper() and line[end : end + 1] not in _CLOSING:
        return
    fields["log.level"] = name
    if row.name == "bracket":
        fields |= head_formats.correlation_ids(line, start, end)
        head: JsonObject = {}
        add_after_level(head, line, end, certain=False)
        _add_thread(fields, row.text(match, "thread"), head)
    else:
        logger = row.text(match, "logger")
        fields |= {**row.fields(match), "log.level": name}
        if logger and ("." in logger or ":" in logger) and not head_formats.is_logger(logger):
            del fields["log.logger"]
        if row.name == "Monolog" and (error := exception.from_monolog(line)) is not None:
            exception.add_error(fields, error)


def _add_thread(fields: JsonObject, thread: str, head: JsonObject) -> None:
    """What is in brackets before the level is a thread if a logger follows the level, or by its name."""
    thread = thread.rstrip()
    if "log.logger" in head or "log.origin.file.name" in head:
        fields |= head
        if thread.isdecimal():
            fields["process.thread.id"] = int(thread)
        elif head_formats.may_be_thread(thread):
            fields["process.thread.name"] = thread
    elif head_formats.is_thread(thread):
        fields["process.thread.name"] = thread


def _add_origin(fields: JsonObject, line: str, start: int) -> None:
    match = _ORIGIN.match(line, start)
    if match is not None:
        fields["log.origin.file.name"] = match[1]
        fields["log.origin.file.line"] = int(match[2])


def _add_trailing_logger(fields: JsonObject, line: str) -> bool:
    """Kafka's and ZooKeeper's pattern ends with the logger in parentheses."""
    logger = line[line.rfind("(") + 1 : -1]
    if _KAFKA_LOGGER.fullmatch(logger) is None or not head_formats.is_logger(logger):
        return False
    fields["log.logger"] = logger
    return True
