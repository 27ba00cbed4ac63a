"""Parsers of access logs: one request in a line of text as flat ECS fields. Pure, and linear in the line.

Formats: common and combined as Apache and nginx write them, with the trailing fields of ingress-nginx, of Traefik or of
a request time; the development servers of Django and Werkzeug; aiohttp; PHP-FPM; uvicorn; Envoy and Istio; HAProxy. No
level is derived from a status: a 500 in an access log is a failed request, not an error of the process that logs.
"""

import re

from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.parsing import field_values
from pipeline.short_key_cache import cache_short_keys

# Numbers have at most 18 digits, so that they fit into 64 bits; only ASCII digits, as Elasticsearch parses no others.
_REQUEST = r'"(?:([A-Z]{3,10}) (\S+)(?: HTTP/([\d.]{1,5}))?|[^"]*)"'
_QUOTED = r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_RESULT = rf" (\d{{3}}|-) (\d{{1,18}}|-)(?: {_QUOTED} {_QUOTED}(.*))?"
_LEVELS = ("DEBUG:", "INFO:", "WARNING:", "ERROR:", "CRITICAL:")
_COMBINED = re.compile(
    rf'(\S+) \S+ (\S+) \[([^\]]{{20,40}})\] {_REQUEST} (\d{{3}}) (\d{{1,18}}|-)(?: "([^"]*)" "([^"]*)"(.*))?', re.ASCII
)
# Its other forms: a virtual host, several addresses or a user with blanks before the time, blanks in the target.
_OTHER_COMBINED = re.compile(rf'([^\[\]"]{{1,500}}) \[([^\]]{{20,40}})\] {_QUOTED}{_RESULT}', re.ASCII)
_CLIENT = re.compile(
    r"(?:(?P<vhost>[\w.-]{1,255}:\d{1,5}) )?"
    r"(?P<client>[^\s,]{1,255})(?:, ?[^\s,]{1,255}){0,50} \S+ (?P<user>\S.{0,200})",
    re.ASCII,
)
_REQUEST_LINE = re.compile(r"([A-Z]{3,10}) (\S.*?)(?: HTTP/([\d.]{1,5}))?", re.ASCII)
_PHP_FPM = re.compile(
    r'(\S{1,100}) - (\S{0,100}) (\d\d/[A-Z][a-z]{2}/\d{4}:[\d:]{8} [+-]\d{4}) "([A-Z]{3,10}) (\S+)" (\d{3})$', re.ASCII
)
_TRAILER = re.compile(
    r" (?:(\d{1,12}) (\d{1,9}\.\d{3}) \[[^\]]*\] \[[^\]]*\] .* ([0-9a-f]{32})$"  # ingress-nginx
    r"|\d{1,12} \"[^\"]*\" \"[^\"]*\" (\d{1,9})ms$"  # Traefik
    r'|(?:rt=|request_time=)?"?(\d{1,9}\.\d{3})\b)',
    re.ASCII,
)
_DJANGO = re.compile(rf"\[\d\d/[A-Z][a-z]{{2}}/\d{{4}} \d\d:\d\d:\d\d\] {_REQUEST} (\d{{3}}) (\d{{1,18}})$", re.ASCII)
_UVICORN = re.compile(r'INFO: +(\S+):(\d{1,5}) - "([A-Z]{3,10}) (\S+) HTTP/([\d.]{1,5})" (\d{3})\b', re.ASCII)
_ENVOY = re.compile(
    r'\[(\d{4}-\d\d-\d\dT[\d:.]{8,18}Z)\] "(?:([A-Z]{3,10})|-) (\S+) (?:HTTP/([\d.]{1,5})|-)" (\d{1,3}) \S+ '
    r'(?:[a-zA-Z_-]\S* (?:\S+ "[^"]*" )?)?(\d{1,18}) (\d{1,18}) (?:(\d{1,9})|-) \S+ '
    r'"([^"]*)" "([^"]*)" "([^"]*)" "([^"]*)"',
    re.ASCII,
)
_HAPROXY = re.compile(
    r"(\S{1,100}):(\d{1,5}) \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:.]{8,12}\] "
    r"\S{1,200} \S{1,200} [\d/+-]{3,60}/\+?(\d{1,9}) "
    r"(?:(?P<status>\d{3}|-1) )?\+?(?P<bytes>\d{1,18}) (?P<rest>.*)",
    re.ASCII,
)
_HAPROXY_TCP = re.compile(r"[A-Za-z-]{2} [\d/+]{5,60} \d{1,9}/\d{1,9}", re.ASCII)
_MAX_PORT_DIGITS = 5
_COMMON_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)", re.ASCII)
_MONTHS = {
    name: f"{number:02d}"
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def combined(line: str) -> JsonObject | None:
    """The common and combined formats, with any trailing fields."""
    match = _COMBINED.match(line)
    if match is None or match[4] is None or match[5][0] != "/" or "\\" in line or match[1].startswith(_LEVELS):
        return _other_combined(line)
    client, user, time_text, method, target, version, status, size, referrer, agent, trailer = match.groups()
    fields = _request(method, target, version, status)
    fields.update(_source(client))
    if user != "-":
        fields["user.name"] = user
    return _add_result(fields, time_text, size, referrer, agent, trailer)


def _other_combined(line: str) -> JsonObject | None:
    match = _OTHER_COMBINED.match(line)
    if match is None or line.startswith(_LEVELS):
        return None
    head, time_text, request, status, size, *trailing = match.groups()
    before = _CLIENT.fullmatch(head)
    if before is None and (" " in head or trailing[0] is None):  # aiohttp writes the client alone
        return None
    fields: JsonObject = {"http.response.status_code": int(status)} if status != "-" else {}
    if (parts := _REQUEST_LINE.fullmatch(request)) is not None:
        fields = _request(parts[1], parts[2], parts[3], status)
    fields.update(_source(before["client"] if before else head))
    if before is not None and before["user"] != "-":
        fields["user.name"] = before["user"]
    if before is not None and before["vhost"]:
        domain, _, port = before["vhost"].rpartition(":")
        fields = {"url.domain": domain, "url.port": int(port), **fields}
    return _add_result(fields, time_text, size, *trailing)


def _add_result(
    fields: JsonObject, time_text: str, size: str, referrer: str | None, agent: str | None, trailer: str | None
) -> JsonObject:
    """Add what follows the status, and the time."""
    if size != "-":
        fields["http.response.body.bytes"] = int(size)
    if referrer and referrer != "-":
        fields["http.request.referrer"] = referrer
    if agent and agent != "-":
        fields["user_agent.original"] = agent
    if trailer:
        _add_trailer(fields, trailer)
    if time := _common_time(time_text):
        fields["@timestamp"] = time
    return fields


def php_fpm(line: str) -> JsonObject | None:
    """PHP-FPM's default: the path of the script, without a query."""
    match = _PHP_FPM.match(line)
    if match is None:
        return None
    client, user, time_text, method, target, status = match.groups()
    fields = {**_request(method, target, None, status), **_source(client), "@timestamp": _common_time(time_text)}
    return {name: value for name, value in {**fields, "user.name": user}.items() if value not in ("", "-")}


def _add_trailer(fields: JsonObject, trailer: str) -> None:
    match = _TRAILER.match(trailer)
    if match is None:
        return
    length, ingress, identifier, traefik, plain = match.groups()
    if traefik:
        fields["event.duration"] = int(traefik) * 10**6
    else:
        # Three decimals: without the point the digits are milliseconds, no float is needed.
        fields["event.duration"] = int((ingress or plain).replace(".", "")) * 10**6
    if length:
        fields["http.request.bytes"] = int(length)
        fields["http.request.id"] = identifier


def django(line: str) -> JsonObject | None:
    """Django's development server; its time has no zone."""
    match = _DJANGO.match(line)
    if match is None:
        return None
    return {**_request(*match.group(1, 2, 3, 4)), "http.response.body.bytes": int(match[5])}


def uvicorn(line: str) -> JsonObject | None:
    """Uvicorn's access log; the level is the logger's own."""
    match = _UVICORN.match(line)
    if match is None:
        return None
    fields = _request(*match.group(3, 4, 5, 6))
    fields.update(_source(match[1]))
    fields["source.port"] = int(match[2])
    fields["log.level"] = "info"
    return fields


def envoy(line: str) -> JsonObject | None:
    """Envoy's default format, and Istio's, which adds response details."""
    match = _ENVOY.match(line)
    if match is None:
        return None
    time_text, method, target, version, status, received, sent, duration, forwarded, agent, identifier, host = (
        match.groups()
    )
    fields = _request(method, target, version, status)
    fields.update(
        {"@timestamp": time_text, "http.request.body.bytes": int(received), "http.response.body.bytes": int(sent)}
    )
    if duration:
        fields["event.duration"] = int(duration) * 10**6
    if forwarded and forwarded != "-":
        fields.update(_source(forwarded.partition(",")[0]))
    for name, text in (("user_agent.original", agent), ("http.request.id", identifier)):
        if text and text != "-":
            fields[name] = text
    return {**fields, **(field_values.domain(host) or {})}


def haproxy(line: str) -> JsonObject | None:
    """HAProxy's HTTP, HTTPS and TCP formats; their time has no zone."""
    match = _HAPROXY.match(line)
    if match is None:
        return None
    rest = match["rest"]
    fields: JsonObject = {**_source(match[1]), "source.port": int(match[2]), "event.duration": int(match[3]) * 10**6}
    if match["status"] is None:
        return {**fields, "destination.bytes": int(match["bytes"])} if _HAPROXY_TCP.fullmatch(rest) else None
    _, quote, request = rest.partition(' "')
    if not quote:
        return None
    text, closing, _ = request.partition('"')
    parts = _REQUEST_LINE.fullmatch(text)
    if parts is not None:
        fields = {**_request(parts[1], parts[2], parts[3], match["status"]), **fields}
        if not closing and "?" not in parts[2]:  # the line was cut within the path
            fields.pop("url.path", None)
    elif match["status"] != "-1":
        fields["http.response.status_code"] = int(match["status"])
    return {**fields, "http.response.bytes": int(match["bytes"])}


def _request(method: str | None, target: str | None, version: str | None, status: str) -> JsonObject:
    fields: JsonObject = {"http.response.status_code": int(status)} if status[0] != "-" else {}
    if method and target:
        fields["http.request.method"] = method
        if target[0] == "/" and "#" not in target:
            path, _, query = target.partition("?")
            fields["url.original"] = target
            fields["url.path"] = path
            if query:
                fields["url.query"] = query
        else:
            fields.update(field_values.target(method, target))
    if version:
        fields["http.version"] = version
    return fields


def _source(client: str) -> JsonObject:
    if client == "-":
        return {}
    address = field_values.parse_ip(client)
    if address:
        return {"source.address": client, "source.ip": address}
    host, _, port = client.rpartition(":")
    if port.isdecimal() and len(port) <= _MAX_PORT_DIGITS and (address := field_values.parse_ip(host)):
        return {"source.address": host, "source.ip": address, "source.port": int(port)}
    return {"source.address": client}


@cache_short_keys(1024)
def _common_time(time_text: str) -> str:
    """`10/Oct/2000:13:55:36 -0700` as RFC 3339 in UTC; empty for any other text."""
    match = _COMMON_TIME.fullmatch(time_text)
    if match is None or match[2] not in _MONTHS:
        return ""
    day, month, year, clock, hours, minutes = match.groups()
    rfc3339 = f"{year}-{_MONTHS[month]}-{day}T{clock}{hours}:{minutes}".encode()
    return cri.utc(rfc3339) if cri.nanoseconds(rfc3339) is not None else ""
