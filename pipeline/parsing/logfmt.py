"""Parser of logfmt, `key=value key="a text"`, as Go's loggers and Ruby's lograge write it. Pure, and linear."""

import re

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import field_values, level

_MAX_CHARACTERS = 1024
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,40}=", re.ASCII)
_PAIRS = re.compile(r'(?<![\w.-])([A-Za-z_][\w.-]*+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"]*+)')
_CALLER = re.compile(r"(.{1,190}):(\d{1,9})$", re.ASCII)
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$", re.ASCII)
_STATUS = re.compile(r"\d{3}", re.ASCII)

_TEXT_FIELDS = {
    "log.logger": ("logger", "component", "module"),
    "trace.id": ("traceID", "trace_id"),
    "span.id": ("spanID", "span_id"),
    "error.message": ("err", "error"),
}
"""ECS fields of texts that stay as they are, with the keys of each."""
_KNOWN_KEYS = frozenset(key for keys in _TEXT_FIELDS.values() for key in keys) | {
    *("level", "lvl", "severity", "time", "ts", "t", "caller", "source"),
    *("method", "status", "path", "uri", "url", "duration", "took", "latency"),
}


def parse(line: str) -> JsonObject | None:
    """Return the fields of a line that has a level or is a request; None for any other line."""
    is_request = "method=" in line and "status=" in line
    if not (is_request or "level=" in line or "lvl=" in line or "severity=" in line) or _KEY.match(line) is None:
        return None
    pairs = _pairs(line)
    fields = _request(pairs) if is_request else {}
    name = level.normalize(_first_value(pairs, ("level", "lvl", "severity")))
    if name is None:
        return fields or None
    fields["log.level"] = name
    for field, keys in _TEXT_FIELDS.items():
        if text := _first_value(pairs, keys):
            fields[field] = text
    time = _first_value(pairs, ("time", "ts", "t"))
    if time and _ZONED.match(time):
        fields["@timestamp"] = time
    caller = _first_value(pairs, ("caller", "source"))
    if caller and (origin := _CALLER.match(caller)) is not None:
        fields["log.origin.file.name"], fields["log.origin.file.line"] = origin[1], int(origin[2])
    return fields


def _first_value(pairs: dict[str, str], keys: tuple[str, ...]) -> str:
    """Return the first text that is not empty, in the order of the keys."""
    for key in keys:
        if text := pairs.get(key):
            return text
    return ""


def _request(pairs: dict[str, str]) -> JsonObject:
    """Return the fields of a request; none when one of its parts is missing."""
    method, status = pairs.get("method", ""), pairs.get("status", "")
    target = field_values.url(_first_value(pairs, ("path", "uri", "url")))
    if target is None or not method.isupper() or _STATUS.fullmatch(status) is None:
        return {}
    fields: JsonObject = {"http.request.method": method, "http.response.status_code": int(status), **target}
    return fields | (field_values.go_duration(_first_value(pairs, ("duration", "took", "latency"))) or {})


def _pairs(line: str) -> dict[str, str]:
    """Return the known pairs, the first of each key; quoted text holds no pairs."""
    scanned = line[:_MAX_CHARACTERS]
    if "\\" in scanned:
        matches = ((key, text.strip('"')) for key, text in _PAIRS.findall(scanned))
        return {key: text for key, text in reversed([*matches]) if key in _KNOWN_KEYS}
    pairs: dict[str, str] = {}
    parts = scanned.split('"')
    for number in range(0, len(parts), 2):
        for token in parts[number].split():
            key, _, text = token.partition("=")
            if key in _KNOWN_KEYS and key not in pairs:
                quoted = not text and number + 1 < len(parts) and parts[number].endswith(token)
                pairs[key] = parts[number + 1] if quoted else text
    return pairs
