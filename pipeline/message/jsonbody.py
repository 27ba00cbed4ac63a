"""A JSON object that an application logged, as flat fields of a document. Pure.

Nested and dotted spellings come to the same flat name; loggers' own spellings of message, time, level and ids to
the ECS name. No value is lost: what would take a name of the pipeline's, or one already taken, goes under `app.`;
a number that 64 bits cannot hold becomes text; what is too deep, or over the limit of fields, is kept as JSON.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any

import orjson

from pipeline.ecs import APPLICATION
from pipeline.message import level

MAX_DEPTH = 20
MAX_NAME = 256
OVERFLOW = "app.overflow"

_SPELLINGS = {
    "message": "msg short_message textPayload @m event body log",
    "@timestamp": "timestamp time ts @t datetime asctime date eventTime",
    "log.level": "level severity lvl loglevel log_level levelname @l severity_text severityText status_level",
    "log.logger": "logger logger_name loggerName SourceContext",
    "trace.id": "trace_id traceId traceID TraceId traceid otelTraceID dd.trace_id logging.googleapis.com/trace",
    "span.id": "span_id spanId spanID SpanId spanid otelSpanID dd.span_id logging.googleapis.com/spanId",
    "transaction.id": "transaction_id transactionId",
    "service.name": "service_name serviceName otelServiceName dd.service",
    "service.version": "dd.version service_version",
    "service.environment": "dd.env",
    "error.stack_trace": "stack_trace stacktrace stackTrace exc_info exception err.stack error.stack @x",
    "error.message": "err.message error err error_message",
    "error.type": "err.type err.name error.name error.kind",
    "process.pid": "pid",
    "process.thread.name": "thread thread_name threadName",
    "host.hostname": "hostname",
}
ALIASES = {alias: name for name, aliases in _SPELLINGS.items() for alias in aliases.split()}
"""Loggers' spellings (ECS loggers, OpenTelemetry, Bunyan, Pino, zap, logrus, Serilog, structlog, GCP, Datadog)."""

_SCALARS = frozenset((str, int, bool, type(None)))
_PLAIN: set[str] = set()  # top-level names met that are fields as they are: a memory, never a meaning
_MOST_PLAIN = 10000
_LONG_NUMBER = re.compile(rb"\d{16}|\d\.\d{15}")
_TEXTS = frozenset(_SPELLINGS) - {"@timestamp", "log.level", "process.pid"}  # an alias of these is text, or no alias
_OURS = frozenset(
    {"host.name", "event.created", "event.ingested", "stream", "container", "kubernetes", "orchestrator"}
) | {
    "agent",
    "crisp",
    "data_stream",
    "log.offset",
    "log.length",
    "log.iostream",
    "log.flags",
    "log.file.path",
    "log.iotime",
}
_OUR_ROOTS = ("kubernetes.", "container.", "orchestrator.", "agent.", "crisp.", "data_stream.", "_")


def fields(content: bytes, field_limit: int) -> dict[str, Any] | None:
    """The fields of a JSON object, at most about `field_limit`; None when the content is not a JSON object."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if type(body) is not dict:
        return None
    try:
        found = _Flat(field_limit)
        found.take_all(body)
        # A colon behind a quote for each key: else there may be a key twice, of which only the last was read.
        digits = found.floats and _LONG_NUMBER.search(content)
        if found.inexact or digits or content.count(b'":') != found.keys:
            found = _Flat(field_limit)
            found.take_all(_exactly(content, body))
        return found.finish()
    except RecursionError:
        return None  # hundreds of levels deep: nobody's log, kept as text


class _Flat:
    """The flat fields in the making."""

    __slots__ = ("aliased", "fields", "floats", "inexact", "keys", "limit", "over")

    def __init__(self, limit: int) -> None:
        self.fields: dict[str, Any] = {}
        self.aliased: list[tuple[str, str, Any]] = []
        self.over: dict[str, Any] = {}
        self.keys = 0
        self.limit = limit
        self.inexact = False  # a part was kept as JSON, in which a key may have come twice
        self.floats = False  # a number that may have had more digits than a double holds

    def take_all(self, body: "dict[str, Any] | _Pairs") -> None:
        """The hot loop: a plain value under a plain name costs two look-ups."""
        taken = self.fields
        pairs = body.items()
        self.keys += len(pairs)
        room = self.limit - len(pairs)
        for key, value in pairs:
            if key in _PLAIN and type(value) in _SCALARS and key not in taken and room > 0:
                taken[key] = value
            else:
                name = _name(key)
                if name == key and key not in ALIASES and len(_PLAIN) < _MOST_PLAIN:
                    _PLAIN.add(key)
                self._take(name, key, value, 1)

    def _take(self, name: str, path: str, value: Any, depth: int) -> None:
        """A value that is not plain: `path` is the name before any moving aside."""
        if isinstance(value, dict | _Pairs):
            self._object(path, value, depth)
        elif isinstance(value, list):
            self._list(path, value, depth)
        else:
            if isinstance(value, float):
                self.floats = True
            if name in ALIASES:
                self.aliased.append((name, ALIASES[name], value))
            else:
                self._put(name, value)

    def _object(self, path: str, value: "dict[str, Any] | _Pairs", depth: int) -> None:
        self.keys += len(value.items())
        if not value.items():
            self._put(_name(path), None)
        elif depth >= MAX_DEPTH:
            self._put(_name(path), _json(value))
            self.inexact = self.inexact or isinstance(value, dict)
        else:
            for key, inner in value.items():
                whole = f"{path}.{key}"
                self._take(_name(whole), whole, inner, depth + 1)

    def _list(self, path: str, values: list[Any], depth: int) -> None:
        """Plain values stay a list; the fields of objects in it become lists, as Elasticsearch would take them."""
        plain = [value for value in values if not isinstance(value, dict | _Pairs | list)]
        if len(plain) == len(values):
            if any(isinstance(value, float) for value in plain):
                self.floats = True
                # Elasticsearch refuses a new field that begins with a whole number and goes on with a fraction.
                values = [float(value) if type(value) is int else value for value in plain]
            self._put(_name(path), values)
            return
        if depth >= MAX_DEPTH or any(isinstance(value, list) for value in values):
            self._put(_name(path), _json(values))
            self.inexact = self.inexact or not isinstance(values, _Exact)
            return
        inner = _Flat(self.limit)
        gathered: dict[str, list[Any]] = {}
        for value in values:
            if isinstance(value, dict | _Pairs):
                inner._object(path, value, depth + 1)
                inner.settle()
                for name, found in inner.fields.items():
                    gathered.setdefault(name, []).extend(found if isinstance(found, list) else [found])
                inner.fields = {}
        self.keys += inner.keys
        self.inexact = self.inexact or inner.inexact
        self.floats = self.floats or inner.floats
        self.over.update(inner.over)
        if plain:
            self._put(_name(path), plain)
        for name, found in gathered.items():
            self._put(name, found)

    def _put(self, name: str, value: Any) -> None:
        """Under its name, or aside where that is taken; beyond the limit into what overflows."""
        taken = self.fields
        if len(taken) >= self.limit and name not in taken:
            self._gather(self.over, name, value)
        elif name not in taken:
            taken[name] = value
        else:
            self._gather(taken, name if name.startswith("app.") else f"{APPLICATION}.{name}", value)

    @staticmethod
    def _gather(into: dict[str, Any], name: str, value: Any) -> None:
        before = into.get(name, into)
        if before is into:
            into[name] = value
        else:
            into[name] = [*(before if isinstance(before, list) else [before]), value]

    def settle(self) -> None:
        """Loggers' spellings take the ECS name where nothing has it, and keep their own where it is taken."""
        for alias, name, value in self.aliased:
            fits = isinstance(value, str) if name in _TEXTS else value is not None
            self._put(name if fits and name not in self.fields else alias, value)
        self.aliased = []

    def finish(self) -> dict[str, Any]:
        """The fields, the level in its normal spelling."""
        self.settle()
        found = self.fields
        if self.over:
            found[OVERFLOW] = _json(self.over)
        if "log.level" in found:
            own = found["log.level"]
            normal = level.normal(own)
            if normal is not None:
                found["log.level"] = normal
                if isinstance(own, int):
                    self._put("event.severity", own)
        return found


@lru_cache(maxsize=16384)
def _name(path: str) -> str:
    """The name that a field may have: as it is, or under `app.` where it is ours or Elasticsearch would refuse it."""
    if not path or not all(part.strip() for part in path.split(".")):
        path = f"{APPLICATION}." + ".".join(part if part.strip() else "_" for part in path.split("."))
    if len(path) > MAX_NAME:
        path = path[:MAX_NAME]
    if path in _OURS or path.startswith(_OUR_ROOTS):
        return f"{APPLICATION}.{path}"
    return path


def allowed(name: str) -> bool:
    """Whether a field may have that name when it is not the pipeline itself that sets it."""
    return _name(name) == name


class _Pairs:
    """A JSON object with every pair of it, also those whose key comes twice."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = [(key, _Exact(value) if isinstance(value, list) else value) for key, value in pairs]

    def items(self) -> list[tuple[str, Any]]:
        """As a dict's."""
        return self.pairs


class _Exact(list[Any]):
    """A list read exactly."""


def _exactly(content: bytes, body: dict[str, Any]) -> "dict[str, Any] | _Pairs":
    """The object again, by a slower reader that keeps every pair and digit."""
    try:
        read = json.loads(content, object_pairs_hook=_Pairs, parse_int=_integer, parse_float=_float)
    except (ValueError, RecursionError):
        return body
    return read if isinstance(read, _Pairs) else body


def _integer(digits: str) -> int | str:
    if len(digits) > 20:
        return digits
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else digits


def _float(digits: str) -> float | str:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        return digits
    return number if len(digits) < 16 or Decimal(repr(number)) == Decimal(digits) else digits


def _json(value: Any) -> str:
    """As JSON text, keys that come twice included."""
    return "".join(_tokens(value))


def _tokens(value: Any) -> Iterator[str]:
    if isinstance(value, dict | _Pairs):
        yield "{"
        for number, (key, inner) in enumerate(value.items()):
            yield ("," if number else "") + orjson.dumps(key).decode() + ":"
            yield from _tokens(inner)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from _tokens(inner)
        yield "]"
    else:
        yield orjson.dumps(value).decode()
