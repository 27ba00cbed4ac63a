"""Actions as a rules file says them: YAML nodes into `action`s, with every fault. Pure, but for finding the hooks."""

import math
from collections.abc import Callable
from typing import Any

import yaml

from pipeline.contract.ecs import FIELDS
from pipeline.parsing import level
from pipeline.parsing.field_values import parse_ip
from pipeline.rules import actions, conditions, field_names, parse_action
from pipeline.rules.actions import Action
from pipeline.rules.context import RuleContext
from pipeline.rules.redaction import KINDS, Redaction
from pipeline.rules.yaml_source import Diagnostics, Scalar, describe, mapping, scalar, sequence, suggestion, text_of

DigestUpdate = Callable[[bytes], None]


def _check_keys(pairs: dict[str, tuple[yaml.Node, yaml.Node]], known: tuple[str, ...], faults: Diagnostics) -> None:
    for key, _ in pairs.values():
        if key.value not in known:
            faults.add(key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}')


def _expect_true(node: yaml.Node, faults: Diagnostics, done: Action) -> Action:
    if scalar(node, faults, "true") is not True:
        faults.add(node, f"expected true, found {describe(node)}")
    return done


def _drop(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    return _expect_true(node, faults, actions.drop)


def _keep(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    return _expect_true(node, faults, actions.keep)


def _sample(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    rate = scalar(node, faults, "a part between 0 and 1, such as 0.05")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        if isinstance(node, yaml.ScalarNode):
            faults.add(node, f"expected a part between 0 and 1, such as 0.05, found {describe(node)}")
        rate = 0.5
    return actions.sample(float(rate))


def _route(node: yaml.Node, faults: Diagnostics, world: RuleContext, _: DigestUpdate) -> Action:
    name = text_of(node, faults, "a route")
    if name and name not in world.routes:
        known = ", ".join(world.routes) or "none"
        faults.add(node, f'no route "{name}"{suggestion(name, world.routes)}: CRISP_ROUTES has {known}')
    return actions.route(name)


def _writable_field(node: yaml.Node, faults: Diagnostics, expected: str = "the name of a field") -> str:
    """The document's name of a field that a rule may change."""
    name = field_names.full_name(text_of(node, faults, expected))
    fault = field_names.why_read_only(name) if name else ""
    if fault:
        faults.add(node, fault)
    return name


def _set(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    pairs = mapping(node, faults, "a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.add(node, "expected a mapping of field and value, found an empty one")
    values = {}
    for key, value in pairs.values():
        name = _writable_field(key, faults)
        if name == "@timestamp":
            faults.add(key, '"@timestamp" is a time of the line itself: use rename or parse to say which')
        values[name] = _field_value(name, value, faults)
    return actions.assign(values)


def _field_value(name: str, node: yaml.Node, faults: Diagnostics) -> Any:
    """A value for a field, of the field's type; a list of values where the field may have several."""
    if isinstance(node, yaml.SequenceNode):
        return [_scalar_value(name, inner, faults) for inner in node.value]
    return _scalar_value(name, node, faults)


def _scalar_value(name: str, node: yaml.Node, faults: Diagnostics) -> Scalar:
    value = scalar(node, faults, "a value")
    for other in actions.placeholders(value) if isinstance(value, str) else ():
        if field_names.why_not_conditionable(field_names.full_name(other)):
            faults.add(node, f"${{{other}}}: {field_names.why_not_conditionable(field_names.full_name(other))}")
    kind = FIELDS[name].type if name in FIELDS else ""
    if value is None and isinstance(node, yaml.ScalarNode):
        faults.add(node, "expected a value, found nothing (the action remove takes fields away)")
    if kind == "long" and (isinstance(value, bool) or not isinstance(value, int)) and "${" not in str(value):
        faults.add(node, f'"{name}" takes a whole number, found {describe(node)}')
    if kind == "ip" and "${" not in str(value) and not parse_ip(str(node.value)):
        faults.add(node, f'"{name}" takes an address, found {describe(node)}')
    if kind in ("keyword", "match_only_text", "wildcard", "text", "ip") and value is not None:
        value = str(node.value)
    if name == "log.level" and "${" not in str(value):
        value = level.normalize(value) or value
        if value not in conditions.LEVELS:
            faults.add(node, f"{describe(node)} is no level{suggestion(str(value), conditions.LEVELS)}")
    if isinstance(value, float) and not math.isfinite(value):
        faults.add(node, f"expected a value, found {describe(node)}")
    return value


def _rename(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    pairs = mapping(node, faults, "a mapping of old name and new name")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.add(node, "expected a mapping of old name and new name, found an empty one")
    return actions.rename(
        {_writable_field(key, faults): _writable_field(new, faults, "a name") for key, new in pairs.values()}
    )


def _remove(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    entries = sequence(node)
    if not entries:
        faults.add(node, "expected names of fields, found an empty list")
    taken = []
    for entry in entries:
        text = text_of(entry, faults, "the name of a field")
        taken.append(text if "*" in text else _writable_field(entry, faults) if text else "")
    return actions.remove(taken)


def _redact(node: yaml.Node, faults: Diagnostics, *_: Any) -> Action:
    """`card`, a list of kinds and patterns, or {pattern: those, in: fields, with: text}."""
    within: list[str] = []
    replacement = ""
    patterns: yaml.Node | None = node
    if isinstance(node, yaml.MappingNode):
        pairs = mapping(node, faults, "")
        known = ("pattern", "in", "with")
        _check_keys(pairs, known, faults)
        patterns = pairs["pattern"][1] if "pattern" in pairs else None
        if "in" in pairs:
            within = [_writable_field(entry, faults) for entry in sequence(pairs["in"][1])]
        if "with" in pairs:
            replacement = text_of(pairs["with"][1], faults, "what stands instead")
    if patterns is None:
        faults.add(node, f'expected "pattern": {", ".join(KINDS)}, or /a pattern/')
        return actions.keep
    return actions.Redact(_redaction(patterns, replacement, faults), tuple(within))


def _redaction(node: yaml.Node, replacement: str, faults: Diagnostics) -> Redaction:
    kinds, own = [], []
    for entry in sequence(node):
        text = text_of(entry, faults, "a kind of secret or /a pattern/")
        if len(text) > 2 and text[0] == text[-1] == "/":
            compiled = conditions.compile_pattern(entry, text[1:-1], faults)
            if compiled is not None:
                own.append((compiled, replacement or "[redacted]"))
        elif text in KINDS:
            kinds.append(text)
        elif text:
            faults.add(
                entry, f'no kind of secret "{text}"{suggestion(text, KINDS)}: {", ".join(KINDS)}, or /a pattern/'
            )
    return Redaction(kinds, own, replacement)


def _parse(node: yaml.Node, faults: Diagnostics, world: RuleContext, _: DigestUpdate) -> Action:
    """A format's name, or {format: it, field: F}, or {pattern: P, field: F, fields: {group: name}}."""
    if not isinstance(node, yaml.MappingNode):
        return actions.parse(_format_parser(node, faults, world), "message")
    pairs = mapping(node, faults, "")
    known = ("format", "pattern", "field", "fields")
    _check_keys(pairs, known, faults)
    source = (
        field_names.full_name(text_of(pairs["field"][1], faults, "the name of a field"))
        if "field" in pairs
        else "message"
    )
    if ("format" in pairs) == ("pattern" in pairs):
        faults.add(node, 'expected one of "format" and "pattern"')
        return actions.parse(lambda _: None, source)
    if "format" in pairs:
        if "fields" in pairs:
            faults.add(pairs["fields"][0], '"fields" names the groups of a pattern: a format has none')
        return actions.parse(_format_parser(pairs["format"][1], faults, world), source)
    return actions.parse(_pattern_parser(pairs, faults), source)


def _format_parser(node: yaml.Node, faults: Diagnostics, world: RuleContext) -> parse_action.Parser:
    text = text_of(node, faults, "a format")
    if text and text not in parse_action.FORMATS:
        faults.add(
            node,
            f'no format "{text}"{suggestion(text, parse_action.FORMATS)}: expected {", ".join(parse_action.FORMATS)}',
        )
    return parse_action.FORMATS.get(text, parse_action.FORMATS["text"])(world.field_limit)


def _pattern_parser(pairs: dict[str, tuple[yaml.Node, yaml.Node]], faults: Diagnostics) -> parse_action.Parser:
    node = pairs["pattern"][1]
    text = text_of(node, faults, "a pattern with named groups")
    compiled = conditions.compile_pattern(node, text, faults)
    if compiled is None:
        return lambda _: None
    groups = {name: field_names.full_name(name) for name in compiled.groupindex}
    if not groups:
        faults.add(node, "a pattern without named groups gives no fields: write (?P<name>...)")
    if "fields" in pairs:
        for key, value in mapping(pairs["fields"][1], faults, "a mapping of group and field").values():
            if key.value not in groups:
                faults.add(key, f'the pattern has no group "{key.value}"{suggestion(key.value, groups)}')
            else:
                groups[key.value] = _writable_field(value, faults)
    for group, name in groups.items():
        if field_names.why_read_only(name):
            faults.add(node, f"group {group}: {field_names.why_read_only(name)}")
    return parse_action.pattern_parser(compiled, groups)


def _python(node: yaml.Node, faults: Diagnostics, world: RuleContext, digest: DigestUpdate) -> Action:
    text = text_of(node, faults, "module:function")
    if not text:
        return actions.keep
    try:
        function, source = world.find_hook(text)
    except ValueError as fault:
        faults.add(node, str(fault))
        return actions.keep
    digest(source)
    return actions.hook(function)


ACTION_PARSERS: dict[str, Callable[[yaml.Node, Diagnostics, RuleContext, DigestUpdate], Action]] = {
    "drop": _drop,
    "keep": _keep,
    "sample": _sample,
    "redact": _redact,
    "set": _set,
    "rename": _rename,
    "remove": _remove,
    "parse": _parse,
    "route": _route,
    "python": _python,
}
"""What reads each action, by its key."""
