"""Converters of logged values to the type of their ECS field. Pure.

A converter returns the fields for a value; None when the value does not fit: then it keeps its own name. So no field
gets a value that Elasticsearch rejects for the field's type.
"""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.contract.json_types import JsonObject
from pipeline.parsing import exception, level
from pipeline.short_key_cache import cache_short_keys

Converter = Callable[[Any], JsonObject | None]

_CALLER = re.compile(r"(.{1,300}?):(\d{1,9})(?::\d{1,9})?(?: \((.{1,200})\))?", re.DOTALL)
_SECONDS = re.compile(r"(\d{1,9})(?:\.(\d{1,9})\d*)?s")
_GO_DURATION = re.compile(
    r"(?:(\d{1,6})h)?(?:(\d{1,9})m(?!s))?(?:(\d{1,18})(?:\.(\d{1,9})\d*)?(ns|[uµμ]s|ms|s))?", re.ASCII
)
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9}
_TRACE = re.compile(r"projects/[^/]{1,100}/traces/(\w{1,64})")
_URL = re.compile(r"(?:([a-z][a-z0-9+.-]{1,20})://([^/?#]{0,255}))?([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_REQUEST = re.compile(r"([A-Z]{3,10}) (\S{1,8192}) HTTP/([\d.]{1,5})", re.ASCII)
_ADDRESS = re.compile(r"(?:\[([^\]]{1,100})\]|([^\s:,]{1,255})):(\d{1,5})", re.ASCII)
_HTTP = re.compile(r"(?:HTTP/)?([\d.]{1,5})")
_MAX_URL_LENGTH = 8192
_MAX_PORT_DIGITS = 5
_MAX_EXACT = 2**53  # a double holds every integer below


def text(name: str) -> Converter:
    """Text only."""
    return lambda value: {name: value} if isinstance(value, str) else None


def scalar(name: str) -> Converter:
    """Any value but null."""
    return lambda value: None if value is None else {name: value}


def number(name: str) -> Converter:
    """An integer of 64 bits, as a number or as digits."""

    def convert(value: Any) -> JsonObject | None:
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 18:
            value = int(value)
        if type(value) is float and value.is_integer() and abs(value) < _MAX_EXACT:
            value = int(value)
        return {name: value} if type(value) is int else None

    return convert


def ip(name: str) -> Converter:
    """An IP address, as it is spelled; without brackets."""

    def convert(value: Any) -> JsonObject | None:
        address = parse_ip(value) if isinstance(value, str) else ""
        return {name: address if value.startswith("[") else value} if address else None

    return convert


def or_application(name: str, make: Callable[[str], Converter]) -> Converter:
    """A value that its field would ignore goes under `app.`, where it is found."""
    convert = make(name)
    return lambda value: convert(value) or {f"{APPLICATION_PREFIX}.{name}": value}


def present(name: str) -> Converter:
    """Text that is not empty; an empty one is dropped."""
    return lambda value: ({name: value} if value else {}) if isinstance(value, str) else None


def message(value: Any) -> JsonObject | None:
    """A message; an object of that name is none."""
    return {"message": value} if isinstance(value, str) else None


def _id(name: str) -> Converter:
    """An id as text, without the prefix `0x`; of zeros it is none. A number is a 64-bit id, as Datadog writes it."""

    def convert(value: Any) -> JsonObject | None:
        if type(value) is int and 0 <= value < 2**64:
            value = str(value)
        if isinstance(value, list) and len(set(map(str, value))) == 1:  # of the objects in a list
            value = value[0]
        if not isinstance(value, str):
            return None
        match = _TRACE.fullmatch(value)  # Google's is part of a resource name
        identifier = match[1] if match else value.removeprefix("0x")
        return {name: identifier} if identifier.strip("0-") else None

    return convert


def origin(value: Any) -> JsonObject | None:
    """`dir/file.go:12`, `file.go:12:3`, or a file name only."""
    if not isinstance(value, str):
        return None
    match = _CALLER.fullmatch(value)
    if match is None:
        return {"log.origin.file.name": value}
    fields: JsonObject = {"log.origin.file.name": match[1], "log.origin.file.line": int(match[2])}
    return {**fields, "log.origin.function": match[3]} if match[3] else fields


def url(value: Any) -> JsonObject | None:
    """A URL or a request target, and its parts."""
    if not isinstance(value, str) or not value:
        return None
    fields: JsonObject = {"url.original": value}
    match = _URL.fullmatch(value) if len(value) <= _MAX_URL_LENGTH else None
    if match is None:
        return fields
    scheme, host, path, query = match.groups()
    for name, part in (("url.scheme", scheme), ("url.domain", _host(host or "")), ("url.path", path)):
        if part and part != "*":
            fields[name] = part
    if host and (port := host.rpartition(":")[2]).isdecimal() and len(port) <= _MAX_PORT_DIGITS:
        fields["url.port"] = int(port)
    return {**fields, "url.query": query} if query else fields


def target(method: str, text: str) -> JsonObject:
    """A request's target: a path, a URL, or the host and port of CONNECT."""
    if method != "CONNECT" or "/" in text:
        return url(text) or {}
    authority = url(f"connect://{text}") or {}
    return {"url.original": text} | {name: authority[name] for name in ("url.domain", "url.port") if name in authority}


def request(value: Any) -> JsonObject | None:
    """A request line: `GET /a?b HTTP/1.1`."""
    match = _REQUEST.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    return {"http.request.method": match[1], **target(match[1], match[2]), "http.version": match[3]}


def _host(authority: str) -> str:
    host, _, port = authority.rpartition(":")
    return (host if port.isdecimal() else authority).rpartition("@")[2]


def domain(value: Any) -> JsonObject | None:
    """A host name, and its port where it has one."""
    if not isinstance(value, str) or value in ("", "-"):
        return None
    host, port = _host(value), value.rpartition(":")[2]
    has_port = host != value and port.isdecimal() and len(port) <= _MAX_PORT_DIGITS
    return {"url.domain": host, "url.port": int(port)} if has_port else {"url.domain": host}


def source(value: Any) -> JsonObject | None:
    """The client's address, the first of a list; also as IP where it is one."""
    if not isinstance(value, str) or value in ("", "-"):
        return None
    first = value.partition(",")[0].strip()
    ip = parse_ip(first)
    return {"source.address": first, "source.ip": ip} if ip else {"source.address": first}


def source_and_port(value: Any) -> JsonObject | None:
    """An address with a port: `10.0.0.1:4711`, `[2001:db8::1]:4711`."""
    match = _ADDRESS.fullmatch(value) if isinstance(value, str) else None
    return {**(source(match[1] or match[2]) or {}), "source.port": int(match[3])} if match else source(value)


@cache_short_keys(4096)
def parse_ip(client: str) -> str:
    """Return an IP address; empty for a host name or an address with a zone, which an `ip` field rejects."""
    try:
        ip = ip_address(client.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    if ip.version == 6:
        return "" if ip.scope_id else str(ip.ipv4_mapped or ip)
    return str(ip)


def http_version(value: Any) -> JsonObject | None:
    """`HTTP/1.1`, `1.1`, `2`."""
    match = _HTTP.fullmatch(value) if isinstance(value, str) else None
    return {"http.version": match[1]} if match else None


def duration(unit: int) -> Converter:
    """A duration in nanoseconds, from a number of `unit` nanoseconds or from text like `0.123s`."""

    def convert(value: Any) -> JsonObject | None:
        if isinstance(value, str):
            match = _SECONDS.fullmatch(value if value.endswith("s") else f"{value}s")
            if match is None or (not value.endswith("s") and unit != 10**9):
                return None
            return {"event.duration": int(match[1]) * 10**9 + int((match[2] or "").ljust(9, "0"))}
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value * unit < 2**63:
            return {"event.duration": round(value * unit)}
        return None

    return convert


def go_duration(value: Any) -> JsonObject | None:
    """Go's duration as text, `1m2.5s` or `123.4µs`, in nanoseconds."""
    match = _GO_DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        return None
    hours, minutes, whole, fraction, unit = match.groups()
    nanoseconds = (int(hours or 0) * 60 + int(minutes or 0)) * 60 * 10**9
    if unit:
        nanoseconds += int(whole) * _UNITS[unit] + int((fraction or "").ljust(9, "0")) * _UNITS[unit] // 10**9
    return {"event.duration": nanoseconds} if nanoseconds < 2**63 else None


def otel_level(value: Any) -> JsonObject | None:
    """OpenTelemetry's severity number: 1 to 4 are trace, 21 to 24 fatal."""
    if type(value) is not int or not 1 <= value <= 24:
        return None
    return {
        "log.level": ("trace", "debug", "info", "warn", "error", "fatal")[(value - 1) // 4],
        "event.severity": value,
    }


def syslog_level(value: Any) -> JsonObject | None:
    """Syslog's severity, as in GELF: 0 is emergency, 7 debug; journald writes the number as text."""
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) == 1:
        value = int(value)
    if type(value) is not int or not 0 <= value <= 7:
        return None
    return {"log.level": level.SYSLOG[value], "event.severity": value}


def klog_error(value: Any) -> JsonObject | None:
    """The error of a klog line, which has no other level."""
    return {"error.message": value, "log.level": "error"} if isinstance(value, str) else None


def klog_level(value: Any) -> JsonObject | None:
    """klog's verbosity; error lines have none."""
    return {"log.level": "info" if value < 4 else "debug", "event.severity": value} if type(value) is int else None


def microseconds(value: Any) -> JsonObject | None:
    """Microseconds since the epoch as text, as journald writes them."""
    is_time = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) == 16
    return {"@timestamp": int(value) * 1000} if is_time else None


def full_message(value: Any) -> JsonObject | None:
    """GELF's full message, which may contain a stack trace."""
    error = exception.from_trace(value) if isinstance(value, str) and "\n" in value else None
    return {"error.stack_trace": value} if error is not None and any(error) else None


def loguru_text(value: Any) -> JsonObject | None:
    """The line that loguru would print, which contains the traceback; it stays as it is."""
    start = value.find("\nTraceback (most recent call last):\n") + 1 if isinstance(value, str) else 0
    return {"error.stack_trace": value[start:].rstrip("\n"), "text": value} if start else None


CONVERTERS: dict[str, Converter] = {
    "message": message,
    "@timestamp": scalar("@timestamp"),
    "log.level": scalar("log.level"),
    "trace.id": _id("trace.id"),
    "span.id": _id("span.id"),
    "transaction.id": _id("transaction.id"),
    "log.origin.file.name": origin,
    "log.origin.file.line": number("log.origin.file.line"),
    "process.pid": number("process.pid"),
    "process.thread.id": number("process.thread.id"),
    "event.severity": number("event.severity"),
    "http.response.status_code": number("http.response.status_code"),
    "http.request.bytes": number("http.request.bytes"),
    "http.request.body.bytes": number("http.request.body.bytes"),
    "http.response.bytes": number("http.response.bytes"),
    "http.response.body.bytes": number("http.response.body.bytes"),
    "http.version": http_version,
    "url.original": url,
    "url.original/request": request,
    "url.domain": domain,
    "source.address": source,
    "source.address/port": source_and_port,
    "source.port": number("source.port"),
    "error.message": present("error.message"),
    "error.type": present("error.type"),
    "error.stack_trace": present("error.stack_trace"),
    "event.duration": duration(10**9),
    "event.duration/ms": duration(10**6),
    "event.duration/ns": duration(1),
    "event.duration/go": go_duration,
    "@timestamp/microseconds": microseconds,
    "log.level/otel": otel_level,
    "log.level/syslog": syslog_level,
    "log.level/klog": klog_level,
    "error.message/klog": klog_error,
    "error.stack_trace/gelf": full_message,
    "error.stack_trace/loguru": loguru_text,
}
"""By ECS name; a name without an entry accepts text only."""
