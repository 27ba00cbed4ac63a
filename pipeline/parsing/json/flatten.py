"""Flattening of a JSON object to dotted names, without losing a value. Pure.

Nested and dotted spellings get the same name; fields of objects in a list become lists, as Elasticsearch indexes them;
OpenTelemetry's lists of key and value become objects. The second value of a name goes under `app.`; values too deep or
over the field limit are kept as JSON; a number that does not fit into 64 bits becomes text.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import orjson

from pipeline.contract.ecs import APPLICATION_PREFIX, FIELDS
from pipeline.contract.json_types import JsonObject
from pipeline.parsing.json.exact_list import ExactList

MAX_DEPTH = 20
"""Levels of objects and lists that become fields."""
MAX_JSON_DEPTH = 300
"""Levels that are kept as JSON: no log entry has more, and each costs a frame of the stack."""
OVERFLOW = "app.overflow"
SCALARS = frozenset((str, int, float, bool, type(None)))
BACKSLASH = 0x5C  # `in` is much faster for a number than for bytes
_LONG_NUMBER = re.compile(rb"\d{16}|\d\.\d{15}")
_LIMIT_EXEMPT = frozenset(FIELDS) | {"msg", "level", "time", "ts", "timestamp", "severity"}


class Pairs:
    """A JSON object with all its pairs, duplicate keys included."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = [(key, ExactList(value) if isinstance(value, list) else value) for key, value in pairs]

    def items(self) -> list[tuple[str, Any]]:
        """Return all pairs, as `dict.items` does."""
        return self.pairs


Object = JsonObject | Pairs


def flatten(content: bytes, body: JsonObject, limit: int) -> JsonObject:
    """Return the flat fields of `body`, which was parsed from `content`: at most about `limit`, the rest as JSON.

    Raises RecursionError for more than MAX_JSON_DEPTH levels.
    """
    flattener = _Flattener(limit)
    flattener.add_all(body)
    # Each key and each text is one literal: more literals mean a duplicate key, of which only the last was parsed.
    exact = flattener.inexact or (flattener.has_floats and _LONG_NUMBER.search(content))
    if exact or count_literals(content) != flattener.literals:
        flattener = _Flattener(limit)
        flattener.add_all(_parse_exactly(content, body))
    if flattener.overflow:
        flattener.fields[OVERFLOW] = _to_json(flattener.overflow)
    return flattener.fields


def count_literals(content: bytes) -> int:
    """Count the string literals of valid JSON, keys included: pairs of quotes that no backslash escapes."""
    quotes = content.count(b'"')
    if BACKSLASH in content:
        plain = content.replace(b"\\\\", b"")
        quotes -= plain.count(b'\\"')
    return quotes // 2


class _Flattener:
    """Collects the flat fields of one object."""

    __slots__ = ("fields", "has_floats", "inexact", "limit", "literals", "overflow")

    def __init__(self, limit: int) -> None:
        self.fields: JsonObject = {}
        self.overflow: JsonObject = {}
        self.literals = 0
        self.limit = limit
        self.inexact = False  # a part was kept as JSON, which may have had duplicate keys
        self.has_floats = False  # at least one number, which may have had more digits than a double holds

    def add_all(self, body: Object) -> None:
        """Add every pair of the outermost object."""
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
            self.inexact = self.inexact or not isinstance(values, ExactList)
        elif (attributes := _otel_attributes(values)) is not None:
            self.literals += 3 * len(values)  # key, value and the name of its type
            for name, value in attributes:
                self.literals += 1  # the name is a literal too
                self._add(f"{path}.{name}", value, depth + 1)
        else:
            self._add_objects(path, values, plain, depth)

    def _convert_scalars(self, values: list[Any]) -> list[Any]:
        self.literals += sum(isinstance(value, str) for value in values)
        if any(isinstance(value, float) for value in values):
            self.has_floats = True
            # Elasticsearch rejects a new field whose first value is an integer and a later one a fraction.
            return [float(value) if type(value) is int else value for value in values]
        return [str(value) if type(value) is int and not -(2**63) <= value < 2**63 else value for value in values]

    def _add_objects(self, path: str, values: list[Any], plain: list[Any], depth: int) -> None:
        gathered: dict[str, list[Any]] = {}
        inner = _Flattener(self.limit)
        for value in values:
            if isinstance(value, dict | Pairs):
                inner._add_object(path, value, depth + 1)
                for name, item in inner.fields.items():
                    gathered.setdefault(name, []).extend(item if isinstance(item, list) else [item])
                inner.fields = {}
        self.literals += inner.literals
        self.inexact = self.inexact or inner.inexact
        self.has_floats = self.has_floats or inner.has_floats
        self.overflow.update(inner.overflow)
        if plain:
            self._put(path, self._convert_scalars(plain))
        for name, items in gathered.items():
            self._put(name, items)

    def _put(self, name: str, value: Any) -> None:
        """Add a field under its name, or under `app.` if the name is used; beyond the limit to the overflow."""
        fields = self.fields
        if len(fields) >= self.limit and name not in fields and name not in _LIMIT_EXEMPT:
            append_value(self.overflow, name, value)
        elif name not in fields:
            fields[name] = value
        else:
            append_value(fields, name if name.startswith("app.") else f"{APPLICATION_PREFIX}.{name}", value)


def append_value(fields: JsonObject, name: str, value: Any) -> None:
    """Set a field, or add the value to those that it has: one more entry of a list, which is changed in place."""
    previous = fields.get(name, fields)
    if previous is fields:
        fields[name] = value
    elif isinstance(previous, list):
        previous.append(value)  # a copy for each of a hundred thousand equal keys would take minutes
    else:
        fields[name] = [previous, value]


def _otel_attributes(values: list[Any]) -> list[tuple[str, Any]] | None:
    """Return OpenTelemetry's attributes, `[{"key": "a", "value": {"stringValue": "b"}}]`; None for any other list."""
    pairs = []
    for entry in values:
        entry_pairs = dict(entry.items()) if isinstance(entry, dict | Pairs) and len(entry.items()) == 2 else {}
        value = entry_pairs.get("value")
        inner = value.items() if isinstance(value, dict | Pairs) else ()
        if not isinstance(entry_pairs.get("key"), str) or len(inner) != 1:
            return None
        ((kind, scalar),) = inner
        if kind not in {"stringValue", "intValue", "boolValue", "doubleValue"}:
            return None
        pairs.append((entry_pairs["key"], scalar))
    return pairs


def _parse_exactly(content: bytes, body: JsonObject) -> Object:
    """Parse the object again with a slower parser that keeps every pair and digit."""
    try:
        parsed = json.loads(content, object_pairs_hook=Pairs, parse_int=_parse_integer, parse_float=_parse_float)
    except (ValueError, RecursionError):
        return body
    return parsed if isinstance(parsed, Pairs) else body


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
    """Serialise to JSON, duplicate keys included."""
    return "".join(_json_tokens(value, 0))


def _json_tokens(value: Any, depth: int) -> Iterator[str]:
    if depth > MAX_JSON_DEPTH:
        raise RecursionError
    if isinstance(value, dict | Pairs):
        yield "{"
        for number, (key, inner) in enumerate(value.items()):
            yield ("," if number else "") + orjson.dumps(key).decode() + ":"
            yield from _json_tokens(inner, depth + 1)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, inner in enumerate(value):
            yield "," if number else ""
            yield from _json_tokens(inner, depth + 1)
        yield "]"
    else:
        yield orjson.dumps(value).decode()
