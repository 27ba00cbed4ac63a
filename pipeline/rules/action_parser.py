"""Actions as a rules file says them: YAML nodes into `action`s, with every fault. Pure, but for finding the hooks."""

import math
from collections.abc import Callable
from typing import Any

import yaml

from pipeline.contract.ecs import FIELDS
from pipeline.parsing import level
from pipeline.parsing.field_values import address
from pipeline.rules import actions, conditions, field_names, parse_action
from pipeline.rules.actions import Action
from pipeline.rules.context import World
from pipeline.rules.redaction import KINDS, Redaction
from pipeline.rules.yaml_source import Faults, Scalar, found, mapping, near, scalar, sequence, words

Digest = Callable[[bytes], None]


def _known(pairs: dict[str, tuple[yaml.Node, yaml.Node]], known: tuple[str, ...], faults: Faults) -> None:
    for key, _ in pairs.values():
        if key.value not in known:
            faults.at(key, f'unknown key "{key.value}"{near(key.value, known)}: expected {", ".join(known)}')


def _true(node: yaml.Node, faults: Faults, done: Action) -> Action:
    if scalar(node, faults, "true") is not True:
        faults.at(node, f"expected true, found {found(node)}")
    return done


def _drop(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    return _true(node, faults, actions.drop)


def _keep(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    return _true(node, faults, actions.keep)


def _sample(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    rate = scalar(node, faults, "a part between 0 and 1, such as 0.05")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        if isinstance(node, yaml.ScalarNode):
            faults.at(node, f"expected a part between 0 and 1, such as 0.05, found {found(node)}")
        rate = 0.5
    return actions.sample(float(rate))


def _route(node: yaml.Node, faults: Faults, world: World, _: Digest) -> Action:
    name = words(node, faults, "a route")
    if name and name not in world.routes:
        known = ", ".join(world.routes) or "none"
        faults.at(node, f'no route "{name}"{near(name, world.routes)}: CRISP_ROUTES has {known}')
    return actions.route(name)


def _settable(node: yaml.Node, faults: Faults, expected: str = "the name of a field") -> str:
    """The document's name of a field that a rule may change."""
    name = field_names.full(words(node, faults, expected))
    fault = field_names.unsettable(name) if name else ""
    if fault:
        faults.at(node, fault)
    return name


def _set(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    pairs = mapping(node, faults, "a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.at(node, "expected a mapping of field and value, found an empty one")
    values = {}
    for key, value in pairs.values():
        name = _settable(key, faults)
        if name == "@timestamp":
            faults.at(key, '"@timestamp" is a time of the line itself: use rename or parse to say which')
        values[name] = _given(name, value, faults)
    return actions.assign(values)


def _given(name: str, node: yaml.Node, faults: Faults) -> Any:
    """A value for a field, of the field's type; a list of values where the field may have several."""
    if isinstance(node, yaml.SequenceNode):
        return [_one(name, inner, faults) for inner in node.value]
    return _one(name, node, faults)


def _one(name: str, node: yaml.Node, faults: Faults) -> Scalar:
    value = scalar(node, faults, "a value")
    for other in actions.named(value) if isinstance(value, str) else ():
        if field_names.unaskable(field_names.full(other)):
            faults.at(node, f"${{{other}}}: {field_names.unaskable(field_names.full(other))}")
    kind = FIELDS[name].type if name in FIELDS else ""
    if value is None and isinstance(node, yaml.ScalarNode):
        faults.at(node, "expected a value, found nothing (the action remove takes fields away)")
    if kind == "long" and (isinstance(value, bool) or not isinstance(value, int)) and "${" not in str(value):
        faults.at(node, f'"{name}" takes a whole number, found {found(node)}')
    if kind == "ip" and "${" not in str(value) and not address(str(node.value)):
        faults.at(node, f'"{name}" takes an address, found {found(node)}')
    if kind in ("keyword", "match_only_text", "wildcard", "text", "ip") and value is not None:
        value = str(node.value)
    if name == "log.level" and "${" not in str(value):
        value = level.normal(value) or value
        if value not in conditions.LEVELS:
            faults.at(node, f"{found(node)} is no level{near(str(value), conditions.LEVELS)}")
    if isinstance(value, float) and not math.isfinite(value):
        faults.at(node, f"expected a value, found {found(node)}")
    return value


def _rename(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    pairs = mapping(node, faults, "a mapping of old name and new name")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.at(node, "expected a mapping of old name and new name, found an empty one")
    return actions.rename({_settable(key, faults): _settable(new, faults, "a name") for key, new in pairs.values()})


def _remove(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    entries = sequence(node)
    if not entries:
        faults.at(node, "expected names of fields, found an empty list")
    taken = []
    for entry in entries:
        text = words(entry, faults, "the name of a field")
        taken.append(text if "*" in text else _settable(entry, faults) if text else "")
    return actions.remove(taken)


def _redact(node: yaml.Node, faults: Faults, *_: Any) -> Action:
    """`card`, a list of kinds and patterns, or {pattern: those, in: fields, with: text}."""
    within: list[str] = []
    replacement = ""
    patterns: yaml.Node | None = node
    if isinstance(node, yaml.MappingNode):
        pairs = mapping(node, faults, "")
        known = ("pattern", "in", "with")
        _known(pairs, known, faults)
        patterns = pairs["pattern"][1] if "pattern" in pairs else None
        if "in" in pairs:
            within = [_settable(entry, faults) for entry in sequence(pairs["in"][1])]
        if "with" in pairs:
            replacement = words(pairs["with"][1], faults, "what stands instead")
    if patterns is None:
        faults.at(node, f'expected "pattern": {", ".join(KINDS)}, or /a pattern/')
        return actions.keep
    return actions.Redact(_redaction(patterns, replacement, faults), tuple(within))


def _redaction(node: yaml.Node, replacement: str, faults: Faults) -> Redaction:
    kinds, own = [], []
    for entry in sequence(node):
        text = words(entry, faults, "a kind of secret or /a pattern/")
        if len(text) > 2 and text[0] == text[-1] == "/":
            compiled = conditions.pattern(entry, text[1:-1], faults)
            if compiled is not None:
                own.append((compiled, replacement or "[redacted]"))
        elif text in KINDS:
            kinds.append(text)
        elif text:
            faults.at(entry, f'no kind of secret "{text}"{near(text, KINDS)}: {", ".join(KINDS)}, or /a pattern/')
    return Redaction(kinds, own, replacement)


def _parse(node: yaml.Node, faults: Faults, world: World, _: Digest) -> Action:
    """A format's name, or {format: it, field: F}, or {pattern: P, field: F, fields: {group: name}}."""
    if not isinstance(node, yaml.MappingNode):
        return actions.parse(_format(node, faults, world), "message")
    pairs = mapping(node, faults, "")
    known = ("format", "pattern", "field", "fields")
    _known(pairs, known, faults)
    source = (
        field_names.full(words(pairs["field"][1], faults, "the name of a field")) if "field" in pairs else "message"
    )
    if ("format" in pairs) == ("pattern" in pairs):
        faults.at(node, 'expected one of "format" and "pattern"')
        return actions.parse(lambda _: None, source)
    if "format" in pairs:
        if "fields" in pairs:
            faults.at(pairs["fields"][0], '"fields" names the groups of a pattern: a format has none')
        return actions.parse(_format(pairs["format"][1], faults, world), source)
    return actions.parse(_by_pattern(pairs, faults), source)


def _format(node: yaml.Node, faults: Faults, world: World) -> parse_action.Parser:
    text = words(node, faults, "a format")
    if text and text not in parse_action.FORMATS:
        faults.at(
            node, f'no format "{text}"{near(text, parse_action.FORMATS)}: expected {", ".join(parse_action.FORMATS)}'
        )
    return parse_action.FORMATS.get(text, parse_action.FORMATS["text"])(world.field_limit)


def _by_pattern(pairs: dict[str, tuple[yaml.Node, yaml.Node]], faults: Faults) -> parse_action.Parser:
    node = pairs["pattern"][1]
    text = words(node, faults, "a pattern with named groups")
    compiled = conditions.pattern(node, text, faults)
    if compiled is None:
        return lambda _: None
    groups = {name: field_names.full(name) for name in compiled.groupindex}
    if not groups:
        faults.at(node, "a pattern without named groups gives no fields: write (?P<name>...)")
    if "fields" in pairs:
        for key, value in mapping(pairs["fields"][1], faults, "a mapping of group and field").values():
            if key.value not in groups:
                faults.at(key, f'the pattern has no group "{key.value}"{near(key.value, groups)}')
            else:
                groups[key.value] = _settable(value, faults)
    for group, name in groups.items():
        if field_names.unsettable(name):
            faults.at(node, f"group {group}: {field_names.unsettable(name)}")
    return parse_action.by_pattern(compiled, groups)


def _python(node: yaml.Node, faults: Faults, world: World, digest: Digest) -> Action:
    text = words(node, faults, "module:function")
    if not text:
        return actions.keep
    try:
        function, source = world.hooks(text)
    except ValueError as fault:
        faults.at(node, str(fault))
        return actions.keep
    digest(source)
    return actions.hook(function)


READERS: dict[str, Callable[[yaml.Node, Faults, World, Digest], Action]] = {
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
