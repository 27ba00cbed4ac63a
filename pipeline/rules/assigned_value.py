"""Parser of the values that an action assigns: each must be of its field's type. Pure."""

import math
import re
from collections.abc import Callable, Container
from typing import Any

import yaml

from pipeline.contract.ecs import FIELDS
from pipeline.parsing import level
from pipeline.parsing.field_values import parse_ip
from pipeline.rules import actions, field_names
from pipeline.rules.yaml_source import Diagnostics, Scalar, describe, scalar, suggestion

_BARE = re.compile(r"\$([a-z][\w.]*)", re.ASCII)
_UNCLOSED = re.compile(r"\$\{(?![^{}]+\})[^}]{0,20}\}?")


def parse_field_value(name: str, node: yaml.Node, diagnostics: Diagnostics, mentioned: Container[str] = ()) -> Any:
    """Return a value of the field's type, or a list of such values; `mentioned`: fields known from other rules."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar_value(name, inner, diagnostics, mentioned) for inner in node.value]
    return _scalar_value(name, node, diagnostics, mentioned)


def _scalar_value(name: str, node: yaml.Node, diagnostics: Diagnostics, mentioned: Container[str]) -> Scalar:
    """Return a value of the field's type; one with placeholders is checked only for those."""
    value = scalar(node, diagnostics, "a value")
    has_placeholders = "${" in str(value)
    if isinstance(value, str):
        _check_placeholders(value, node, diagnostics, mentioned)
    kind = FIELDS[name].type if name in FIELDS else ""
    if value is None and isinstance(node, yaml.ScalarNode):
        diagnostics.add(node, "expected a value, got nothing (the action remove deletes fields)")
    if kind in _TYPE_CHECKS and not has_placeholders:
        expected, is_valid = _TYPE_CHECKS[kind]
        if not is_valid(value, str(node.value)):
            diagnostics.add(node, f'"{name}" needs {expected}, got {describe(node)}')
    if (kind in _TEXT_TYPES or name.startswith("labels.")) and value is not None:
        value = str(node.value)
    if name == "log.level" and not has_placeholders:
        value = level.normalize(value) or value
        if value not in level.LEVELS:
            diagnostics.add(node, f"{describe(node)} is not a level{suggestion(str(value), level.LEVELS)}")
    if isinstance(value, float) and not math.isfinite(value):
        diagnostics.add(node, f"expected a value, got {describe(node)}")
    return value


_TYPE_CHECKS: dict[str, tuple[str, Callable[[Scalar, str], bool]]] = {
    "long": ("an integer", lambda value, _: isinstance(value, int) and not isinstance(value, bool)),
    "ip": ("an IP address", lambda _, text: bool(parse_ip(text))),
}
"""By a field's type: what it needs, and whether a value, also given as it is written, is that."""
_TEXT_TYPES = frozenset({"keyword", "match_only_text", "wildcard", "text", "ip"})


def _check_placeholders(text: str, node: yaml.Node, diagnostics: Diagnostics, mentioned: Container[str]) -> None:
    for placeholder in actions.placeholders(text):
        name = field_names.full_name(placeholder)
        problem = field_names.why_not_conditionable(name)
        if problem:
            diagnostics.add(node, f"${{{placeholder}}}: {problem}{suggestion(name, field_names.conditionable_names())}")
        elif not field_names.is_known(name) and placeholder not in mentioned and name not in mentioned:
            meant = field_names.likely_typo_of(placeholder)
            diagnostics.add(
                node,
                f"${{{placeholder}}} is not a field of crisp{f' (did you mean {meant}?)' if meant else ''}:"
                " where the application does not log it, nothing is set",
                warning=True,
            )
    for bare in _BARE.findall(text):
        if field_names.is_known(field_names.full_name(bare)):
            diagnostics.add(node, f"${bare} is used as it is: the placeholder is ${{{bare}}}", warning=True)
    for rest in _UNCLOSED.findall(text):
        diagnostics.add(node, f'"{rest}" is not a placeholder: expected ${{name}}')
