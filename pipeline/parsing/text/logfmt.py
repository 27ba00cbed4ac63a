"""Parser of logfmt, `key=value key="a text"`, as Go's loggers and Ruby's lograge write it. Pure, and linear.

`parse` reads a line that is logfmt as a whole, `parse_all` every pair of it; `add_tail` the ids and the error that
loggers append to the text of a line.
"""

import re

import orjson

from pipeline.contract.json_types import JsonObject
from pipeline.parsing import exception, field_values, level
from pipeline.parsing.json import json_body

_MAX_CHARACTERS = 1024
_MAX_OTHER_PAIRS = 100
_KEY = re.compile(r"[A-Za-z_][\w.-]{0,40}=", re.ASCII)
_PAIRS = re.compile(r'(?<![\w.-])([A-Za-z_][\w.-]*+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"]*+)')
_ALL_PAIRS = re.compile(r'(?<!\S)([A-Za-z_@][\w.@/-]*+)=("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^\s"]*+)(?!\S)')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_CALLER = re.compile(r"(.{1,190}):(\d{1,9})$", re.ASCII)
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$", re.ASCII)
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?", re.ASCII)
_STATUS = re.compile(r"\d{3}", re.ASCII)

_KEYS = {
    "log.level": "level lvl severity loglevel log_level logLevel Level LEVEL Severity SEVERITY",
    "@timestamp": "time ts t timestamp Time TIME Timestamp TIMESTAMP @timestamp",
    "log.logger": "logger component module Logger",
    "error.message": "err error Error",
    "error.stack_trace": "exception exc_info stack stacktrace stack_trace errorVerbose err.stack error.stack",
    "trace.id": "traceID trace_id traceId TraceId trace.id traceid dd.trace_id otelTraceID",
    "span.id": "spanID span_id spanId SpanId span.id spanid dd.span_id otelSpanID",
    "log.origin.file.name": "caller source",
    "http.request.method": "method",
    "http.response.status_code": "status",
    "url.original": "path uri url",
    "event.duration": "duration took latency",
    "controller": "controller",
}
"""ECS fields, with the keys of each."""
_FIELD_BY_KEY = {key: field for field, keys in _KEYS.items() for key in keys.split()}
_MESSAGE_KEYS = frozenset(["msg", "message", "Msg", "Message", "MSG", "MESSAGE"])
_ABSENT = frozenset(("", "-", "nil", "<nil>", "null", "None", "none", "undefined"))

_ID_BY_KEY = {key: field for key, field in _FIELD_BY_KEY.items() if field in ("trace.id", "span.id")}
_TAIL_ID = re.compile(
    rf'(?<![\w.-])({"|".join(map(re.escape, _ID_BY_KEY))})=(["\']?)([0-9a-fA-F]{{16,32}}|\d{{5,20}})(?![\w-])\2'
)
_TAIL_ERROR = re.compile(
    r"(?<=[ \t])(?:err|error)="
    r"(?:\"((?:[^\"\\]|\\.)*+)\"|'([^'\\]*+)'(?=$| )|([^\s\"'={\[<]++)(?=$| [\w.]++=))"
)
_TAIL_ERROR_WITH_BLANKS = re.compile(r"(?<= )(?:err|error)=([^\"=\n]{1,1000}?)(?=$| [\w.]{1,60}=)")
_BLOCK_ERROR = re.compile(r" err=<\n((?:\t[^\n]*\n)+) >|\n  err(?:or)?=\n((?:  \|[^\n]*(?:\n|$))+)")  # klog, hclog
_BLOCK_PREFIX = re.compile(r"^(?:\t|  \| ?)", re.MULTILINE)
_TAIL_OBJECT_ERRORS = ("error", "err")


def parse(line: str) -> JsonObject | None:
    """Return the fields of a line that has a level or is a request; None for any other line."""
    is_request = "method=" in line and "status=" in line
    if not (is_request or _has_level_key(line)) or _KEY.match(line) is None:
        return None
    pairs = _pairs(line)
    fields = _request(pairs) if is_request else {}
    name = level.normalize(pairs.pop("log.level", None))
    if name is None:
        if fields:
            add_tail(fields, line)
        return fields or None
    fields["log.level"] = name
    for field, text in pairs.items():
        fields |= _convert(field, text)
    return fields


def _convert(field: str, text: str) -> JsonObject:
    """The fields of a pair that has a value of its field's kind."""
    if field in ("trace.id", "span.id"):
        return field_values.CONVERTERS[field](text) or {}
    if field == "@timestamp":
        return {field: text} if _ZONED.match(text) else {}
    if field == "log.origin.file.name":
        origin = _CALLER.match(text)
        return {field: origin[1], "log.origin.file.line": int(origin[2])} if origin else {}
    if field == "error.stack_trace":
        return _stack(text)
    return {field: text} if field in ("log.logger", "error.message") and text not in _ABSENT else {}


def _stack(text: str) -> JsonObject:
    """A text of several lines is a stack trace by its key; one of a single line may be anything."""
    if "\n" not in text:
        return {}
    fields: JsonObject = {"error.stack_trace": text}
    exception.add_error(fields, exception.from_stack(text) or ("", ""))
    return fields


def _has_level_key(line: str) -> bool:
    return "evel=" in line or "lvl=" in line or "everity=" in line or "LEVEL=" in line or "VERITY=" in line


def parse_all(line: str) -> JsonObject | None:
    """Return all pairs of a line, the known ones under their ECS name: for a parser that is asked for by name."""
    fields = parse(line) or {}
    used = {text for text in fields.values() if isinstance(text, str)}
    others = 0
    for key, written in _ALL_PAIRS.findall(line):
        text = _unquote(written)
        is_level = _FIELD_BY_KEY.get(key) == "log.level" and "log.level" in fields
        if is_level or key in _MESSAGE_KEYS or text in used or others >= _MAX_OTHER_PAIRS:
            continue
        name = json_body.permitted_name(key)
        if name not in fields:
            fields[name] = text
            others += 1
    return fields or None


def add_tail(fields: JsonObject, line: str) -> None:
    """Add the ids and the error that follow the text: `trace_id=… err="…"`, or an object of zap's console."""
    if "race" in line:
        for key, _, text in _TAIL_ID.findall(line):
            for field, value in (field_values.CONVERTERS[_ID_BY_KEY[key]](text) or {}).items():
                fields.setdefault(field, value)
    if "error.message" in fields:
        return
    if "rr=" in line or "error=" in line:
        match = _TAIL_ERROR.search(line)
        text = (_unescape(match[1]) if match[1] is not None else match[2] or match[3]) if match else ""
        if match is None and "::" in fields.get("log.logger", ""):  # Rust's tracing writes texts without quotes
            match = _TAIL_ERROR_WITH_BLANKS.search(line)
            text = match[1] if match else ""
        if text not in _ABSENT:
            fields["error.message"] = text


def add_block_error(fields: JsonObject, text: str) -> None:
    """Add the error that klog and hclog write on further lines, since its text has several."""
    match = _BLOCK_ERROR.search(text) if "err=" in text or "error=" in text else None
    if match is not None:
        fields.setdefault("error.message", _BLOCK_PREFIX.sub("", match[1] or match[2]).rstrip("\n"))


def add_tail_object(fields: JsonObject, line: str) -> None:
    """Add the ids and the error of the object at the end of a line of zap's console."""
    start = line.rfind("\t{") + 1
    try:
        body = orjson.loads(line[start:]) if start else None
    except orjson.JSONDecodeError:
        return
    if type(body) is not dict:
        return
    for key in _TAIL_OBJECT_ERRORS:
        if isinstance(text := body.get(key), str) and text not in _ABSENT:
            fields.setdefault("error.message", text)
    for key, field in _ID_BY_KEY.items():
        for name, value in (field_values.CONVERTERS[field](body.get(key)) or {}).items():
            fields.setdefault(name, value)


def _request(pairs: dict[str, str]) -> JsonObject:
    """Return the fields of a request; none when one of its parts is missing."""
    method, status = pairs.get("http.request.method", ""), pairs.get("http.response.status_code", "")
    target = field_values.url(pairs.get("url.original"))
    if target is None or not method.isupper() or _STATUS.fullmatch(status) is None:
        return {}
    fields: JsonObject = {"http.request.method": method, "http.response.status_code": int(status), **target}
    text = pairs.get("event.duration", "")
    if "controller" in pairs and _NUMBER.fullmatch(text):  # lograge, in milliseconds
        return fields | (field_values.CONVERTERS["event.duration/ms"](float(text)) or {})
    return fields | (field_values.go_duration(text) or {})


def _pairs(line: str) -> dict[str, str]:
    """Return the known pairs by their field, the first text of each; quoted text holds no pairs."""
    scanned = line[:_MAX_CHARACTERS] if "\\n" not in line else line  # it may contain a stack trace
    pairs: dict[str, str] = {}
    if "\\" in scanned:
        for key, written in _PAIRS.findall(scanned):
            field = _FIELD_BY_KEY.get(key)
            if field is not None and field not in pairs and (text := _unquote(written)):
                pairs[field] = text
        return pairs
    parts = scanned.split('"')
    for number in range(0, len(parts), 2):
        for token in parts[number].split():
            key, _, text = token.partition("=")
            field = _FIELD_BY_KEY.get(key)
            if field is not None and field not in pairs:
                quoted = not text and number + 1 < len(parts) and parts[number].endswith(token)
                if quoted:
                    text = parts[number + 1]
                if text:
                    pairs[field] = text
    return pairs


def _unquote(text: str) -> str:
    """Return a value without its quotes and escapes."""
    return _unescape(text[1:-1]) if text[:1] == '"' and len(text) > 1 else text


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    return _ESCAPE.sub(
        lambda match: chr(int(match[1][1:], 16)) if len(match[1]) == 5 else _ESCAPED.get(match[1], match[1]), text
    )
