"""A JSON object as one flat set of names and values, of which none is lost. Pure.

Nested and dotted spellings come to the same name; the fields of objects in a list become lists, as Elasticsearch would
take them; OpenTelemetry's lists of key and value become objects. A name that comes twice goes under `app.` the second
time; what is too deep, or over the limit of fields, is kept as JSON; a number that 64 bits cannot hold becomes text.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from pipeline.contract.ecs import APPLICATION_PREFIX, FIELDS

MAX_DEPTH = 20
OVERFLOW = "app.overflow"
SCALARS = frozenset((str, int, float, bool, type(None)))
BACKSLASH = 0x5C  # bytes look for a number much faster than for bytes
_LONG_NUMBER = re.compile(rb"\d{16}|\d\.\d{15}")
_LIMIT_EXEMPT = frozenset(FIELDS) | {"msg", "level", "time", "ts", "timestamp", "severity"}  # over any limit


class Pairs:
    """A JSON object with every pair of it, also those whose key comes twice."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = [(key, _ExactList(value) if isinstance(value, list) else value) for key, value in pairs]

    def items(self) -> list[tuple[str, Any]]:
        """As a dict's."""
        return self.pairs


class _ExactList(list[Any]):
    """A list read exactly."""


Object = dict[str, Any] | Pairs


def flatten(content: bytes, body: dict[str, Any], limit: int) -> dict[str, Any]:
    """The flat fields of `body`, which was read from `content`: at most about `limit`, the rest as JSON.

    Raises RecursionError for hundreds of levels.
    """
    found = _Flattener(limit)
    found.add_all(body)
    # Each key and each text is one literal: were there more, a key came twice, and only the last was read.
    exact = found.inexact or (found.has_floats and _LONG_NUMBER.search(content))
    if exact or count_literals(content) != found.literals:
        found = _Flattener(limit)
        found.add_all(_parse_exactly(content, body))
    if found.overflow:
        found.fields[OVERFLOW] = _to_json(found.overflow)
    return found.fields


def count_literals(content: bytes) -> int:
    """How many text literals valid JSON has, keys included: pairs of quotes that no backslash takes away."""
    quotes = content.count(b'"')
    if BACKSLASH in content:
        plain = content.replace(b"\\\\", b"")
        quotes -= plain.count(b'\\"')
    return quotes // 2


class _Flattener:
    """The flat fields in the making."""

    __slots__ = ("fields", "has_floats", "inexact", "limit", "literals", "overflow")

    def __init__(self, limit: int) -> None:
        self.fields: dict[str, Any] = {}
        self.overflow: dict[str, Any] = {}
        self.literals = 0
        self.limit = limit
        self.inexact = False  # a part was kept as JSON, in which a key may have come twice
        self.has_floats = False  # a number that may have had more digits than a double holds

    def add_all(self, body: Object) -> None:
        """Every pair of the outermost object."""
        pairs = body.items()
        self.literals += len(pairs)
        for key, value in pairs:
            self._add(key, value, 1)

    def _add(self, path: str, value: Any, depth: int) -> None:
        if isinstance(value, str):
            self.literals += 1
            self._put(path, value)
        elif isinstance(value, dict | Pairs):
            self._add_object(path, value, depth)
        elif isinstance(value, list):
            self._add_list(path, value, depth)
        else:
            if isinstance(value, float):
                self.has_floats = True
            self._put(path, value if type(value) is not int or -(2**63) <= value < 2**63 else str(value))

    def _add_object(self, path: str, value: Object, depth: int) -> None:
        pairs = value.items()
        self.literals += len(pairs)
        if not pairs:
            self._put(path, None)
        elif depth >= MAX_DEPTH:
            self._put(path, _to_json(value))
            self.inexact = self.inexact or isinstance(value, dict)
        else:
            for key, inner in pairs:
                self._add(f"{path}.{key}", inner, depth + 1)

    def _add_list(self, path: str, values: list[Any], depth: int) -> None:
        plain = [value for value in values if not isinstance(value, dict | Pairs | list)]
        if len(plain) == len(values):
            self._put(path, self._convert_scalars(plain))
        elif depth >= MAX_DEPTH or any(isinstance(value, list) for value in values):
            self._put(path, _to_json(values))
            self.inexact = self.inexact or not isinstance(values, _ExactList)
        elif (attributes := _otel_attributes(values)) is not None:
            self.literals += 3 * len(values)  # key, value and the name of its type
            for name, value in attributes:
                self.literals += 1  # the name is a text of its own
                self._add(f"{path}.{name}", value, depth + 1)
        else:
            self._add_objects(path, values, plain, depth)

    def _convert_scalars(self, values: list[Any]) -> list[Any]:
        self.literals += sum(isinstance(value, str) for value in values)
        if any(isinstance(value, float) for value in values):
            self.has_floats = True
            # Elasticsearch refuses a new field that begins with a whole number and goes on with a fraction.
            return [float(value) if type(value) is int else value for value in values]
        return [str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value for value in values]

    def _add_objects(self, path: str, values: list[Any], plain: list[Any], depth: int) -> None:
        gathered: dict[str, list[Any]] = {}
        inner = _Flattener(self.limit)
        for value in values:
            if isinstance(value, dict | Pairs):
                inner._add_object(path, value, depth + 1)
                for name, found in inner.fields.items():
                    gathered.setdefault(name, []).extend(found if isinstance(found, list) else [found])
                inner.fields = {}
        self.literals += inner.literals
        self.inexact = self.inexact or inner.inexact
        self.has_floats = self.has_floats or inner.has_floats
        self.overflow.update(inner.overflow)
        if plain:
            self._put(path, self._convert_scalars(plain))
        for name, found in gathered.items():
            self._put(name, found)

    def _put(self, name: str, value: Any) -> None:
        """Under its name, or aside where that is taken; beyond the limit into what overflows."""
        taken = self.fields
        if len(taken) >= self.limit and name not in taken and name not in _LIMIT_EXEMPT:
            _append(self.overflow, name, value)
        elif name not in taken:
            taken[name] = value
        else:
            _append(taken, name if name.startswith("app.") else f"{APPLICATION_PREFIX}.{name}", value)


def _append(into: dict[str, Any], name: str, value: Any) -> None:
    before = into.get(name, into)
    if before is into:
        into[name] = value
    else:
        into[name] = [*(before if isinstance(before, list) else [before]), value]


def _otel_attributes(values: list[Any]) -> list[tuple[str, Any]] | None:
    """OpenTelemetry's attributes as pairs: `[{"key": "a", "value": {"stringValue": "b"}}]`; None for another list."""
    found = []
    for entry in values:
        pairs = dict(entry.items()) if isinstance(entry, dict | Pairs) and len(entry.items()) == 2 else {}
        value = pairs.get("value")
        inner = value.items() if isinstance(value, dict | Pairs) else ()
        if not isinstance(pairs.get("key"), str) or len(inner) != 1:
            return None
        ((kind, scalar),) = inner
        if kind not in {"stringValue", "intValue", "boolValue", "doubleValue"}:
            return None
        found.append((pairs["key"], scalar))
    return found


def _parse_exactly(content: bytes, body: dict[str, Any]) -> Object:
    """The object again, by a slower reader that keeps every pair and digit."""
    try:
        read = json.loads(content, object_pairs_hook=Pairs, parse_int=_parse_integer, parse_float=_parse_float)
    except (ValueError, RecursionError):
        return body
    return read if isinstance(read, Pairs) else body


def _parse_integer(digits: str) -> int | str:
    if len(digits) > 20:
        return digits
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else digits


def _parse_float(digits: str) -> float | str:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        return digits
    return number if len(digits) < 16 or Decimal(repr(number)) == Decimal(digits) else digits


def _to_json(value: Any) -> str:
    """As JSON text, keys that come twice included."""
    return "".join(_json_tokens(value))


def _json_tokens(value: Any) -> Iterator[str]:
    if isinstance(value, dict | Pairs):
        yield "{"
        for number, (key, inner) in enumerate(value.items()):
            yield ("," if number else "") + orjson.dumps(key).decode() + ":"
            yield from _json_tokens(inner)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from _json_tokens(inner)
        yield "]"
    else:
        yield orjson.dumps(value).decode()
