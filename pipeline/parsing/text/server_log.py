"""Parsers of server logs: client, request or DNS question in addition to level and logger. Pure, and linear.

nginx's and Apache's error logs, HAProxy's, CoreDNS' queries, Gin's and morgan's requests, PHP's own log, NestJS,
ClickHouse, Tomcat, Linkerd's proxy, Spark, zerolog's console, Tornado and Jupyter.
"""

import re
from collections.abc import Callable

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import field_values, level

LineParser = Callable[[str], JsonObject | None]

_NGINX = re.compile(
    r", client: ([^,\s]{1,100}), server: ([^,]{0,255})"
    r'(?:, request: "([A-Z]{3,10}) (\S{1,4000}?)(?: HTTP/([\d.]{1,5}))?")?',
    re.ASCII,
)
_STRUCTLOG = re.compile(r" [^\[\]\n]{1,500}? \[([\w.]{1,100})\](?= [\w.]+=| *$)", re.ASCII)
_REFERRER = re.compile(r', referr?er: "?([^\s",]{1,4000})"?$')
_NGINX_HOST = re.compile(r', host: "([^"]{1,255})"')
_APACHE_CLIENT = re.compile(r"\[client ([^\]\s]{1,100}?)(?::(\d{1,5}))?\]", re.ASCII)
_HAPROXY = re.compile(
    r"(\S{1,100}):(\d{1,5}) \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:.]{8,12}\] \S{1,100}/\S{1,100}: ", re.ASCII
)
_COREDNS = re.compile(
    r"\[INFO\] (\[?[\da-fA-F.:]{2,45}\]?):(\d{1,5}) - (\d{1,5})"
    r' "(\w{1,10}) (\w{1,10}) (\S{1,300}) (udp|tcp|tls|https)\S*'
    r' \d{1,9} \w+ \d{1,9}" (\w{1,20}|-) (\S{1,60}) \d{1,9} (\d{1,9}(?:\.\d{1,12})?)s',
    re.ASCII,
)
_DNS_FLAGS = frozenset(("AA", "TC", "RD", "RA", "AD", "CD", "DO"))
_COREDNS_PLUGIN = re.compile(r"\[[A-Z]{4,7}\] (plugin/[\w-]{1,40}): ", re.ASCII)
_GIN = re.compile(
    r"\[GIN\] \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d \| +(\d{3}) \| +([\d.a-zµ]{1,30}) \| +(\S{1,100}) \|"
    r' ?([A-Z]{3,10}) +"([^"]{1,4000})"'
)
_MORGAN = re.compile(r"([A-Z]{3,10}) (/\S{0,4000}) (\d{3}) (\d{1,9})\.(\d{3}) ms - (\d{1,18}|-)$", re.ASCII)
_PHP = re.compile(
    r"(?:\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d(?:\.\d{6})?(?: [\w/+-]{1,40})?\] )?"
    r"(?:PHP ([A-Z][a-z]+)(?: error)?|([A-Z]{4,7})): "
)
_PHP_LEVELS = {"Fatal": "fatal", "Parse": "fatal", "Warning": "warn", "Notice": "notice", "Deprecated": "notice"}
_NEST = re.compile(r"\[Nest\] (\d{1,10}) +- .{15,30}? +([A-Z]{3,7}) \[([^\]]{1,100})\]", re.ASCII)
_CLICKHOUSE = re.compile(
    r"\d{4}\.\d\d\.\d\d [\d:.]{8,18} \[ (\d{1,10}) \] \{[^}]{0,60}\} <(\w{4,11})> ([\w.]{1,100}): ", re.ASCII
)
_TOMCAT = re.compile(
    r"\d\d-[A-Z][a-z]{2}-\d{4} [\d:.]{12} ([A-Z]{4,7}) \[([^\]]{1,100})\] ([\w.$]{1,200})\.[\w$<>]{1,100} ", re.ASCII
)
_LINKERD = re.compile(
    r"\[ *\d{1,12}\.\d{1,9}s\] +([A-Z]{4,5}) (?:ThreadId\(\d+\) )?"
    r"(?:[\w-]{1,60}\{[^}]{0,200}\}:? ?){0,9}([\w:]{1,100}): ",
    re.ASCII,
)
_ZEROLOG = re.compile(r"\d{1,2}:\d\d[AP]M ([A-Z]{3,5}) (?:([\w./-]{1,200}):(\d{1,9}) > )?", re.ASCII)
_TORNADO = re.compile(
    r"\[([DIWEC]) (?:\d{6}|\d{4}-\d\d-\d\d) \d\d:\d\d:\d\d(?:\.\d{3})? ([\w.]{1,100})(?::(\d{1,9}))?\] ", re.ASCII
)
_SPARK = re.compile(r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d ([A-Z]{4,5}) ([\w.$]{1,100}): ", re.ASCII)
_NUMERIC_FIELDS = frozenset(("process.pid", "process.thread.id"))


def nginx(line: str) -> JsonObject:
    """Client and request in a line of nginx's error log."""
    match = _NGINX.search(line)
    if match is None:
        return {}
    client, _, method, target, version = match.groups()
    fields = field_values.source(client) or {}
    if method:
        fields |= {"http.request.method": method, **(field_values.url(target) or {})}
    if version:
        fields["http.version"] = version
    host = _NGINX_HOST.search(line, match.end())
    fields |= (field_values.domain(host[1]) if host else None) or {}
    return fields | _referrer(line)


def _referrer(line: str) -> JsonObject:
    """The referrer at the end of a line of nginx's or Apache's error log."""
    match = _REFERRER.search(line) if ", refer" in line else None
    return {"http.request.referrer": match[1]} if match else {}


def structlog(line: str, level_end: int) -> JsonObject:
    """The logger of structlog's console, in brackets after the padded text."""
    match = _STRUCTLOG.match(line, level_end)
    return {"log.logger": match[1]} if match else {}


def apache_client(line: str) -> JsonObject:
    """The client in a line of Apache's error log."""
    match = _APACHE_CLIENT.search(line)
    return {**(_client(match[1], match[2]) if match else {}), **_referrer(line)}


def haproxy_error(line: str) -> JsonObject | None:
    """The client of a connection without a request."""
    match = _HAPROXY.match(line)
    return _client(match[1], match[2]) if match else None


def coredns(line: str) -> JsonObject | None:
    """A DNS question to CoreDNS and its response; or the plugin that logs."""
    match = _COREDNS.match(line)
    if match is None:
        plugin = _COREDNS_PLUGIN.match(line)
        return {"log.logger": plugin[1]} if plugin else None
    address, port, number, kind, family, name, transport, code, flags, duration = match.groups()
    fields = _client(address, port) | {
        "dns.id": number,
        "dns.question.name": name.removesuffix("."),
        "dns.question.type": kind,
        "dns.question.class": family,
        "network.transport": "udp" if transport == "udp" else "tcp",
        **(field_values.CONVERTERS["event.duration"](f"{duration}s") or {}),
    }
    if code != "-":
        fields["dns.response_code"] = code
    flag_names = [flag for flag in flags.upper().split(",") if flag in _DNS_FLAGS]
    return {**fields, "dns.header_flags": flag_names} if flag_names else fields


def _client(address: str, port: str | None) -> JsonObject:
    fields = field_values.source(address.removeprefix("[").removesuffix("]")) or {}
    return {**fields, "source.port": int(port)} if port else fields


def gin(line: str) -> JsonObject | None:
    """Gin's request; its time has no zone."""
    match = _GIN.match(line)
    if match is None:
        return None
    status, duration, client, method, target = match.groups()
    fields: JsonObject = {"http.response.status_code": int(status), "http.request.method": method}
    return (
        fields
        | (field_values.go_duration(duration) or {})
        | (field_values.url(target) or {})
        | (field_values.source(client) or {})
    )


def morgan(line: str) -> JsonObject | None:
    """The `dev` format of Express' morgan: method, target, status, milliseconds, size."""
    match = _MORGAN.match(line)
    if match is None:
        return None
    method, target, status, whole, fraction, size = match.groups()
    fields = {
        "http.request.method": method,
        "http.response.status_code": int(status),
        "event.duration": int(whole + fraction) * 1000,
        **(field_values.url(target) or {}),
    }
    return {**fields, "http.response.body.bytes": int(size)} if size != "-" else fields


def php(line: str) -> JsonObject | None:
    """PHP's error log and FPM's."""
    match = _PHP.match(line)
    name = match and (_PHP_LEVELS.get(match[1]) if match[1] else level.WORDS.get(match[2]))
    return {"log.level": name} if name else None


def zerolog(line: str) -> JsonObject | None:
    """zerolog's console writer with its default clock."""
    match = _ZEROLOG.match(line)
    name = level.WORDS.get(match[1]) if match else None
    if match is None or name is None:
        return None
    fields: JsonObject = {"log.level": name}
    return {**fields, "log.origin.file.name": match[2], "log.origin.file.line": int(match[3])} if match[2] else fields


def tornado(line: str) -> JsonObject | None:
    """Tornado and Jupyter: a letter for the level, then module and line, or the logger."""
    match = _TORNADO.match(line)
    if match is None:
        return None
    fields: JsonObject = {"log.level": level.LETTERS[match[1]]}
    if match[3]:
        return {**fields, "log.origin.file.name": match[2], "log.origin.file.line": int(match[3])}
    return {**fields, "log.logger": match[2]}


def _level_parser(pattern: re.Pattern[str], normalize: Callable[[str], str | None], *names: str) -> LineParser:
    """Return a parser of lines that begin with a pattern: its groups are the named fields, the level is normalised."""

    def parse(line: str) -> JsonObject | None:
        match = pattern.match(line)
        if match is None:
            return None
        fields: JsonObject = dict(zip(names, match.groups(), strict=True))
        name = normalize(fields["log.level"])
        if name is None:
            return None
        numbers = {field: int(fields[field]) for field in _NUMERIC_FIELDS.intersection(fields)}
        return {**fields, **numbers, "log.level": name}

    return parse


nest: LineParser = _level_parser(_NEST, level.normalize, "process.pid", "log.level", "log.logger")
"""NestJS' console."""
clickhouse: LineParser = _level_parser(_CLICKHOUSE, level.normalize, "process.thread.id", "log.level", "log.logger")
"""ClickHouse: thread, query, level, part."""
tomcat: LineParser = _level_parser(_TOMCAT, level.WORDS.get, "log.level", "process.thread.name", "log.logger")
"""Tomcat's one-line formatter: level, thread, class and method."""
linkerd: LineParser = _level_parser(_LINKERD, level.WORDS.get, "log.level", "log.logger")
"""Linkerd's proxy, whose time counts from its start."""
spark: LineParser = _level_parser(_SPARK, level.WORDS.get, "log.level", "log.logger")
"""`26/11/24 10:00:00 INFO SparkContext: `; only Spark writes the year like that."""
