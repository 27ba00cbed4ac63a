"""What loggers write between the time and the message: thread, process, level, logger, source, ids. Pure, and linear.

Three tables. `BEFORE_LEVEL`: the level follows something else. `AFTER_LEVEL`: what follows the level. `LINES`: lines
that begin with neither a level nor a time of the common spellings. A row names only what its format defines; where
several formats look alike, nothing is taken.
"""

import re

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import level
from pipeline.parsing.text.format_table import Format, FormatTable
from pipeline.short_key_cache import cache_short_keys

# Possessive quantifiers: without backtracking no line costs more than its length.
LOGGER = r"\.?[A-Za-z_$][\w$-]*+(?:(?:[./]|::)(?:[\w$-]++|\[[^\]\s]{0,60}+\]))*+"
_DOTTED = r"[A-Za-z_$][\w$]*+(?:\.[A-Za-z_$][\w$]*+)++"
_WORDS = "|".join(sorted(level.WORDS, reverse=True))
_LEVEL = rf"\[? ?(?P<level>{_WORDS})(?!\w)"

BEFORE_LEVEL = FormatTable(
    Format(  # its log_line_prefix is free, but the level is one of its words, with a colon and two blanks
        "PostgreSQL",
        r"\[(?P<pid>\d{1,10}+)(?:-\d{1,10})?\]:? (?:\[\d{1,10}(?:-\d{1,10})?\] )?(?:[^\s:]{1,200} ){0,4}?"
        r"(?:(?P<level>LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG[1-5]?)"
        r"|STATEMENT|DETAIL|HINT|CONTEXT|LOCATION|QUERY|BACKTRACE):  ",
    ),
    Format(
        "PgBouncer", r"\[(?P<pid>\d{1,10}+)\] (?P<level>LOG|WARNING|ERROR|FATAL|DEBUG)(?= [CS]-0x[0-9a-f]+: | kernel)"
    ),
    Format("PostgreSQL, without details", r"\[(?P<pid>\d{1,10}+)\] (?:\S{1,64}@\S{1,64} )?(?P<level>LOG|FATAL)(?=: )"),
    Format(
        "PostgreSQL, csvlog",
        r",(?:\x22[^\x22]{0,64}\x22)?,(?:\x22[^\x22]{0,64}\x22)?,(?P<pid>\d{1,10}),(?:\x22[^\x22]{0,100}\x22)?,"
        r"[0-9a-f]{1,16}\.[0-9a-f]{1,8},\d{1,18},(?:\x22[^\x22]{0,100}\x22)?,[^,]{0,60},[^,]{0,30},\d{0,18},"
        r"(?P<level>LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG[1-5]?)(?=,[0-9A-Z]{5},)",
    ),
    Format("gunicorn", r"\[(?P<pid>\d{1,10}+)\] \[(?P<level>[A-Z]{4,8})(?=\] )"),
    Format(
        "ZooKeeper",
        r"\[myid:\d*+\] - (?P<level>[A-Z]{4,5}) ++\[(?P<thread>[^\n]{0,200}?):(?P<logger>[\w.$]{1,100}+)"
        r"@(?P<line>\d{1,9}+)\] - ",
    ),
    Format("ZooKeeper, without a thread", r"\[myid:\d*+\] - (?P<level>[A-Z]{4,5})\b"),
    Format(
        "Artifactory",
        r"\[(?:jf\w{1,10}|\w{2,10}) *+\] \[(?P<level>[A-Z]{4,5}) *+\] \[(?P<trace>[0-9a-f]{0,32}) *+\] "
        r"\[(?P<logger>[^\]:\s]{1,200}):(?P<line>\d{1,9}) *+\] \[(?P<thread>[^\]]{1,100}?) *+\] +-",
    ),
    Format(
        "Jenkins",
        r"\[id=(?P<tid>\d{1,10})\]\t(?P<level>[A-Z]{4,7})\t(?P<logger>[\w.$]{1,200}+)"
        r"(?:#(?P<function>[\w$<>]{1,100}+))?: ",
    ),
    Format(
        "GlassFish, Payara",
        r"\[[^\]\[]{1,60}\] \[(?P<level>[A-Z]{4,7})\] \[[^\]]{0,60}\] \[(?P<logger>[\w.$]{1,200}+)\] "
        r"\[tid: _ThreadID=(?P<tid>\d{1,10}) _ThreadName=(?P<thread>[^\]]{1,100})\]",
    ),
    Format("Scrapy", rf"\[(?P<logger>{_DOTTED})\] (?P<level>[A-Z]{{4,8}})(?=: )"),
    Format("winston, with a label", rf"\[(?:(?P<logger>{LOGGER})|[^\]]{{1,60}}+)\] (?P<level>[a-z]{{4,9}})(?=: )"),
    Format(  # a thread's name in log4j and logback; elsewhere it may be anything
        "bracket",
        r"\[ *+(?P<thread>[^\]]{1,100}+)\](?: ?\[[^\]]{0,100}+\])??[\s|:-]*+" + _LEVEL + r"(?: +(?=\]))?",
    ),
    Format("Python", r"(?P<logger>[\w.$/:-]{1,100}+) ++- ++" + _LEVEL),
    Format("Python, with blanks", rf"(?P<logger>{_DOTTED}) ++(?P<level>[A-Z]{{4,8}}+)(?=[ :])"),
    Format("log4j's own", r"(?P<thread>main|[\w-]{1,60}-\d{1,9}) (?P<level>ERROR|WARN|INFO|DEBUG|TRACE|FATAL)(?= )"),
    Format("Airflow", r"\{(?P<file>[^}:]{1,100}):(?P<line>\d{1,9})\} " + _LEVEL),
    Format("Monolog", r"(?P<logger>[\w-]{1,60})\.(?=[A-Z]+: )" + _LEVEL),
    Format(
        "Sidekiq",
        r"pid=(?P<pid>\d{1,10}) tid=\w{1,20} (?:class=\S{1,100} )?(?:jid=\w{1,40} )?(?:elapsed=[\d.]{1,20} )?" + _LEVEL,
    ),
    Format("Phoenix", r"(?:[\w.]{1,40}=\S{0,200} ){1,12}\[(?P<level>[a-z]{4,9})(?=\] )"),
    Format("MySQL", r"\d{1,20} \[(?P<level>Note|Warning|ERROR|System)(?=\] )"),
    Format("MySQL, its entrypoint", r"\[(?P<level>Note|Warn|Warning|ERROR|System)(?=\] )"),
)
AFTER_LEVEL = FormatTable(
    Format("log4j", rf"\[ *+(?P<thread>[^\]]{{1,100}}+)\] ++(?P<logger>{_DOTTED}) *+(?:- |: )"),
    Format("NLog", r"(?<=\w\|)(?P<logger>[\w.$+`]{1,100}+)\|"),
    Format(
        "OpenTelemetry, Python",
        r"\[(?P<logger>[^\]\s]{1,100}+)\] \[(?P<file>[^\]:\s]{1,100}+):(?P<line>\d{1,9}+)\] "
        r"\[trace_id=(?P<trace>\w{1,32}+) span_id=(?P<span>\w{1,16}+)"
        r"(?: resource\.service\.name=(?P<service>[^\]\s]{0,100}+))?(?: trace_sampled=\w{1,5}+)?\]",
    ),
    Format(
        "JBoss, Quarkus",
        r"(?:traceId=[^\s\[]{0,200}, [^\[]{0,200} )?\[(?P<logger>[^\]]{1,100}+)\] "
        r"\((?P<thread>[^()]{1,100}+(?:\([^()]{0,100}+\)[^()]{0,100}+)?)\) ",
    ),
    Format("nginx", r"(?P<pid>\d{1,10}+)#(?P<tid>\d{1,18}+): "),
    Format("Calico", r"\[\d{1,10}+\] (?P<file>[\w./-]{1,100}+) (?P<line>\d{1,9}+): "),
    Format("zerolog's console", r"(?P<file>[\w./@-]{1,200}+):(?P<line>\d{1,9}+) > "),
    Format("pino-pretty", r"\((?:(?P<logger>[\w.@/-]{1,100}?)/)?(?P<pid>\d{1,10})(?: on [^()]{1,100})?\)(?=: )"),
    Format("charm", r"<(?P<file>[\w./@-]{1,200}+):(?P<line>\d{1,9}+)> "),
    Format("Python, with colons", r"(?<=[A-Z]:)(?P<logger>[A-Za-z_][\w.]{0,200}+):(?![/\d\s])"),
    Format("Harbor", r"\[(?P<file>/?[\w./@-]{1,200}\.go):(?P<line>\d{1,9}+)\]:? "),
    Format(".NET", r"(?<=[a-z]: )(?P<logger>[\w.+`]{1,200}+)\[\d{1,9}+\](?=\s|$)"),
    Format(
        "Cassandra",
        r"\[(?P<thread>[^\]]{1,100}+)\] [\d-]{10}[T ][\d:]{8}[.,]\d{3} (?P<file>[\w$.-]{1,100}+):(?P<line>\d{1,9}+) - ",
    ),
    Format("Solr", rf"\((?P<thread>[^)]{{1,100}}+)\) \[[^\]]{{0,200}}+\] (?P<logger>{LOGGER}) "),
    Format("java.util.logging", rf"\[(?P<logger>{_DOTTED}) (?P<function>[\w$<>]{{1,100}}+)\] "),
    Format(
        "flexi_logger",
        r"\[(?P<logger>\w++(?:::\w++)*+)\] (?P<file>[\w./-]{1,200}\.rs):(?P<line>\d{1,9}+): ",
    ),
    Format("Rust, its module in brackets", r"\[(?P<logger>\w++(?:::\w++)++)\] "),
    Format(
        "logger",
        r"(?:\[ *+(?P<thread>[^\]]{1,100}+)\] ++)?+"
        r"(?:(?:ThreadId\(\d{1,9}+\)|main|[\w-]{1,60}-\d{1,9}) (?=[\w{}=:\x22 ]{1,300}::))?"  # tracing's thread
        r"(?:[\w-]{1,64}+\{[^}]{0,200}+\}:?+ ?+)*+"  # and its spans
        rf"(?P<logger>{LOGGER})"
        r"(?::(?P<function>[A-Za-z_<][\w<>]*+))?(?::(?P<line>\d{1,9}+))?(?: *+\[[^\]]{0,200}+\])?"
        r" *+(?:-{1,2}+ |-[\w.]++=\S++ |[:>|] |\t(?!\{)|\] )",
    ),
    Format("NiFi", r"\[(?P<thread>[^\]]{1,100}+)\] (?P<logger>(?:[a-z][\w]*\.)++[A-Z][\w$]*+) "),
    Format("logger, then a thread", r"(?P<logger>(?:[a-z]\w*\.)++[A-Z][\w$]*+) \[[^\]]{1,100}+\] "),
    prefix=r"[\])>]?[\s|:-]*+",
)
WITH_LOGGER = frozenset(("log4j", "logger"))
"""Rows whose names are examined before they are taken."""
WITHOUT_SEPARATOR = frozenset(("NiFi", "logger, then a thread"))
"""Rows whose logger is followed by a blank only."""
LINES = FormatTable(
    Format(
        "OpenTelemetry, Java agent",
        r"\[otel\.javaagent [\d-]{10} [\d:,.]{12} [+-]\d{4}\] \[(?P<thread>[^\]]{1,100}+)\] (?P<level>[A-Z]{4,5}) "
        rf"(?P<logger>{_DOTTED}) - ",
    ),
    Format("Rust env_logger", r"\[(?P<level>[A-Z]{4,5}) ++(?P<logger>\w++(?:::\w++)*+)\] "),
    Format(
        "SLF4J's simple logger", rf"\[(?P<thread>[^\]]{{1,100}}+)\] (?P<level>[A-Z]{{4,5}}) (?P<logger>{LOGGER}) - "
    ),
    Format(
        "java.util.logging, on one line",
        r"[A-Z][a-z]{2} \d{1,2}, \d{4},? \d{1,2}:\d\d:\d\d[ \u202f][AP]M (?P<logger>[\w.$]{1,200}+)"
        r"(?: (?P<function>[\w$<>]{1,200}+))?[ \n](?P<level>[A-Z]{4,7}): ",
    ),
    Format("fern", r"\[[\d-]{10}\]\[[\d:]{8}\]\[(?P<logger>[\w:.]{1,100}+)\]\[(?P<level>[A-Z]{4,5})\] "),
    Format(
        "Kibana before 7.11",
        r"(?:log|error|ops|warning) +\[[\d:.]{12}\] (?:\[(?P<level>[a-z]{4,8})\])\[(?P<logger>[\w.-]{1,60})\]",
    ),
    Format("Erlang before OTP 21", r"=(?P<level>[A-Z]{4,8}) REPORT==== "),
    Format("MySQL before 5.6", r"\d{6} {1,2}\d{1,2}:\d\d:\d\d \[(?P<level>Note|Warning|ERROR)\] "),
    Format(
        "JVM",
        r"\[(?:\d{1,12}\.\d{3}s|\d{1,15}[mn]s|\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}[+-]\d{4})\](?:\[(?:\d{1,10}|\d{1,12}\.\d{3}s|\d{1,18}[mn]s)\]){0,4}"
        r"\[(?P<level>[a-z]{4,7}) *+\]\[(?P<logger>[\w,]{1,100}+) *+\] ",
    ),
)

_NO_LOGGER = re.compile(
    r"[\w.$/:-]*(?:Exception|Error|Throwable)"
    r"|(?:.*[.:/])?\d.*|v\d.*"
    r"|.*\.(?:ya?ml|json|conf|cfg|toml|ini|xml|txt|log|csv|html?|css|sql|sh|md|jar|pem|crt|key|sock|tmp|gz|zip|tar"
    r"|com|org|net|de|example|local|internal|invalid|svc|cluster)",
    re.ASCII,
)
_RUST_SOURCE = re.compile(r"([\w./-]{1,200}\.rs):(\d{1,9}): ", re.ASCII)
_SOURCE_FILE = re.compile(
    r".*\.(?:go|py|rs|js|ts|mjs|cjs|java|kt|scala|rb|php|c|cc|cpp|cs|ex|exs|swift|h|lua)", re.ASCII
)
_NO_THREAD = re.compile(
    r"\w+[:=]\S*|\d{4}-\d\d-\d\d.*|[0-9a-fA-F-]{16,}|.*@.*|-|(?:[\w.-]{0,60},)?[0-9a-f]{0,32},[0-9a-f]{0,16}", re.ASCII
)
_THREAD = re.compile(
    r"(?:.*[-_ .])?(?:main|(?:[\w]*[Tt]hread|exec|[Ww]orker|executor|dispatcher|scheduler|scheduling|task|nio|pool)"
    r"(?:[-_ #]?\d{1,9})?(?:[-_ ](?:thread|exec)?-?\d{1,9})?)",
    re.ASCII,
)


def rust_source(line: str, start: int) -> JsonObject:
    """The source file that tracing writes after its target."""
    match = _RUST_SOURCE.match(line, start)
    return {"log.origin.file.name": match[1], "log.origin.file.line": int(match[2])} if match else {}


@cache_short_keys(4096)
def is_logger(name: str) -> bool:
    """Return whether a dotted name may be a logger's: neither an exception, nor a version, a host or a file."""
    return _NO_LOGGER.fullmatch(name) is None and _SOURCE_FILE.fullmatch(name) is None


@cache_short_keys(4096)
def is_file(name: str) -> bool:
    """Return whether a name is a source file's."""
    return "/" in name or _SOURCE_FILE.fullmatch(name) is not None


@cache_short_keys(4096)
def may_be_thread(name: str) -> bool:
    """Return whether a text in brackets before a level and a logger may be a thread: no id, no key with a value."""
    return _NO_THREAD.fullmatch(name) is None


@cache_short_keys(4096)
def is_thread(name: str) -> bool:
    """Return whether a name is a thread's by itself: `main`, `exec-1`, `pool-1-thread-3`."""
    return _THREAD.fullmatch(name) is not None


_SPRING_BOOT = re.compile(
    r" *+(?:\[[^,\]]{0,60},(?P<trace>[0-9a-f]{0,32}),(?P<span>[0-9a-f]{0,16})(?:,\w{0,5})?\] ++)?"  # Sleuth
    rf"(?P<pid>\d{{1,10}}) --- (?P<brackets>(?:\[[^\]]{{0,100}}\] ++){{1,3}})(?P<logger>{LOGGER}) *+: ",
    re.ASCII,
)
_BRACKET = re.compile(r"\[ *([^\]]*?) *\]")
_IDS = re.compile(r"(?:([0-9a-f]{16,32})[-,] ?([0-9a-f]{16}))?[-,]?", re.ASCII)


_CORRELATION = re.compile(
    r"\[ *(?:[\w.-]{0,60},)?([0-9a-f]{32}|[0-9a-f]{16})[,-] ?([0-9a-f]{16})(?:,(?:true|false)?)? *\]"
)


def correlation_ids(line: str, start: int, end: int) -> JsonObject:
    """Return the ids of trace and span in brackets, as Spring documents them for patterns: `[app,trace,span]`."""
    match = _CORRELATION.search(line, start, end) if line.find("[", start, end) >= 0 else None
    ids = {"trace.id": match[1], "span.id": match[2]} if match else {}
    return {name: text for name, text in ids.items() if text.strip("0")}


def spring_boot(line: str, level_end: int) -> JsonObject:
    """Spring Boot's default line after the level: process, application, thread, trace ids, logger; none elsewhere."""
    match = _SPRING_BOOT.match(line, level_end)
    if match is None:
        return {}
    brackets = _BRACKET.findall(match["brackets"])
    trace, span = match["trace"], match["span"]
    if len(brackets) > 1 and (ids := _IDS.fullmatch(brackets[-1])) is not None:
        brackets.pop()
        trace, span = ids[1], ids[2]
    fields = {
        "process.pid": int(match["pid"]),
        "process.thread.name": brackets[-1],
        "log.logger": match["logger"],
        "trace.id": trace,
        "span.id": span,
    }
    return {name: value for name, value in fields.items() if value}
