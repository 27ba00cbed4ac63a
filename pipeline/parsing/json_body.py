"""A JSON object that an application logged, as flat fields of a document. Pure.

Nested and dotted spellings come to the same flat name (`pipeline.parsing.flatten`); loggers' own spellings of message,
time, level and ids to the ECS name (`pipeline.parsing.logger_dialects`). No value is lost: what would take a name of
the pipeline's, or one already taken, goes under `app.`.

What becomes of names depends on the names and their values' types alone, so it is worked out once for each such shape
and remembered: a memory for speed, in bounds, never a meaning.
"""

import re
from functools import lru_cache
from typing import Any

import orjson

from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.parsing import field_values, flatten, level, logger_dialects

MAX_NAME_LENGTH = 256
ALIASES = logger_dialects.ALIASES
OVERFLOW = flatten.OVERFLOW

Fields = dict[str, Any]
Shape = tuple[Any, ...]
"""The names of an object's pairs, then the types of their values."""

SERVICE_FIELDS = frozenset({"ecs.version", "service.name", "service.version", "service.environment"})
"""What a container's metadata tells too, unless the log does."""

_MAX_PLANS = 2048
_MAX_CACHED_PAIRS = 100  # pairs; a shape of more is worked out each time
_LONG_NUMBER = re.compile(rb"\d{16}|\d\.\d{15}")
_NANOSECOND_FIELDS = {
    "timestamp.seconds": "timestamp.nanos",
    "timestampSeconds": "timestampNanos",
    "instant.epochSecond": "instant.nanoOfSecond",
}
_RESERVED_NAMES = (
    "host.name event.created event.ingested stream container kubernetes orchestrator agent crisp data_stream "
    "log.offset log.length log.iostream log.flags log.file.path log.iotime"
)
_RESERVED = frozenset(_RESERVED_NAMES.split())
_RESERVED_PREFIXES = ("kubernetes.", "container.", "orchestrator.", "agent.", "crisp.", "data_stream.", "_")


class _Plan:
    """What becomes of an object of one shape, once it is flat."""

    __slots__ = (
        *(
            "flat",
            "has_floats",
            "integer_names",
            "has_level",
            "level_is_text",
            "names",
            "nanos",
            "service_fields",
            "quote_count",
        ),
        *("converters", "names_unchanged", "simple", "verbatim"),
    )

    def __init__(self, shape: Shape) -> None:
        names, types = shape[: len(shape) // 2], shape[len(shape) // 2 :]
        self.flat = flatten.SCALARS.issuperset(types)
        self.has_floats = float in types
        self.integer_names = [name for name, kind in zip(names, types, strict=True) if kind is int]
        self.quote_count = 2 * (len(names) + types.count(str))
        self.converters: list[tuple[str, field_values.Converter]] = []
        self.names = self._map_names(names, dict(zip(names, types, strict=True)))
        self.names_unchanged = not self.converters and self.names == names
        self.has_level = "log.level" in self.names or any(own for own, _ in self.converters)
        self.nanos = next(
            ((own, nano) for own, nano in _NANOSECOND_FIELDS.items() if own in names and nano in names), None
        )
        texts = {name for name, kind in zip(names, types, strict=True) if kind is str}
        self.simple = self.flat and not self.has_floats and not self.integer_names
        looked_at = {"url.path"} | ({"@timestamp"} - texts)
        self.verbatim = (
            self.names_unchanged
            and self.flat
            and not self.has_floats
            and "message" in texts
            and looked_at.isdisjoint(names)
        )
        # Plain texts alone: whether they are a level's normal name is one look-up.
        self.level_is_text = (
            not self.converters and "log.level" in self.names and self._type_of("log.level", types) is str
        )
        self.service_fields = SERVICE_FIELDS.intersection(self.names)

    def _type_of(self, name: str, types: Shape) -> Any:
        return types[self.names.index(name)]

    def _map_names(self, names: tuple[str, ...], types: dict[str, type]) -> tuple[str, ...]:
        """The name of each value; a spelling that needs more than a new name goes among the readings."""
        spelled = logger_dialects.find_spellings(names)
        renamed: dict[str, str] = {}
        taken: set[str] = set()
        for name in names:
            if name not in spelled:
                renamed[name] = _unused_name(_permitted_name(name), taken)
        for name, wanted in spelled.items():
            target = wanted.partition("/")[0]
            reading = field_values.CONVERTERS.get(wanted)
            if target in taken or (reading is None and types[name] is not str):
                renamed[name] = _unused_name(_permitted_name(name), taken)
            elif reading is None or (types[name] is str and wanted in {"message", "log.level", "@timestamp"}):
                renamed[name] = _unused_name(target, taken)
            else:
                renamed[name] = _unused_name(_permitted_name(name), taken)
                self.converters.append((renamed[name], reading))
                taken.add(target)
        return tuple([renamed[name] for name in names])

    def apply(self, body: Fields) -> Fields:
        """The fields of a flat object of this shape."""
        fields = dict(zip(self.names, body.values(), strict=True))
        for own, reading in self.converters:
            found = reading(fields[own])
            if found is not None:
                del fields[own]
                for name, part in found.items():
                    fields.setdefault(name, part)
        return fields


_plans: dict[Shape, _Plan] = {}


def _plan(body: Fields) -> _Plan:
    """The plan for an object, worked out when its shape is met first."""
    shape = (*body, *map(type, body.values()))
    plan = _plans.get(shape)
    if plan is None:
        plan = _Plan(shape)
        if len(_plans) >= _MAX_PLANS:
            _plans.clear()
        if len(body) <= _MAX_CACHED_PAIRS:
            _plans[shape] = plan
    return plan


def parse_fields(content: bytes, field_limit: int) -> Fields | None:
    """The fields of a JSON object, at most about `field_limit`; None when the content is not a JSON object."""
    found = parse(content, field_limit)
    return found[0] if found else None


ParsedBody = tuple[Fields, bool, frozenset[str]]
"""What a JSON object says: its fields; whether the bytes between the outer braces are these very fields, each name
once; the names of the service's fields among them. A plain tuple, for speed."""


def parse(content: bytes, field_limit: int) -> ParsedBody | None:
    """A JSON object; None when the content is none. The hot path: what can be is asked of the shape's plan."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    if type(body) is not dict:
        return None
    plan = _plans.get((*body, *map(type, body.values()))) or _plan(body)
    # So many quotes there are only if no quote was escaped and no key came twice: the whole was read.
    if content.count(b'"') == plan.quote_count and plan.simple and len(body) <= field_limit:
        verbatim = plan.verbatim and content[-1:] == b"}"
    else:
        verbatim = plan.verbatim and _is_lossless(content, body, plan, field_limit) and content[-1:] == b"}"
        if not verbatim:
            try:
                body, plan = _flatten(content, body, plan, field_limit)
            except RecursionError:
                return None  # hundreds of levels deep: nobody's log, kept as text
    if not plan.names_unchanged:
        body = plan.apply(body)
        if plan.nanos:
            _join_nanos(body, plan.nanos)
    if (
        plan.has_level
        and (not plan.level_is_text or body["log.level"] not in level.NORMAL)
        and not _normalize_level(body)
    ):
        verbatim = False
    return body, verbatim, plan.service_fields


def _flatten(content: bytes, body: Fields, plan: _Plan, field_limit: int) -> tuple[Fields, _Plan]:
    if _is_lossless(content, body, plan, field_limit):
        return body, plan
    body = flatten.flatten(content, body, field_limit)
    return body, _plan(body)


def _is_lossless(content: bytes, body: Fields, plan: _Plan, field_limit: int) -> bool:
    """Whether an object is flat and was read without loss: no key twice, no number beyond 64 bits or a double."""
    if not plan.flat or len(body) > field_limit or 2 * flatten.count_literals(content) != plan.quote_count:
        return False
    for name in plan.integer_names:
        if not -(2**63) <= body[name] < 2**63:
            return False
    return not (plan.has_floats and _LONG_NUMBER.search(content))


def _normalize_level(body: Fields) -> bool:
    """Bring the level to its normal spelling; whether it had that already."""
    own = body.get("log.level")
    if type(own) is str and own in level.NORMAL:
        return True
    normal = level.normalize(own)
    if normal is None and isinstance(own, str) and own.isalpha():
        normal = own.lower()  # a logger's own name for one, `DEFAULT` or `Audit`
    if normal is None or normal == own:
        return normal == own or own is None or isinstance(own, str)
    body["log.level"] = normal
    if isinstance(own, int):
        body.setdefault("event.severity", own)
    return False


def _join_nanos(body: Fields, names: tuple[str, str]) -> None:
    """Seconds and nanoseconds apart, as Google's and Log4j's layouts write them."""
    seconds, nanos = body.get("@timestamp"), body.get(names[1])
    if type(seconds) is int and type(nanos) is int and 0 <= nanos < 10**9:
        body["@timestamp"] = seconds * 10**9 + body.pop(names[1])


def _unused_name(name: str, taken: set[str]) -> str:
    """The name, or aside where it is taken."""
    aside, number = name, 1
    while aside in taken:
        aside = f"{APPLICATION_PREFIX}.{name}" if number == 1 else f"{APPLICATION_PREFIX}.{name}.{number}"
        number += 1
    taken.add(aside)
    return aside


@lru_cache(maxsize=16384)
def _permitted_name(path: str) -> str:
    """The name that a field may have: as it is, or under `app.` where it is ours or Elasticsearch would refuse it."""
    if not path or not all(part.strip() for part in path.split(".")):
        path = f"{APPLICATION_PREFIX}." + ".".join(part if part.strip() else "_" for part in path.split("."))
    if len(path) > MAX_NAME_LENGTH:
        path = path[:MAX_NAME_LENGTH]
    if path in _RESERVED or path.startswith(_RESERVED_PREFIXES):
        return f"{APPLICATION_PREFIX}.{path}"
    return path


def is_writable(name: str) -> bool:
    """Whether a field may have that name when it is not the pipeline itself that sets it."""
    return _permitted_name(name) == name
