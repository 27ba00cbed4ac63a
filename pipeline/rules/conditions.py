"""Conditions of rules: one field and a predicate on its value. Pure.

A value matches: a scalar with the same text (503 matches "503") · a text with `*` as in file names · `/…/`, an RE2
pattern anywhere in the value · `200..299`, both ends included · `>=500`, `>=warn` · null, for an absent field · a list,
if any entry matches · a mapping of operators, if all match. A field with several values matches if one of them does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2
import yaml

from pipeline.contract.ecs import FIELDS
from pipeline.parsing import level
from pipeline.parsing.field_values import parse_ip
from pipeline.rules import field_names
from pipeline.rules.yaml_source import (
    Diagnostics,
    Scalar,
    check_no_placeholder,
    mapping,
    scalar,
    sequence,
    suggestion,
    text_of,
)

Predicate = Callable[[Any], bool]
"""Returns whether a field's value matches; an absent field's value is None."""

_ORDER = {name: number for number, name in enumerate(level.LEVELS)}
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)", re.ASCII)
_COMPARISON = re.compile(r"(>=|<=|>|<)\s*(\S.*)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
_NUMBERS = frozenset({"long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float"})
_HUNDREDS = re.compile(r"([1-9])[xX]{2}")  # of a status, as monitoring systems write it
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False

OPERATORS = ("is", "not", "matches", "contains", "starts_with", "ends_with")
EXPECTED = f"a value, a list of values, or a mapping of {', '.join(OPERATORS)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A predicate on one field, by its full name."""

    name: str
    predicate: Predicate


def parse(name: str, node: yaml.Node, diagnostics: Diagnostics) -> Condition:
    """Parse the condition on a field."""
    return Condition(name, _parse_value(name, node, diagnostics))


def compile_pattern(node: yaml.Node, text: str, diagnostics: Diagnostics) -> Any:
    """Compile an RE2 pattern; None, with a diagnostic, for an invalid one."""
    try:
        return re2.compile(text, _RE2_OPTIONS)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        diagnostics.add(node, f"not a valid RE2 pattern: {reason.decode() if isinstance(reason, bytes) else reason}")
        return None


def _any_item(predicate: Predicate) -> Predicate:
    def any_of(value: Any) -> bool:
        return any(map(predicate, value)) if isinstance(value, list) else predicate(value)

    return any_of


def _parse_value(name: str, node: yaml.Node, diagnostics: Diagnostics) -> Predicate:
    if isinstance(node, yaml.SequenceNode):
        return _any_of([_parse_value(name, inner, diagnostics) for inner in node.value], node, diagnostics)
    if isinstance(node, yaml.MappingNode):
        return _parse_operators(name, node, diagnostics)
    return _any_item(_parse_scalar(name, node, diagnostics))


def _parse_scalar(name: str, node: yaml.Node, diagnostics: Diagnostics) -> Predicate:
    value = scalar(node, diagnostics, EXPECTED)
    if not isinstance(value, str):
        return _parse_literal(name, node, diagnostics)
    for parse_notation in (_parse_pattern, _parse_range, _parse_comparison, _parse_glob):
        predicate = parse_notation(name, node, value, diagnostics)
        if predicate is not None:
            return predicate
    return _parse_literal(name, node, diagnostics)


def _any_of(predicates: list[Predicate], node: yaml.Node, diagnostics: Diagnostics) -> Predicate:
    if not predicates:
        diagnostics.add(node, "expected at least one value, got an empty list")
    return lambda value: any(predicate(value) for predicate in predicates)


def _parse_pattern(name: str, node: yaml.Node, text: str, diagnostics: Diagnostics) -> Predicate | None:
    if len(text) < 3 or text[0] != "/" or text[-1] != "/":
        return None
    if name in field_names.PATH_VALUED_FIELDS:
        diagnostics.add(node, f"{text} may be a path or a pattern: write {{is: {text}}} or {{matches: ...}}")
        return None
    return _pattern_predicate(node, text[1:-1], diagnostics)


def _pattern_predicate(node: yaml.Node, text: str, diagnostics: Diagnostics) -> Predicate:
    """Search for a pattern; for one without special characters a text search costs a tenth."""
    if re2.escape(text) == text:
        return _text_predicate("contains", text)
    return _search_predicate(compile_pattern(node, text, diagnostics))


def _search_predicate(compiled: Any) -> Predicate:
    if compiled is None:
        return lambda _: False
    search = compiled.search
    return lambda value: value is not None and search(as_text(value)) is not None


def _parse_range(_: str, node: yaml.Node, text: str, diagnostics: Diagnostics) -> Predicate | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    low, high = float(match[1]), float(match[2])
    if low > high:
        diagnostics.add(node, f"{text} is an empty range: the first number is larger")

    def within(value: Any) -> bool:
        number = as_number(value)
        return number is not None and low <= number <= high

    return within


def _parse_comparison(name: str, node: yaml.Node, text: str, diagnostics: Diagnostics) -> Predicate | None:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        return None
    compare = _COMPARE[match[1]]
    if name == "log.level":
        limit = _ORDER.get(_parse_level(node, match[2], diagnostics), 0)
        return lambda value: value in level.LEVELS and compare(_ORDER[value], limit)
    bound = as_number(match[2])
    if bound is None:
        diagnostics.add(
            node, f'expected a number after {match[1]}, got "{match[2]}" (words are ordered for log.level only)'
        )
        return None

    def compared(value: Any) -> bool:
        number = as_number(value)
        return number is not None and compare(number, bound)

    return compared


def _parse_glob(_: str, __: yaml.Node, text: str, ___: Diagnostics) -> Predicate | None:
    if "*" not in text:
        return None
    if text.count("*") == 1 and text[0] == "*":
        return _text_predicate("ends_with", text[1:])
    if text.count("*") == 1 and text[-1] == "*":
        return _text_predicate("starts_with", text[:-1])
    return _search_predicate(re2.compile(glob_to_pattern(text), _RE2_OPTIONS))


def glob_to_pattern(text: str) -> str:
    """Return a pattern of the whole value for a text in which `*` matches anything."""
    return "(?s)^" + ".*".join(re2.escape(part) for part in text.split("*")) + "$"


def _parse_literal(name: str, node: yaml.Node, diagnostics: Diagnostics) -> Predicate:
    value = scalar(node, diagnostics, EXPECTED)
    if value is None:
        return lambda actual: actual is None
    _check_type(name, node, value, diagnostics)
    check_no_placeholder(node, str(node.value), diagnostics, warning=True)
    if isinstance(value, bool):
        text = as_text(value)
    else:
        text = _parse_level(node, str(node.value), diagnostics) if name == "log.level" else str(node.value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return lambda actual: actual is not None and (as_text(actual) == text or as_number(actual) == value)
    return lambda actual: actual is not None and (actual == text or as_text(actual) == text)


def _check_type(name: str, node: yaml.Node, value: Scalar, diagnostics: Diagnostics) -> None:
    """Reject a value that a field of this type never has."""
    kind = FIELDS[name].type if name in FIELDS else ""
    text = str(node.value)
    if kind in _NUMBERS and (isinstance(value, bool) or as_number(value) is None):
        hundreds = _HUNDREDS.fullmatch(text)
        meant = f": write {hundreds[1]}00..{hundreds[1]}99" if hundreds else ""
        diagnostics.add(node, f'"{name}" is a number, and never "{text}"{meant}')
    elif not kind and _HUNDREDS.fullmatch(text) and name.rpartition(".")[2].lower().endswith(("status", "code")):
        message = f'"{text}" matches this text only: for a number write {text[0]}00..{text[0]}99'
        diagnostics.add(node, message, warning=True)
    elif name == "log.iostream" and text not in ("stdout", "stderr"):
        diagnostics.add(node, f'"{name}" is stdout or stderr, and never "{text}"')
    elif kind == "boolean" and text not in ("true", "false"):
        diagnostics.add(node, f'"{name}" is true or false, and never "{text}"')
    elif kind == "ip" and not parse_ip(text):
        diagnostics.add(node, f'"{name}" is an IP address, and never "{text}"')


def _parse_level(node: yaml.Node, text: str, diagnostics: Diagnostics) -> str:
    name = level.normalize(text)
    if name is None:
        known = ", ".join(level.LEVELS)
        diagnostics.add(node, f'"{text}" is not a level{suggestion(text, level.LEVELS)}: expected one of {known}')
    return name or text


def _parse_operators(name: str, node: yaml.MappingNode, diagnostics: Diagnostics) -> Predicate:
    """Match if every operator of the mapping does."""
    predicates: list[Predicate] = []
    for key, value in mapping(node, diagnostics, EXPECTED).values():
        if key.value == "not":
            predicates.append(_negate(_parse_value(name, value, diagnostics)))
        elif key.value in _TEXT_OPERATORS or key.value in ("is", "matches"):
            alternatives = [
                _any_item(_parse_operator(key.value, name, entry, diagnostics)) for entry in sequence(value)
            ]
            predicates.append(_any_of(alternatives, value, diagnostics))
        else:
            diagnostics.add(
                key, f'unknown operator "{key.value}"{suggestion(key.value, OPERATORS)}: expected {EXPECTED}'
            )
    if not node.value:
        diagnostics.add(node, f"expected {EXPECTED}, got an empty mapping")
    return lambda value: all(predicate(value) for predicate in predicates)


def _negate(predicate: Predicate) -> Predicate:
    return lambda value: not predicate(value)


def _parse_operator(operator: str, name: str, node: yaml.Node, diagnostics: Diagnostics) -> Predicate:
    if operator == "is":
        return _parse_literal(name, node, diagnostics)
    text = text_of(node, diagnostics, f"a text for {operator}")
    return _pattern_predicate(node, text, diagnostics) if operator == "matches" else _text_predicate(operator, text)


def _text_predicate(operator: str, text: str) -> Predicate:
    operation = _TEXT_OPERATORS[operator]
    return lambda value: value is not None and operation(as_text(value), text)


_TEXT_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, text: text in value,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}


def as_text(value: Any) -> str:
    """Return a field's value as text, booleans as `true` and `false`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_number(value: Any) -> float | int | None:
    """Return a field's value as a number; None for any other value."""
    if isinstance(value, str):
        try:
            return float(value) if len(value) <= 40 and value[-1:].isdigit() else None
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
