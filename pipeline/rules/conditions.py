"""Conditions of rules: one field and a test of its value. Pure.

A value is met by: a scalar that reads the same (503 meets "503") · a text with `*` as in file names · `/…/`, a pattern
of RE2 that is found anywhere · `200..299`, both ends included · `>=500`, `>=warn` · null, for an absent field · a list,
any of it · a mapping of operators, all of them. A field that has several values meets a test if one of them does.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2
import yaml

from pipeline.parsing import level
from pipeline.rules import field_names
from pipeline.rules.yaml_source import Diagnostics, mapping, scalar, sequence, suggestion, text_of

Predicate = Callable[[Any], bool]
"""Whether a field's value is met; an absent field's value is None."""

LEVELS = ("trace", "debug", "info", "notice", "warn", "error", "critical", "fatal")
_ORDER = {name: number for number, name in enumerate(LEVELS)}
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?)\.\.(-?\d+(?:\.\d+)?)", re.ASCII)
_COMPARISON = re.compile(r"(>=|<=|>|<)\s*(\S.*)")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, limit: value >= limit,
    "<=": lambda value, limit: value <= limit,
    ">": lambda value, limit: value > limit,
    "<": lambda value, limit: value < limit,
}
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False

OPERATORS = ("is", "not", "matches", "contains", "starts_with", "ends_with")
EXPECTED = f"a value, a list of values, or a mapping of {', '.join(OPERATORS)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one field, by the document's name."""

    name: str
    predicate: Predicate


def parse(name: str, node: yaml.Node, faults: Diagnostics) -> Condition:
    """The condition that a node says on a field."""
    return Condition(name, _parse_value(name, node, faults))


def compile_pattern(node: yaml.Node, text: str, faults: Diagnostics) -> Any:
    """A compiled pattern of RE2, or None with a fault."""
    try:
        return re2.compile(text, _RE2_OPTIONS)
    except re2.error as fault:
        reason = fault.args[0] if fault.args else ""
        faults.add(node, f"not a pattern of RE2: {reason.decode() if isinstance(reason, bytes) else reason}")
        return None


def _any_item(test: Predicate) -> Predicate:
    def any_of(value: Any) -> bool:
        return any(map(test, value)) if isinstance(value, list) else test(value)

    return any_of


def _parse_value(name: str, node: yaml.Node, faults: Diagnostics) -> Predicate:
    if isinstance(node, yaml.SequenceNode):
        return _any_of([_parse_value(name, inner, faults) for inner in node.value], node, faults)
    if isinstance(node, yaml.MappingNode):
        return _parse_operators(name, node, faults)
    return _any_item(_parse_scalar(name, node, faults))


def _parse_scalar(name: str, node: yaml.Node, faults: Diagnostics) -> Predicate:
    value = scalar(node, faults, EXPECTED)
    if not isinstance(value, str):
        return _parse_literal(name, node, faults)
    for known in (_parse_pattern, _parse_range, _parse_comparison, _parse_glob):
        test = known(name, node, value, faults)
        if test is not None:
            return test
    return _parse_literal(name, node, faults)


def _any_of(tests: list[Predicate], node: yaml.Node, faults: Diagnostics) -> Predicate:
    if not tests:
        faults.add(node, "expected at least one value, found an empty list")
    return lambda value: any(test(value) for test in tests)


def _parse_pattern(name: str, node: yaml.Node, text: str, faults: Diagnostics) -> Predicate | None:
    if len(text) < 3 or text[0] != "/" or text[-1] != "/":
        return None
    if name in field_names.PATH_VALUED_FIELDS:
        faults.add(node, f"{text} may be a path or a pattern here: write {{is: {text}}} or {{matches: ...}}")
        return None
    return _pattern_predicate(node, text[1:-1], faults)


def _pattern_predicate(node: yaml.Node, text: str, faults: Diagnostics) -> Predicate:
    """A pattern; what is none but a text is looked for at a tenth of the cost."""
    if re2.escape(text) == text:
        return _text_predicate("contains", text)
    return _search_predicate(compile_pattern(node, text, faults))


def _search_predicate(compiled: Any) -> Predicate:
    if compiled is None:
        return lambda _: False
    search = compiled.search
    return lambda value: value is not None and search(as_text(value)) is not None


def _parse_range(_: str, node: yaml.Node, text: str, faults: Diagnostics) -> Predicate | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    low, high = float(match[1]), float(match[2])
    if low > high:
        faults.add(node, f"{text} holds no number: the first is the larger one")

    def within(value: Any) -> bool:
        number = as_number(value)
        return number is not None and low <= number <= high

    return within


def _parse_comparison(name: str, node: yaml.Node, text: str, faults: Diagnostics) -> Predicate | None:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        return None
    compare = _COMPARE[match[1]]
    if name == "log.level":
        limit = _ORDER.get(_parse_level(node, match[2], faults), 0)
        return lambda value: value in LEVELS and compare(_ORDER[value], limit)
    bound = as_number(match[2])
    if bound is None:
        faults.add(
            node, f'expected a number behind {match[1]}, found "{match[2]}" (only log.level has an order of words)'
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
    """A text with `*` for anything as a pattern of the whole."""
    return "(?s)^" + ".*".join(re2.escape(part) for part in text.split("*")) + "$"


def _parse_literal(name: str, node: yaml.Node, faults: Diagnostics) -> Predicate:
    value = scalar(node, faults, EXPECTED)
    if value is None:
        return lambda found: found is None
    if isinstance(value, bool):
        text = as_text(value)
    else:
        text = _parse_level(node, str(node.value), faults) if name == "log.level" else str(node.value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return lambda found: found is not None and (as_text(found) == text or as_number(found) == value)
    return lambda found: found is not None and (found == text or as_text(found) == text)


def _parse_level(node: yaml.Node, text: str, faults: Diagnostics) -> str:
    name = level.normalize(text)
    if name is None:
        faults.add(node, f'"{text}" is no level{suggestion(text, LEVELS)}: expected one of {", ".join(LEVELS)}')
    return name or text


def _parse_operators(name: str, node: yaml.MappingNode, faults: Diagnostics) -> Predicate:
    """Every operator of the mapping holds."""
    tests: list[Predicate] = []
    for key, value in mapping(node, faults, EXPECTED).values():
        if key.value == "not":
            tests.append(_negate(_parse_value(name, value, faults)))
        elif key.value in _TEXT_OPERATORS or key.value in ("is", "matches"):
            ones = [_any_item(_parse_operator(key.value, name, one, faults)) for one in sequence(value)]
            tests.append(_any_of(ones, value, faults))
        else:
            faults.add(key, f'unknown operator "{key.value}"{suggestion(key.value, OPERATORS)}: expected {EXPECTED}')
    if not node.value:
        faults.add(node, f"expected {EXPECTED}, found an empty mapping")
    return lambda value: all(test(value) for test in tests)


def _negate(test: Predicate) -> Predicate:
    return lambda value: not test(value)


def _parse_operator(operator: str, name: str, node: yaml.Node, faults: Diagnostics) -> Predicate:
    if operator == "is":
        return _parse_literal(name, node, faults)
    text = text_of(node, faults, f"a text for {operator}")
    return _pattern_predicate(node, text, faults) if operator == "matches" else _text_predicate(operator, text)


def _text_predicate(operator: str, text: str) -> Predicate:
    test = _TEXT_OPERATORS[operator]
    return lambda value: value is not None and test(as_text(value), text)


_TEXT_OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda value, text: text in value,
    "starts_with": str.startswith,
    "ends_with": str.endswith,
}


def as_text(value: Any) -> str:
    """A field's value as it reads."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def as_number(value: Any) -> float | int | None:
    """A field's value as a number, None if it is none."""
    if isinstance(value, str):
        try:
            return float(value) if len(value) <= 40 and value[-1:].isdigit() else None
        except ValueError:
            return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
