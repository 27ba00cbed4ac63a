"""What a line of plain text tells by the format it is in: level, logger, time, and the fields of a request. Pure.

The message itself is never changed. The first character says which few formats are tried, so that a line in none of
them costs next to nothing; only the first 4 KiB of the first line are looked at.
"""

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any

from pipeline import level

LOOKED_AT = 4096

Fields = dict[str, Any]

_LEVELS = "TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|ERR|CRIT(?:ICAL)?|ALERT|FATAL|PANIC|EMERG|SEVERE|FINE|CONFIG|LOG"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_ACCESS = re.compile(
    r'(\S+) \S+ (\S+) \[([^\]]{20,40})\] "(?:([A-Z]{3,10}) (\S+)(?: HTTP/([\d.]+))?|[^"]*)" (\d{3}) (\d+|-)'
    r'(?: "([^"]*)" "([^"]*)")?(?: (?:rt=)?(\d+\.\d{3})\b)?'
)
_UVICORN_ACCESS = re.compile(r'INFO: +(\S+):(\d+) - "([A-Z]{3,10}) (\S+) HTTP/([\d.]+)" (\d{3})')
_ENVOY = re.compile(
    r'\[(\d{4}-[^\]]{15,30})\] "([A-Z]{3,10}|-) (\S+) (?:HTTP/([\d.]+)|-)" (\d{1,3}) \S+ (?:\S+ (?:\S+ "[^"]*" )?)?'
    r'(\d+) (\d+) (\d+|-) \S+ "([^"]*)" "([^"]*)"'
)
_KLOG = re.compile(r"([IWEFD])\d{4} \d\d:\d\d:\d\d\.\d{6} +(\d+) ([^:\s\]]+):(\d+)\] ")
_DATED = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?) ?(Z|UTC|GMT|[+-]\d\d:?\d\d)?[\s|:-]*"
    rf"(?:\d+ +)?(?:\[([^\]]{{1,60}})\][\s|:-]*)?(?:([\w.$/-]{{1,100}}) +- +)?[\[(<]?(?i:({_LEVELS}))\b[\])>]?"
)
_BEHIND_LEVEL = re.compile(
    r"[\s|:-]*(?:\d+ +)?(?:--- *)?(?:\[[^\]]{1,60}\] +)?([A-Za-z_$][\w$]*(?:[.\[/][\w$.\]/\[]+)+) *(?:-|:|\|)"
)
_ELASTICSEARCH = re.compile(r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}\]\[(\w+) *\]\[([^\]\s]+) *\]")
_KAFKA = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] (\w+) (?:.*\(([\w.$]+)\)$)?")
_NGINX_ERROR = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[(\w+)\] (\d+)#\d+: ")
_REDIS = re.compile(r"(\d+):[XCSM] \d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3} ([.*#-]) ")
_REDIS_LEVELS = {".": "debug", "-": "info", "*": "notice", "#": "warn"}
_PYTHON = re.compile(r"(DEBUG|INFO|WARNING|ERROR|CRITICAL):([\w.]+):")
_LEVEL_FIRST = re.compile(
    rf"[\[(<]?(?i:({_LEVELS}|VERBOSE|trce|dbug|fail|crit))(?:[\])>:|]|\s+-|\s*\||(?-i:(?<=[A-Z])\s))"
)
_LOGFMT_LEVEL = re.compile(r'(?:^|\s)(?:level|lvl|severity)="?([A-Za-z]{1,10})\b')
_LOGFMT_LOGGER = re.compile(r'\s(?:logger|component|module)="?([^\s"]{1,100})')
_KLOG_LEVELS = {"I": "info", "W": "warn", "E": "error", "F": "fatal", "D": "debug"}


def fields(message: str) -> Fields | None:
    """The fields that a line's format gives; None when it is in no format known here."""
    if "\x1b" in message[:LOOKED_AT]:
        message = _ANSI.sub("", message[:LOOKED_AT])
    for read in _BY_FIRST.get(message[:1], _OTHERS):
        found = read(message)
        if found is not None:
            return found
    return None


def _levelled(word: str | None, logger: str | None = None) -> Fields | None:
    name = level.normal("info" if word in {"LOG", "log"} else word)
    if name is None:
        return None
    return {"log.level": name, "log.logger": logger} if logger else {"log.level": name}


def _request(method: str | None, target: str | None, version: str | None, status: str) -> Fields:
    found: Fields = {"http.response.status_code": int(status)}
    if method and target:
        path, mark, query = target.partition("?")
        found |= {"http.request.method": method, "url.original": target, "url.path": path}
        if mark:
            found["url.query"] = query
    if version:
        found["http.version"] = version
    return found


def _source(address: str) -> Fields:
    """The client: an `ip` field takes addresses only."""
    found = {"source.address": address}
    bare = address.removeprefix("::ffff:")
    octets = bare.split(".")
    if (len(octets) == 4 and all(part.isdecimal() and int(part) < 256 for part in octets)) or _is_ipv6(address):
        found["source.ip"] = bare if len(octets) == 4 else address
    return found


def _is_ipv6(address: str) -> bool:
    return address.count(":") >= 2 and re.fullmatch(r"[0-9a-fA-F:]{2,39}", address) is not None and ":::" not in address


def _access(message: str) -> Fields | None:
    match = _ACCESS.match(message, 0, LOOKED_AT)
    if match is None:
        return None
    client, user, at, method, target, version, status, size, referrer, agent, took = match.groups()
    found = _request(method, target, version, status) | _source(client)
    if size != "-":
        found["http.response.body.bytes"] = int(size)
    if user != "-":
        found["user.name"] = user
    if referrer and referrer != "-":
        found["http.request.referrer"] = referrer
    if agent and agent != "-":
        found["user_agent.original"] = agent
    if took:
        found["event.duration"] = round(float(took) * 1e9)
    time = _common_log_time(at)
    if time:
        found["@timestamp"] = time
    return found


@lru_cache(maxsize=1024)
def _common_log_time(at: str) -> str:
    """`10/Oct/2000:13:55:36 -0700` as RFC 3339; empty if it is not that."""
    try:
        return datetime.strptime(at, "%d/%b/%Y:%H:%M:%S %z").isoformat()
    except ValueError:
        return ""


def _envoy(message: str) -> Fields | None:
    match = _ENVOY.match(message, 0, LOOKED_AT)
    if match is None:
        return None
    at, method, target, version, status, received, sent, took, _, agent = match.groups()
    found = _request(None if method == "-" else method, target, version, status)
    found |= {"@timestamp": at, "http.request.body.bytes": int(received), "http.response.body.bytes": int(sent)}
    if took != "-":
        found["event.duration"] = int(took) * 1_000_000
    if agent != "-":
        found["user_agent.original"] = agent
    return found


def _klog(message: str) -> Fields | None:
    match = _KLOG.match(message)
    if match is None:
        return None
    return {
        "log.level": _KLOG_LEVELS[match[1]],
        "process.thread.id": int(match[2]),
        "log.origin.file.name": match[3],
        "log.origin.file.line": int(match[4]),
    }


def _dated(message: str) -> Fields | None:
    match = _DATED.match(message, 0, LOOKED_AT)
    if match is None:
        return None
    at, zone, _, logger, word = match.groups()
    if logger is None:
        behind = _BEHIND_LEVEL.match(message, match.end(), LOOKED_AT)
        logger = behind[1] if behind else None
    found = _levelled(word, logger)
    if found is not None and zone:
        found["@timestamp"] = f"{at} {'Z' if zone == 'GMT' else zone}"
    return found


def _elasticsearch(message: str) -> Fields | None:
    match = _ELASTICSEARCH.match(message)
    return _levelled(match[1], match[2]) if match else None


def _kafka(message: str) -> Fields | None:
    line = message.partition("\n")[0] if "\n" in message else message
    match = _KAFKA.match(line, 0, LOOKED_AT)
    return _levelled(match[1], match[2]) if match else None


def _nginx_error(message: str) -> Fields | None:
    match = _NGINX_ERROR.match(message)
    found = _levelled(match[1]) if match else None
    return {**found, "process.pid": int(match[2])} if match and found else None


def _redis(message: str) -> Fields | None:
    match = _REDIS.match(message)
    return {"log.level": _REDIS_LEVELS[match[2]], "process.pid": int(match[1])} if match else None


def _python(message: str) -> Fields | None:
    match = _PYTHON.match(message)
    return _levelled(match[1], match[2]) if match else None


def _uvicorn_access(message: str) -> Fields | None:
    match = _UVICORN_ACCESS.match(message, 0, LOOKED_AT)
    if match is None:
        return None
    client, port, method, target, version, status = match.groups()
    return {"log.level": "info", "source.port": int(port)} | _source(client) | _request(method, target, version, status)


def _level_first(message: str) -> Fields | None:
    match = _LEVEL_FIRST.match(message)
    return _levelled(match[1]) if match else None


def _logfmt(message: str) -> Fields | None:
    if "=" not in message[:64]:
        return None
    match = _LOGFMT_LEVEL.search(message, 0, LOOKED_AT)
    if match is None:
        return None
    logger = _LOGFMT_LOGGER.search(message, 0, LOOKED_AT)
    return _levelled(match[1], logger[1] if logger else None)


_Reader = Callable[[str], Fields | None]
_OTHERS: tuple[_Reader, ...] = ()
_DIGIT = (_dated, _access, _nginx_error, _redis)
_WORD: tuple[_Reader, ...] = (_level_first, _logfmt)
_BY_FIRST: dict[str, tuple[_Reader, ...]] = {
    **dict.fromkeys("0123456789", _DIGIT),
    **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", _WORD),
    **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ(<", (_level_first, _logfmt)),
    **dict.fromkeys("WEFD", (_klog, _python, _level_first, _logfmt)),
    "I": (_klog, _uvicorn_access, _python, _level_first, _logfmt),
    "C": (_python, _level_first, _logfmt),
    "[": (_elasticsearch, _kafka, _envoy, _level_first),
    ":": (_access,),
}
