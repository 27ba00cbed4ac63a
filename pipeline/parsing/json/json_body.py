"""Parser of JSON objects that applications log, to flat fields of a document. Pure.

Nested and dotted spellings get the same flat name (`pipeline.parsing.json.flatten`); loggers' own spellings of message,
time, level and ids get the ECS name (`pipeline.parsing.json.logger_dialects`). No value is lost: a value whose name is
reserved or used already goes under `app.`.

The new names depend only on the names and the types of their values. So they are computed once for each such shape and
cached: bounded, and for speed only.
"""

import re
import sys
from typing import Any

import orjson

from pipeline.contract.ecs import APPLICATION_PREFIX, FIELDS
from pipeline.contract.json_types import JsonObject
from pipeline.parsing import exception, field_values, level
from pipeline.parsing.json import error_objects, flatten, logger_dialects
from pipeline.short_key_cache import cache_short_keys

MAX_NAME_LENGTH = 256
ALIASES = logger_dialects.ALIASES
OVERFLOW = flatten.OVERFLOW

Shape = tuple[Any, ...]
"""The keys of an object, then the types of their values."""

SERVICE_FIELDS = frozenset({"ecs.version", "service.name", "service.version", "service.environment"})
"""Fields that the container's metadata sets unless the log does."""

_MAX_PLANS = 2048
_MAX_CACHED_PAIRS = 100  # a shape of more pairs is computed each time
_PLAN_MAX_BYTES = 32 * 1024  # and a shape of longer names
_PLANS_MAX_BYTES = 16 * 1024 * 1024
_LONG_NUMBER = re.compile(rb"\d{16}|\d\.\d{15}")
_NANOSECOND_FIELDS = {
    "timestamp.seconds": "timestamp.nanos",
    "timestampSeconds": "timestampNanos",
    "instant.epochSecond": "instant.nanoOfSecond",
}
_UNFIT_TYPES: dict[str, tuple[type, ...]] = {"long": (str, float, bool), "ip": (str, int, float, bool)}
"""Types of values that a field of ECS may ignore, by its own type: Elasticsearch would index nothing, or a part."""
_NO_LEVEL = ("-", "")
_ID_NAMES = ("trace.id", "span.id", "transaction.id")
_RESERVED_NAMES = (
    "host.name event.created event.ingested stream container kubernetes orchestrator agent crisp data_stream "
    "log.offset log.length log.iostream log.flags log.file.path log.iotime"
)
_RESERVED = frozenset(_RESERVED_NAMES.split())
_RESERVED_PREFIXES = ("kubernetes.", "container.", "orchestrator.", "agent.", "crisp.", "data_stream.", "_")


class _Plan:
    """Names and conversions for the flat objects of one shape.

    `is_flat`: every value is a scalar; `has_no_numbers`: moreover none is a number, which could lose digits.
    `may_be_verbatim`: the names are those of the document, and no value has to be examined. `quote_count`: of an object
    whose texts have no escaped quote. `names` are the new names, in order; `converters` apply to some of them.
    """

    __slots__ = (
        *(
            "absent",
            "converters",
            "default_level",
            "has_floats",
            "has_stack",
            "id_names",
            "has_level",
            "has_no_numbers",
            "integer_names",
            "is_examined",
            "is_flat",
            "level_is_text",
        ),
        *("may_be_verbatim", "names", "names_unchanged", "nanos", "quote_count", "service_fields"),
    )

    def __init__(self, shape: Shape) -> None:
        names, types = shape[: len(shape) // 2], shape[len(shape) // 2 :]
        self.is_flat = flatten.SCALARS.issuperset(types)
        self.has_floats = float in types
        self.integer_names = [name for name, kind in zip(names, types, strict=True) if kind is int]
        self.quote_count = 2 * (len(names) + types.count(str))
        self.converters: list[tuple[str, field_values.Converter]] = []
        dialects = logger_dialects.find_dialects(names)
        self.absent = next((dialect.absent for dialect in dialects if dialect.absent is not None), None)
        self.has_stack = False
        self.names = self._map_names(dialects, names, dict(zip(names, types, strict=True)))
        self.default_level = next((dialect.level for dialect in dialects if dialect.level), "")
        self.names_unchanged = not (self.converters or self.default_level) and self.names == names
        self.id_names = tuple(name for name in _ID_NAMES if name in names)
        self.has_level = "log.level" in self.names or any(name for name, _ in self.converters)
        self.nanos = next(
            ((seconds, nano) for seconds, nano in _NANOSECOND_FIELDS.items() if seconds in names and nano in names),
            None,
        )
        texts = {name for name, kind in zip(names, types, strict=True) if kind is str}
        self.has_no_numbers = self.is_flat and not self.has_floats and not self.integer_names
        examined = {"url.path"} | ({"@timestamp"} - texts)
        self.may_be_verbatim = (
            self.names_unchanged
            and self.is_flat
            and not self.has_floats
            and "message" in texts
            and examined.isdisjoint(names)
        )
        # A text without conversion: one look-up decides whether it is a normal level.
        self.level_is_text = (
            not self.converters and "log.level" in self.names and self._type_of("log.level", types) is str
        )
        self.service_fields = SERVICE_FIELDS.intersection(self.names)
        by_name = dict(zip(self.names, types, strict=True))
        is_known = "error.type" in self.names and "error.message" in self.names and exception.STACK_TRACE in texts
        has_list = any(by_name.get(name) is list for name in error_objects.LISTS)
        is_text = self.has_stack or exception.STACK_TRACE in self.names
        self.has_stack = not is_known and (has_list or is_text or error_objects.has_error_object(self.names))
        self.is_examined = self.has_stack or bool(self.id_names)

    def _type_of(self, name: str, types: Shape) -> Any:
        return types[self.names.index(name)]

    def _map_names(
        self, dialects: list[logger_dialects.Dialect], names: tuple[str, ...], types: dict[str, type]
    ) -> tuple[str, ...]:
        """Return the name of each value; a spelling that needs more than a new name goes into `converters`."""
        spellings = logger_dialects.find_spellings(names, dialects)
        renamed: dict[str, str] = {}
        used: set[str] = set()
        by_converter: set[str] = set()
        for name in names:
            if name not in spellings:
                renamed[name] = _unused_name(permitted_name(name), used)
                definition = FIELDS.get(renamed[name])
                if definition is not None and types[name] in _UNFIT_TYPES.get(definition.type, ()):
                    make = field_values.number if definition.type == "long" else field_values.ip
                    self.converters.append((renamed[name], field_values.or_application(renamed[name], make)))
        for name, converter_name in spellings.items():
            target = converter_name.partition("/")[0]
            self.has_stack = self.has_stack or target == exception.STACK_TRACE
            converter = field_values.CONVERTERS.get(converter_name)
            is_text = types[name] is str
            is_verbatim = converter is None or (is_text and converter_name in {"message", "log.level", "@timestamp"})
            if (target in used and (is_verbatim or target not in by_converter)) or (converter is None and not is_text):
                renamed[name] = _unused_name(permitted_name(name), used)
            elif converter is None or is_verbatim:
                renamed[name] = _unused_name(target, used)
            else:
                renamed[name] = _unused_name(permitted_name(name), used)
                self.converters.append((renamed[name], converter))
                used.add(target)
                by_converter.add(target)
        return tuple([renamed[name] for name in names])

    def apply(self, body: JsonObject) -> JsonObject:
        """Return the fields of a flat object of this shape."""
        fields = dict(zip(self.names, body.values(), strict=True))
        if self.absent is not None:
            fields = {name: value for name, value in fields.items() if value != self.absent}
        if self.default_level:
            fields.setdefault("log.level", self.default_level)
        for name, converter in self.converters:
            converted = converter(fields[name]) if name in fields else None
            # The second of two spellings counts only if the first had no value.
            if converted is None or (converted and (target := next(iter(converted))) in fields and target != name):
                continue
            del fields[name]
            for field, part in converted.items():
                fields.setdefault(field, part)
        if self.nanos:
            _join_nanos(fields, self.nanos)
        return fields

    def size(self) -> int:
        """Return about the bytes of the plan, without the logged names."""
        return sum(sys.getsizeof(name) + _BYTES_PER_NAME for name in self.names)


_BYTES_PER_NAME = 64
_plans: dict[Shape, _Plan] = {}
_plans_size = 0


def _plan(body: JsonObject) -> _Plan:
    """Return the plan for an object, computed for the first object of its shape."""
    global _plans_size  # noqa: PLW0603 - the size of the dictionary next to it
    shape = (*body, *map(type, body.values()))
    plan = _plans.get(shape)
    if plan is None:
        plan = _Plan(shape)
        size = sum(sys.getsizeof(name) for name in body) + plan.size()
        if len(body) <= _MAX_CACHED_PAIRS and size <= _PLAN_MAX_BYTES:
            if len(_plans) >= _MAX_PLANS or _plans_size + size > _PLANS_MAX_BYTES:
                _plans.clear()
                _plans_size = 0
            _plans[shape] = plan
            _plans_size += size
    return plan


def parse_fields(content: bytes, field_limit: int) -> JsonObject | None:
    """Return the fields of a JSON object, at most about `field_limit`; None when the content is not a JSON object."""
    parsed = parse(content, field_limit)
    return parsed[0] if parsed else None


ParsedBody = tuple[JsonObject, bool, frozenset[str]]
"""The fields of a JSON object; whether the bytes between the outer braces are exactly these fields, each name once;
the names of service fields among them. A plain tuple, for speed."""


def parse(content: bytes, field_limit: int) -> ParsedBody | None:
    """Parse a JSON object; None when the content is none. The hot path: most decisions are in the shape's plan."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if type(body) is not dict:
        return None
    plan = _plans.get((*body, *map(type, body.values()))) or _plan(body)
    # The number of quotes matches only without escaped quotes and duplicate keys: nothing was lost.
    if content.count(b'"') == plan.quote_count and plan.has_no_numbers and len(body) <= field_limit:
        verbatim = plan.may_be_verbatim and content[-1:] == b"}"
    else:
        verbatim = plan.may_be_verbatim and _is_lossless(content, body, plan, field_limit) and content[-1:] == b"}"
        if not verbatim:
            try:
                body, plan = _flatten(content, body, plan, field_limit)
            except RecursionError:
                return None  # hundreds of levels deep: no log entry, kept as text
    if not plan.names_unchanged:
        body = plan.apply(body)
    if plan.is_examined and not _examine(body, plan):
        verbatim = False
    if (
        plan.has_level
        and (not plan.level_is_text or body["log.level"] not in level.NORMAL)
        and not _normalize_level(body)
    ):
        verbatim = False
    return body, verbatim, plan.service_fields


def _examine(body: JsonObject, plan: _Plan) -> bool:
    """Examine ids and stack traces; return whether the fields stay as they are."""
    is_unchanged = True
    for name in plan.id_names:
        identifier = body.get(name)
        if (type(identifier) is not str or identifier[-1:] == "0") and not _is_valid_id(body, name):
            is_unchanged = False
    return not (plan.has_stack and error_objects.derive_error(body)) and is_unchanged


def _flatten(content: bytes, body: JsonObject, plan: _Plan, field_limit: int) -> tuple[JsonObject, _Plan]:
    if _is_lossless(content, body, plan, field_limit):
        return body, plan
    body = flatten.flatten(content, body, field_limit)
    return body, _plan(body)


def _is_lossless(content: bytes, body: JsonObject, plan: _Plan, field_limit: int) -> bool:
    """Return whether a flat object was parsed without loss: no duplicate key, no number beyond 64 bits or a double."""
    if not plan.is_flat or len(body) > field_limit or 2 * flatten.count_literals(content) != plan.quote_count:
        return False
    for name in plan.integer_names:
        if not -(2**63) <= body[name] < 2**63:
            return False
    return not (plan.has_floats and _LONG_NUMBER.search(content))


def _is_valid_id(body: JsonObject, name: str) -> bool:
    """Move an id of zeros under `app.`, and write a number as text; return whether there was nothing to do."""
    value = body.get(name)
    if type(value) is int and value:
        body[name] = str(value)
    elif value is not None and value != "" and not str(value).strip("0-"):
        flatten.append_value(body, f"{APPLICATION_PREFIX}.{name}", body.pop(name))
    else:
        return True
    return False


def _normalize_level(body: JsonObject) -> bool:
    """Normalise the level in place; return whether it was normal already."""
    logged = body.get("log.level")
    if type(logged) is str and logged in level.NORMAL:
        return True
    if logged in _NO_LEVEL:
        del body["log.level"]
        return False
    normal = level.normalize(logged)
    if normal is None and isinstance(logged, str) and logged.isalpha():
        normal = logged.lower()  # a logger's own level, `DEFAULT` or `Audit`
    if normal is None or normal == logged:
        return normal == logged or logged is None or isinstance(logged, str)
    body["log.level"] = normal
    if isinstance(logged, int):
        body.setdefault("event.severity", logged)
    elif isinstance(logged, str) and logged.isdecimal():
        body.setdefault("event.severity", int(logged))
    return False


def _join_nanos(body: JsonObject, names: tuple[str, str]) -> None:
    """Join seconds and nanoseconds, which Google's and Log4j's layouts write as two fields."""
    seconds, nanos = body.get("@timestamp"), body.get(names[1])
    if type(seconds) is int and type(nanos) is int and 0 <= nanos < 10**9:
        body["@timestamp"] = seconds * 10**9 + body.pop(names[1])


def _unused_name(name: str, used: set[str]) -> str:
    """Return the name, or one under `app.` if it is used."""
    candidate, number = name, 1
    while candidate in used:
        candidate = f"{APPLICATION_PREFIX}.{name}" if number == 1 else f"{APPLICATION_PREFIX}.{name}.{number}"
        number += 1
    used.add(candidate)
    return candidate


@cache_short_keys(4096)
def permitted_name(path: str) -> str:
    """Return the name, or one under `app.` if it is reserved or Elasticsearch would reject it."""
    if not path or not all(part.strip() for part in path.split(".")):
        path = f"{APPLICATION_PREFIX}." + ".".join(part if part.strip() else "_" for part in path.split("."))
    if len(path) > MAX_NAME_LENGTH:
        path = path[:MAX_NAME_LENGTH]
    if path in _RESERVED or path.startswith(_RESERVED_PREFIXES):
        return f"{APPLICATION_PREFIX}.{path}"
    return path


def is_writable(name: str) -> bool:
    """Return whether applications and rules may set a field of that name."""
    return permitted_name(name) == name
