"""Access logs: what a line of text tells of one request, as flat ECS fields. Pure, and linear in the line.

Formats: common and combined as Apache and nginx write them, with what ingress-nginx, Traefik or a request time put
behind; the development servers of Django and Werkzeug; uvicorn; Envoy and Istio; HAProxy's HTTP format. A level is
never made of a status: a 500 in an access log is a request that failed, not an error that the log's writer had.
"""

import re
from functools import lru_cache
from typing import Any

from pipeline.contract import cri
from pipeline.parsing import field_values

Fields = dict[str, Any]

# Numbers have at most 18 digits, so that 64 bits hold them; digits are those of ASCII, which Elasticsearch reads.
_REQUEST = r'"(?:([A-Z]{3,10}) (\S+)(?: HTTP/([\d.]{1,5}))?|[^"]*)"'
_COMBINED = re.compile(
    rf'(\S+) \S+ (\S+) \[([^\]]{{20,40}})\] {_REQUEST} (\d{{3}}) (\d{{1,18}}|-)(?: "([^"]*)" "([^"]*)"(.*))?', re.ASCII
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
    r"(\S+):(\d{1,5}) \[\d\d/[A-Z][a-z]{2}/\d{4}:[\d:.]{8,12}\] \S+ \S+ [\d/+-]+/\+?(\d{1,9}) (\d{3}) \+?(\d{1,18}) "
    rf".*{_REQUEST}",
    re.ASCII,
)
_COMMON_TIME = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)", re.ASCII)
_MONTHS = {
    name: f"{number:02d}"
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def combined(line: str) -> Fields | None:
    """Common and combined, and what is behind them."""
    match = _COMBINED.match(line)
    if match is None:
        return None
    client, user, at, method, target, version, status, size, referrer, agent, behind = match.groups()
    found = _request(method, target, version, status)
    found.update(_source(client))
    if size != "-":
        found["http.response.body.bytes"] = int(size)
    if user != "-":
        found["user.name"] = user
    if referrer and referrer != "-":
        found["http.request.referrer"] = referrer
    if agent and agent != "-":
        found["user_agent.original"] = agent
    if behind:
        _add_trailer(found, behind)
    time = _common_time(at)
    if time:
        found["@timestamp"] = time
    return found


def _add_trailer(found: Fields, behind: str) -> None:
    match = _TRAILER.match(behind)
    if match is None:
        return
    length, ingress, identifier, traefik, plain = match.groups()
    if traefik:
        found["event.duration"] = int(traefik) * 10**6
    else:
        # In whole milliseconds: the digits are the number, no float is needed.
        found["event.duration"] = int((ingress or plain).replace(".", "")) * 10**6
    if length:
        found["http.request.bytes"] = int(length)
        found["http.request.id"] = identifier


def django(line: str) -> Fields | None:
    """Django's development server; its time names no zone."""
    match = _DJANGO.match(line)
    if match is None:
        return None
    return {**_request(*match.group(1, 2, 3, 4)), "http.response.body.bytes": int(match[5])}


def uvicorn(line: str) -> Fields | None:
    """Uvicorn's access log; the level is the logger's own word."""
    match = _UVICORN.match(line)
    if match is None:
        return None
    found = _request(*match.group(3, 4, 5, 6))
    found.update(_source(match[1]))
    found["source.port"] = int(match[2])
    found["log.level"] = "info"
    return found


def envoy(line: str) -> Fields | None:
    """Envoy's default format, and Istio's with its details of the response."""
    match = _ENVOY.match(line)
    if match is None:
        return None
    at, method, target, version, status, received, sent, took, forwarded, agent, identifier, host = match.groups()
    found = _request(method, target, version, status)
    found.update({"@timestamp": at, "http.request.body.bytes": int(received), "http.response.body.bytes": int(sent)})
    if took:
        found["event.duration"] = int(took) * 10**6
    if forwarded and forwarded != "-":
        found.update(_source(forwarded.partition(",")[0]))
    for name, text in (("user_agent.original", agent), ("http.request.id", identifier)):
        if text and text != "-":
            found[name] = text
    return {**found, **(field_values.domain(host) or {})}


def haproxy(line: str) -> Fields | None:
    """HAProxy's HTTP format; its time names no zone."""
    match = _HAPROXY.match(line)
    if match is None:
        return None
    client, port, took, status, size = match.group(1, 2, 3, 4, 5)
    found = _request(match[6], match[7], match[8], status)
    found.update(_source(client))
    found.update({"source.port": int(port), "http.response.bytes": int(size), "event.duration": int(took) * 10**6})
    return found


def _request(method: str | None, target: str | None, version: str | None, status: str) -> Fields:
    found: Fields = {"http.response.status_code": int(status)}
    if method and target:
        path, _, query = target.partition("?")
        found["http.request.method"] = method
        found["url.original"] = target
        found["url.path"] = path
        if query:
            found["url.query"] = query
    if version:
        found["http.version"] = version
    return found


def _source(client: str) -> Fields:
    address = field_values.parse_ip(client)
    return {"source.address": client, "source.ip": address} if address else {"source.address": client}


@lru_cache(maxsize=1024)
def _common_time(at: str) -> str:
    """`10/Oct/2000:13:55:36 -0700` as RFC 3339 in UTC; empty if it is not that."""
    match = _COMMON_TIME.fullmatch(at)
    if match is None or match[2] not in _MONTHS:
        return ""
    day, month, year, clock, hours, minutes = match.groups()
    written = f"{year}-{_MONTHS[month]}-{day}T{clock}{hours}:{minutes}".encode()
    return cri.utc(written) if cri.nanoseconds(written) is not None else ""
