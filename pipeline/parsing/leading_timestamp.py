"""Parser of lines that begin with a timestamp: level, logger, thread and the time itself as flat ECS fields. Pure.

Supported: log4j, logback, Spring Boot, JBoss and Quarkus, Python's logging, loguru, gunicorn, Celery, Airflow, Monolog,
zap's console, Istio, hclog, Go's own log, Rust's env_logger and tracing, Serilog, PostgreSQL, MySQL, MariaDB, MongoDB,
RabbitMQ, etcd, Elasticsearch, Kafka, Envoy and nginx's error log. The text after the time is parsed in two steps, the
level and the rest, each one pattern without nested repetition.
"""

import re

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import level, server_log, spring_boot
from pipeline.parsing.format_table import Format, FormatTable

# Possessive quantifiers: without backtracking no line costs more than its length.
_TIMESTAMP = re.compile(
    r"(?:(\d{4}[-/]\d\d[-/]\d\d)[T ])?(\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(?: ?(Z\b|UTC\b|GMT\b|[+-]\d\d:?\d\d\b))?"
    r"[\]\s|:-]*+([\[(<]?) ?(?:([A-Za-z]{1,11}\d?)(?=[\s\])>:|/]|$))?",
    re.ASCII,
)
_LEVEL = r"\[?(?P<level>[A-Za-z]{3,9}\d?)\b"
_BEFORE_LEVEL = FormatTable(
    Format(  # PostgreSQL's user and database after its process
        "PostgreSQL",
        r"\[ *+(?P<pid>\d{1,10}+)\][\s|:-]*+(?:\S{1,64}@\S{1,64} )?" + _LEVEL,
        {"level": "log.level", "pid": "process.pid"},
    ),
    Format(
        "logback",
        r"\[ *+(?P<thread>[^\]]{1,100}+)\][\s|:-]*+(?:\S{1,64}@\S{1,64} )?" + _LEVEL,
        {"level": "log.level", "thread": "process.thread.name"},
    ),
    Format(
        "Python",
        r"(?P<logger>[\w.$/:-]{1,100}+) ++- ++" + _LEVEL,
        {"level": "log.level", "logger": "log.logger"},
    ),
    Format(
        "Airflow",
        r"\{(?P<file>[^}:]{1,100}):(?P<line>\d{1,9})\} " + _LEVEL,
        {"level": "log.level", "file": "log.origin.file.name", "line": "log.origin.file.line"},
    ),
    Format(
        "Monolog",
        r"(?P<channel>[\w-]{1,60})\.(?=[A-Z]+: )" + _LEVEL,
        {"level": "log.level", "channel": "log.logger"},
    ),
    Format(
        "Sidekiq",
        r"pid=(?P<pid>\d{1,10}) tid=\w{1,20} (?:class=\S{1,100} )?(?:jid=\w{1,40} )?(?:elapsed=[\d.]{1,20} )?" + _LEVEL,
        {"level": "log.level", "pid": "process.pid"},
    ),
    Format("MySQL", r"\d{1,10} " + _LEVEL, {"level": "log.level"}),
)
_AFTER_LEVEL = FormatTable(
    Format("NLog", r"(?<=\w\|)(?P<logger>[\w.$+`]{1,100}+)\|", {"logger": "log.logger"}),
    Format(
        "JBoss, Quarkus",
        r"\[(?P<logger>[\w.$]{1,100}+)\] \((?P<thread>[^)]{1,100}+)\) ",
        {"logger": "log.logger", "thread": "process.thread.name"},
    ),
    Format("nginx", r"(?P<pid>\d{1,10}+)#\d++: ", {"pid": "process.pid"}),
    Format(
        "Calico",
        r"\[\d{1,10}+\] (?P<file>[\w./-]{1,100}+) (?P<line>\d{1,9}+): ",
        {"file": "log.origin.file.name", "line": "log.origin.file.line"},
    ),
    Format(
        "zerolog's console",
        r"(?P<file>[\w./-]{1,200}+):(?P<line>\d{1,9}+) > ",
        {"file": "log.origin.file.name", "line": "log.origin.file.line"},
    ),
    Format(
        "logger",
        r"(?:\[ *+(?P<thread>[^\]]{1,100}+)\] ++)?+"
        r"(?:[\w-]{1,64}+\{[^}]{0,200}+\}:?+ ?+)*+"  # spans of tracing's
        r"(?P<logger>[A-Za-z_$][\w$-]*+(?:(?:[./]|::)(?:[\w$-]++|\[[^\]\s]{0,60}+\]))*+)"
        r"(?::(?P<function>[A-Za-z_<][\w<>]*+))?(?::(?P<line>\d{1,9}+))? *+(?:-{1,2}+ |[:|] |\t(?!\{)|\] )",
        {
            "logger": "log.logger",
            "thread": "process.thread.name",
            "function": "log.origin.function",
            "line": "log.origin.file.line",
        },
    ),
    prefix=r"[\])>]?[\s|:-]*+",
)
_IN_BRACKETS = re.compile(r" in ([\w.]{1,60}): |\] \[([\w:.]{1,60})\] ", re.ASCII)  # Flask, Fluent Bit
_HCLOG = re.compile(r"\](?:  |(?<=[A-Z]{5}\]) )[\w.-]{1,60}: ", re.ASCII)
_SIMPLE_NAME = re.compile(r"[\w$-]+", re.ASCII)
_ORIGIN = re.compile(r"([\w./-]{1,200}\.go):(\d{1,9}): ", re.ASCII)
_ELASTICSEARCH = re.compile(r"\]\[(\w+) *\]\[([^\]\s]{1,200}) *\]", re.ASCII)
_ENVOY = re.compile(r"\]\[(\d{1,10})\]\[(\w+)\]\[([\w-]{1,60})\]", re.ASCII)
_MYSQL = {"Note": "notice", "System": "info"}
_ZONES = {"Z": "Z", "UTC": "Z", "GMT": "Z"}


def parse(line: str, start: int = 0) -> JsonObject | None:
    """Return the fields of a line whose time begins at `start`; None without a time or without any field."""
    match = _TIMESTAMP.match(line, start)
    if match is None:
        return None
    day, clock, fraction, zone, opening, word = match.groups()
    fields: JsonObject = {}
    if zone and day and day[4] == "-":
        zone = _ZONES.get(zone) or (zone if zone[3] == ":" else f"{zone[:3]}:{zone[3:]}")
        fields["@timestamp"] = f"{day}T{clock}.{fraction}{zone}" if fraction else f"{day}T{clock}{zone}"
    end = match.end()
    name = level.WORDS.get(word) if word else None
    if name is not None:
        fields["log.level"] = name
        if not (start and _add_bracketed(fields, line, end, day)):
            rust = zone == "Z" and fraction is not None and len(fraction) == 6
            certain = rust or (zone is not None and opening == "[" and _HCLOG.match(line, end) is not None)
            _add_after_level(fields, line, end, certain=certain)
    elif not (word and len(word) == 1 and _add_letter_level(fields, line, word, end)):
        _add_later_level(fields, line, match.start(5))
    return fields or None


def _add_bracketed(fields: JsonObject, line: str, end: int, day: str | None) -> bool:
    """A time in brackets: Kafka's logger at the end, Flask's module, Fluent Bit's component."""
    if line[-1] == ")" and _add_trailing_logger(fields, line):
        return True
    match = _IN_BRACKETS.match(line, end)
    if match is None or (match[2] and (day is None or day[4] != "/")):
        return False
    file, _, number = (match[2] or "").partition(":")
    if number.isdecimal():  # TiDB
        fields["log.origin.file.name"], fields["log.origin.file.line"] = file, int(number)
    else:
        fields["log.logger"] = match[1] or match[2]
    return True


def parse_nested(line: str) -> JsonObject | None:
    """Return the fields of a line with time, level and logger each in brackets; None for any other line."""
    at = line.find("][", 20, 40)
    match = _ENVOY.match(line, at)
    if match is not None:
        name = level.normalize(match[2])
        return {"log.level": name, "log.logger": match[3], "process.thread.id": int(match[1])} if name else None
    match = _ELASTICSEARCH.match(line, at)
    name = level.normalize(match[1]) if match else None
    return {"log.level": name, "log.logger": match[2]} if match and name else None


def _add_letter_level(fields: JsonObject, line: str, letter: str, end: int) -> bool:
    """A letter is a level if etcd's bar or MongoDB's component follows."""
    name = level.LETTERS.get(letter)
    if name is None or not (line.startswith(" | ", end) or line[end + 1 : end + 4].isupper()):
        return False
    fields["log.level"] = name
    return True


def _add_after_level(fields: JsonObject, line: str, end: int, *, certain: bool) -> None:
    """Logger, thread or source after the level. A single word is a logger only in an unambiguous (`certain`) format."""
    if " --- [" in line and (spring := spring_boot.parse(line, end)):
        fields.update(spring)
        return
    match = _AFTER_LEVEL.match(line, end)
    if match is None:
        return
    found = _AFTER_LEVEL.formats[match.lastindex]
    if found.name != "logger":
        fields.update(found.fields(match))
        if found.name == "nginx":
            fields.update(server_log.nginx(line))
        return
    logger, thread, function, number = match.group(*found.groups)
    if number and not function:
        fields["log.origin.file.name"] = logger
        fields["log.origin.file.line"] = int(number)
    elif certain or thread or line[match.end() - 1] == "\t" or not _SIMPLE_NAME.fullmatch(logger):
        fields["log.logger"] = logger
        if thread:
            fields["process.thread.name"] = thread.rstrip()
        if function and number:
            fields["log.origin.function"] = function
            fields["log.origin.file.line"] = int(number)


def _add_later_level(fields: JsonObject, line: str, start: int) -> None:
    """The level follows a thread, a process, a logger or a source file."""
    match = _BEFORE_LEVEL.match(line, start)
    if match is None:
        _add_origin(fields, line, start)
        return
    found = _BEFORE_LEVEL.formats[match.lastindex]
    word, closing = match[found.groups[0]], line[match.end() : match.end() + 1]
    name = level.WORDS.get(word) if word.isupper() or closing == "]" else None
    name = name or (_MYSQL.get(word) if closing == "]" else None)
    if name is None:
        return
    fields |= {**found.fields(match), "log.level": name}
    if found.name == "logback" and (after := _AFTER_LEVEL.match(line, match.end())) is not None:
        found = _AFTER_LEVEL.formats[after.lastindex]
        if found.name == "logger":
            fields["log.logger"] = after[found.groups[0]]


def _add_origin(fields: JsonObject, line: str, start: int) -> None:
    match = _ORIGIN.match(line, start)
    if match is not None:
        fields["log.origin.file.name"] = match[1]
        fields["log.origin.file.line"] = int(match[2])


def _add_trailing_logger(fields: JsonObject, line: str) -> bool:
    """Kafka's and ZooKeeper's pattern ends with the logger in parentheses."""
    logger = line[line.rfind("(") + 1 : -1]
    if len(logger) > 200 or " " in logger or "." not in logger:
        return False
    fields["log.logger"] = logger
    return True
