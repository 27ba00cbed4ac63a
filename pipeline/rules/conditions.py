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
from pipeline.rules.yaml_source import Faults, mapping, near, scalar, sequence, words

Test = Callable[[Any], bool]
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
_SILENT = re2.Options()
_SILENT.log_errors = False

OPERATORS = ("is", "not", "matches", "contains", "starts_with", "ends_with")
EXPECTED = f"a value, a list of values, or a mapping of {', '.join(OPERATORS)}"


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one field, by the document's name."""

    name: str
    test: Test


def read(name: str, node: yaml.Node, faults: Faults) -> Condition:
    """The condition that a node says on a field."""
    return Condition(name, _value(name, node, faults))


def pattern(node: yaml.Node, text: str, faults: Faults) -> Any:
    """A compiled pattern of RE2, or None with a fault."""
    try:
        return re2.compile(text, _SILENT)
    except re2.error as fault:
        reason = fault.args[0] if fault.args else ""
        faults.at(node, f"not a pattern of RE2: {reason.decode() if isinstance(reason, bytes) else reason}")
        return None


def _several(test: Test) -> Test:
    def any_of(value: Any) -> bool:
        return any(map(test, value)) if isinstance(value, list) else test(value)

    return any_of


def _value(name: str, node: yaml.Node, faults: Faults) -> Test:
    if isinstance(node, yaml.SequenceNode):
        return _any([_value(name, inner, faults) for inner in node.value], node, faults)
    if isinstance(node, yaml.MappingNode):
        return _operators(name, node, faults)
    return _several(_scalar(name, node, faults))


def _scalar(name: str, node: yaml.Node, faults: Faults) -> Test:
    value = scalar(node, faults, EXPECTED)
    if not isinstance(value, str):
        return _literal(name, node, faults)
    for known in (_pattern, _range, _comparison, _glob):
        test = known(name, node, value, faults)
        if test is not None:
            return test
    return _literal(name, node, faults)


def _any(tests: list[Test], node: yaml.Node, faults: Faults) -> Test:
    if not tests:
        faults.at(node, "expected at least one value, found an empty list")
    return lambda value: any(test(value) for test in tests)


def _pattern(name: str, node: yaml.Node, text: str, faults: Faults) -> Test | None:
    if len(text) < 3 or text[0] != "/" or text[-1] != "/":
        return None
    if name in field_names.PATHS:
        faults.at(node, f"{text} may be a path or a pattern here: write {{is: {text}}} or {{matches: ...}}")
        return None
    return _matching(node, text[1:-1], faults)


def _matching(node: yaml.Node, text: str, faults: Faults) -> Test:
    """A pattern; what is none but a text is looked for at a tenth of the cost."""
    if re2.escape(text) == text:
        return _text_test("contains", text)
    return _found(pattern(node, text, faults))


def _found(compiled: Any) -> Test:
    if compiled is None:
        return lambda _: False
    search = compiled.search
    return lambda value: value is not None and search(as_text(value)) is not None


def _range(_: str, node: yaml.Node, text: str, faults: Faults) -> Test | None:
    match = _RANGE.fullmatch(text)
    if match is None:
        return None
    low, high = float(match[1]), float(match[2])
    if low > high:
        faults.at(node, f"{text} holds no number: the first is the larger one")

    def within(value: Any) -> bool:
        number = as_number(value)
        return number is not None and low <= number <= high

    return within


def _comparison(name: str, node: yaml.Node, text: str, faults: Faults) -> Test | None:
    match = _COMPARISON.fullmatch(text)
    if match is None:
        return None
    compare = _COMPARE[match[1]]
    if name == "log.level":
        limit = _ORDER.get(_level(node, match[2], faults), 0)
        return lambda value: value in LEVELS and compare(_ORDER[value], limit)
    bound = as_number(match[2])
    if bound is None:
        faults.at(
            node, f'expected a number behind {match[1]}, found "{match[2]}" (only log.level has an order of words)'
        )
        return None

    def compared(value: Any) -> bool:
        number = as_number(value)
        return number is not None and compare(number, bound)

    return compared


def _glob(_: str, __: yaml.Node, text: str, ___: Faults) -> Test | None:
    if "*" not in text:
        return None
    if text.count("*") == 1 and text[0] == "*":
        return _text_test("ends_with", text[1:])
    if text.count("*") == 1 and text[-1] == "*":
        return _text_test("starts_with", text[:-1])
    return _found(re2.compile(glob(text), _SILENT))


def glob(text: str) -> str:
    """A text with `*` for anything as a pattern of the whole."""
    return "(?s)^" + ".*".join(re2.escape(part) for part in text.split("*")) + "$"


def _literal(name: str, node: yaml.Node, faults: Faults) -> Test:
    value = scalar(node, faults, EXPECTED)
    if value is None:
        return lambda found: found is None
    if isinstance(value, bool):
        text = as_text(value)
    else:
        text = _level(node, str(node.value), faults) if name == "log.level" else str(node.value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return lambda found: found is not None and (as_text(found) == text or as_number(found) == value)
    return lambda found: found is not None and (found == text or as_text(found) == text)


def _level(node: yaml.Node, text: str, faults: Faults) -> str:
    name = level.normal(text)
    if name is None:
        faults.at(node, f'"{text}" is no level{near(text, LEVELS)}: expected one of {", ".join(LEVELS)}')
    return name or text


def _operators(name: str, node: yaml.MappingNode, faults: Faults) -> Test:
    """Every operator of the mapping holds."""
    tests: list[Test] = []
    for key, value in mapping(node, faults, EXPECTED).values():
        if key.value == "not":
            tests.append(_negated(_value(name, value, faults)))
        elif key.value in _TEXT_TESTS or key.value in ("is", "matches"):
            ones = [_several(_operator(key.value, name, one, faults)) for one in sequence(value)]
            tests.append(_any(ones, value, faults))
        else:
            faults.at(key, f'unknown operator "{key.value}"{near(key.value, OPERATORS)}: expected {EXPECTED}')
    if not node.value:
        faults.at(node, f"expected {EXPECTED}, found an empty mapping")
    return lambda value: all(test(value) for test in tests)


def _negated(test: Test) -> Test:
    return lambda value: not test(value)


def _operator(operator: str, name: str, node: yaml.Node, faults: Faults) -> Test:
    if operator == "is":
        return _literal(name, node, faults)
    text = words(node, faults, f"a text for {operator}")
    return _matching(node, text, faults) if operator == "matches" else _text_test(operator, text)


def _text_test(operator: str, text: str) -> Test:
    test = _TEXT_TESTS[operator]
    return lambda value: value is not None and test(as_text(value), text)


_TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
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
