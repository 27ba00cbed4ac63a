"""Parser of the actions in a rules file: YAML nodes to `Action`s, with diagnostics. Pure, except for loading hooks."""

from collections.abc import Callable
from typing import Any

import yaml

from pipeline.rules import actions, conditions, field_names, parse_action
from pipeline.rules.actions import Action
from pipeline.rules.assigned_value import parse_field_value
from pipeline.rules.context import RuleContext
from pipeline.rules.redaction.redaction import Redaction
from pipeline.rules.redaction.secret_kinds import KINDS
from pipeline.rules.yaml_source import (
    Diagnostics,
    check_no_placeholder,
    describe,
    mapping,
    scalar,
    sequence,
    suggestion,
    text_of,
)

DigestUpdate = Callable[[bytes], None]


def _check_keys(
    pairs: dict[str, tuple[yaml.Node, yaml.Node]], known: tuple[str, ...], diagnostics: Diagnostics
) -> None:
    for key, _ in pairs.values():
        if key.value not in known:
            diagnostics.add(
                key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}'
            )


def _expect_true(node: yaml.Node, diagnostics: Diagnostics, action: Action) -> Action:
    if scalar(node, diagnostics, "true") is not True:
        diagnostics.add(node, f"expected true, got {describe(node)}")
    return action


def _drop(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    return _expect_true(node, diagnostics, actions.drop)


def _keep(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    return _expect_true(node, diagnostics, actions.keep)


def _sample(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    rate = scalar(node, diagnostics, "a fraction between 0 and 1, such as 0.05")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1:
        if isinstance(node, yaml.ScalarNode):
            diagnostics.add(node, f"expected a fraction between 0 and 1, such as 0.05, got {describe(node)}")
        rate = 0.5
    return actions.sample(float(rate))


def _route(node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, _: DigestUpdate) -> Action:
    name = text_of(node, diagnostics, "a route")
    if name and name not in context.routes:
        known = ", ".join(context.routes) or "none"
        diagnostics.add(node, f'unknown route "{name}"{suggestion(name, context.routes)}: CRISP_ROUTES has {known}')
    return actions.route(name)


def _field_name(node: yaml.Node, diagnostics: Diagnostics, expected: str = "the name of a field") -> str:
    text = text_of(node, diagnostics, expected)
    check_no_placeholder(node, text, diagnostics)
    return text


def _writable_field(node: yaml.Node, diagnostics: Diagnostics, expected: str = "the name of a field") -> str:
    """Return the full name of a field that a rule may change."""
    name = field_names.written_name(_field_name(node, diagnostics, expected))
    problem = field_names.why_read_only(name) if name else ""
    if problem:
        diagnostics.add(node, problem)
    return name


def _set(node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, _: DigestUpdate) -> Action:
    pairs = mapping(node, diagnostics, "a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        diagnostics.add(node, "expected a mapping of field and value, got an empty one")
    values = {}
    for key, value in pairs.values():
        name = _writable_field(key, diagnostics)
        if name == "@timestamp":
            diagnostics.add(key, '"@timestamp" is the line\'s own time: use rename or parse to select it')
        values[name] = parse_field_value(name, value, diagnostics, context.mentioned)
    return actions.assign(values)


def _rename(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    pairs = mapping(node, diagnostics, "a mapping of old name and new name")
    if not pairs and isinstance(node, yaml.MappingNode):
        diagnostics.add(node, "expected a mapping of old name and new name, got an empty one")
    return actions.rename(
        {_writable_field(key, diagnostics): _writable_field(new, diagnostics, "a name") for key, new in pairs.values()}
    )


def _remove(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    entries = sequence(node)
    if not entries:
        diagnostics.add(node, "expected names of fields, got an empty list")
    names = []
    for entry in entries:
        text = _field_name(entry, diagnostics)
        names.append(text if "*" in text else _writable_field(entry, diagnostics) if text else "")
    return actions.remove(names)


def _redact(node: yaml.Node, diagnostics: Diagnostics, *_: Any) -> Action:
    """`card`, a list of kinds and patterns, or {pattern: that list, in: fields, with: text}."""
    target_fields: list[str] = []
    replacement = ""
    patterns: yaml.Node | None = node
    if isinstance(node, yaml.MappingNode):
        pairs = mapping(node, diagnostics, "")
        known = ("pattern", "in", "with")
        _check_keys(pairs, known, diagnostics)
        patterns = pairs["pattern"][1] if "pattern" in pairs else None
        if "in" in pairs:
            target_fields = [_writable_field(entry, diagnostics) for entry in sequence(pairs["in"][1])]
        if "with" in pairs:
            replacement = text_of(pairs["with"][1], diagnostics, "a replacement text")
            check_no_placeholder(pairs["with"][1], replacement, diagnostics, warning=True)
    if patterns is None:
        diagnostics.add(node, f'expected "pattern": {", ".join(KINDS)}, or /a pattern/')
        return actions.keep
    return actions.Redact(_redaction(patterns, replacement, diagnostics), tuple(target_fields))


def _redaction(node: yaml.Node, replacement: str, diagnostics: Diagnostics) -> Redaction:
    kinds, custom = [], []
    for entry in sequence(node):
        text = text_of(entry, diagnostics, "a kind of secret or /a pattern/")
        if len(text) > 2 and text[0] == text[-1] == "/":
            compiled = conditions.compile_pattern(entry, text[1:-1], diagnostics)
            if compiled is not None:
                custom.append((compiled, replacement or "[redacted]"))
        elif text in KINDS:
            kinds.append(text)
        elif text:
            diagnostics.add(
                entry, f'unknown kind of secret "{text}"{suggestion(text, KINDS)}: {", ".join(KINDS)}, or /a pattern/'
            )
    return Redaction(kinds, custom, replacement)


def _parse(node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, _: DigestUpdate) -> Action:
    """A format's name, or {format: that name, field: F}, or {pattern: P, field: F, fields: {group: name}}."""
    if not isinstance(node, yaml.MappingNode):
        return actions.parse(_format_parser(node, diagnostics, context), "message")
    pairs = mapping(node, diagnostics, "")
    known = ("format", "pattern", "field", "fields")
    _check_keys(pairs, known, diagnostics)
    source = field_names.full_name(_field_name(pairs["field"][1], diagnostics)) if "field" in pairs else "message"
    if ("format" in pairs) == ("pattern" in pairs):
        diagnostics.add(node, 'expected either "format" or "pattern"')
        return actions.parse(lambda _: None, source)
    if "format" in pairs:
        if "fields" in pairs:
            diagnostics.add(pairs["fields"][0], '"fields" names the groups of a pattern: a format has none')
        return actions.parse(_format_parser(pairs["format"][1], diagnostics, context), source)
    return actions.parse(_pattern_parser(pairs, diagnostics), source)


def _format_parser(node: yaml.Node, diagnostics: Diagnostics, context: RuleContext) -> parse_action.Parser:
    text = text_of(node, diagnostics, "a format")
    if text and text not in parse_action.FORMATS:
        diagnostics.add(
            node,
            f'unknown format "{text}"{suggestion(text, parse_action.FORMATS)}: '
            f"expected {', '.join(parse_action.FORMATS)}",
        )
    return parse_action.FORMATS.get(text, parse_action.FORMATS["text"])(context.field_limit)


def _pattern_parser(pairs: dict[str, tuple[yaml.Node, yaml.Node]], diagnostics: Diagnostics) -> parse_action.Parser:
    node = pairs["pattern"][1]
    text = text_of(node, diagnostics, "a pattern with named groups")
    compiled = conditions.compile_pattern(node, text, diagnostics)
    if compiled is None:
        return lambda _: None
    groups = {name: field_names.full_name(name) for name in compiled.groupindex}
    if not groups:
        diagnostics.add(node, "a pattern without named groups gives no fields: write (?P<name>...)")
    if "fields" in pairs:
        for key, value in mapping(pairs["fields"][1], diagnostics, "a mapping of group and field").values():
            if key.value not in groups:
                diagnostics.add(key, f'the pattern has no group "{key.value}"{suggestion(key.value, groups)}')
            else:
                groups[key.value] = _writable_field(value, diagnostics)
    for group, name in groups.items():
        if field_names.why_read_only(name):
            diagnostics.add(node, f"group {group}: {field_names.why_read_only(name)}")
    return parse_action.pattern_parser(compiled, groups)


def _python(node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, update_digest: DigestUpdate) -> Action:
    text = text_of(node, diagnostics, "module:function")
    if not text:
        return actions.keep
    try:
        function, source = context.find_hook(text)
    except ValueError as error:
        diagnostics.add(node, str(error))
        return actions.keep
    update_digest(source)
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
"""By the key of the action in a rule."""
