"""Parser of rules files: YAML nodes to rules, every problem with line and column. Pure, except for loading hooks.

rules:                    # applied in this order
  - name: debug           # metrics, `crisp parse` and `crisp audit` use it
    when: {…}             # conditions, all of which match; a list: any of its entries. Absent: every event
    unless: {…}           # the same; a matching event is skipped
    drop: true            # one action
tests: …                  # see `test_case`
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from pipeline.rules import action_parser, conditions, field_names
from pipeline.rules.conditions import Condition
from pipeline.rules.context import RuleContext
from pipeline.rules.ruleset import Clauses, Rule, Ruleset
from pipeline.rules.test_case import RuleTest, parse_tests
from pipeline.rules.yaml_source import Diagnostics, compose, describe, mapping, suggestion, text_of

RULE_KEYS = ("name", "when", "unless")
RESERVED_NAME = "health probe"
MAX_NAME_LENGTH = 100
_NAMED_GROUP = re.compile(r"\(\?P?<(\w+)>")


@dataclass(frozen=True, slots=True)
class ParsedRules:
    """The content of a rules file; with `problems` its rules are invalid, `warnings` are for the user only."""

    ruleset: Ruleset
    tests: tuple[RuleTest, ...]
    problems: list[str]
    warnings: list[str]


def parse_rules_file(text: bytes, name: str, context: RuleContext) -> ParsedRules:
    """Parse a rules file; with `problems`, its rules must not be used."""
    diagnostics = Diagnostics(name)
    root = compose(text, diagnostics)
    rules: list[Rule] = []
    tests: list[RuleTest] = []
    digest = hashlib.blake2b(digest_size=4)
    if root is None and not diagnostics.lines():
        diagnostics.add_at(0, 0, 'expected a mapping with "rules", got nothing')
    if root is not None:
        top = mapping(root, diagnostics, 'a mapping with "rules"')
        for key, value in top.values():
            if key.value == "rules":
                mentioned = frozenset(_mentioned_names(value))
                rules = _parse_rules(value, diagnostics, replace(context, mentioned=mentioned), digest.update)
            elif key.value == "tests":
                tests = parse_tests(value, diagnostics)
            else:
                diagnostics.add(key, f'unknown key "{key.value}"{suggestion(key.value, ("rules", "tests"))}')
        if "rules" not in top and isinstance(root, yaml.MappingNode):
            diagnostics.add(root, 'missing key "rules"')
    ruleset = Ruleset(tuple(rules), digest.hexdigest())
    return ParsedRules(ruleset, tuple(tests), diagnostics.lines(), diagnostics.lines(warning=True))


def _parse_rules(
    node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, update_digest: Callable[[bytes], None]
) -> list[Rule]:
    if not isinstance(node, yaml.SequenceNode):
        diagnostics.add(node, f"expected a list of rules, got {describe(node)}")
        return []
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for entry in node.value:
        update_digest(repr(_digest_form(entry)).encode())
        rule = _parse_rule(entry, diagnostics, context, update_digest)
        if rule is None:
            continue
        if rule.kind == "drop" and not (rule.when or rule.unless or any(earlier.kind == "keep" for earlier in rules)):
            diagnostics.add(
                entry,
                "the rule drops every event: give it a condition (when, unless),"
                " or put keep rules for the other events before it",
                warning=True,
            )
        if rule.name in lines:
            diagnostics.add(entry, f'duplicate rule name "{rule.name}" (first in line {lines[rule.name]})')
        lines.setdefault(rule.name, rule.line)
        rules.append(rule)
    return rules


def _mentioned_names(node: yaml.Node) -> Iterator[str]:
    """Yield the names that the rules test or produce: keys, values, named groups; not those in placeholders."""
    pending, seen = [node], set[int]()
    while pending:
        inner = pending.pop()
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        if isinstance(inner, yaml.ScalarNode):
            yield inner.value
            yield from _NAMED_GROUP.findall(inner.value)
        elif isinstance(inner, yaml.SequenceNode):
            pending += inner.value
        elif isinstance(inner, yaml.MappingNode):
            pending += itertools.chain.from_iterable(inner.value)


def _digest_form(node: yaml.Node) -> Any:
    """Return a node's values for the digest, without positions and comments."""
    if isinstance(node, yaml.MappingNode):
        return [(_digest_form(key), _digest_form(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_digest_form(value) for value in node.value]
    return (node.value, getattr(node, "style", None) is None)


def _parse_rule(
    node: yaml.Node, diagnostics: Diagnostics, context: RuleContext, update_digest: Callable[[bytes], None]
) -> Rule | None:
    pairs = mapping(node, diagnostics, "a rule: a mapping with name, when and one action")
    if not pairs:
        if isinstance(node, yaml.MappingNode):
            diagnostics.add(node, "expected a rule, got an empty mapping")
        return None
    name = _parse_name(node, pairs, diagnostics)
    when = _parse_clauses(pairs["when"][1], diagnostics) if "when" in pairs else ()
    unless = _parse_clauses(pairs["unless"][1], diagnostics) if "unless" in pairs else ()
    known = (*RULE_KEYS, *action_parser.ACTION_PARSERS)
    for key, _ in pairs.values():
        if key.value not in known:
            diagnostics.add(
                key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}'
            )
    chosen = [action_name for action_name in pairs if action_name in action_parser.ACTION_PARSERS]
    if not chosen and all(key in known for key in pairs):
        diagnostics.add(node, f"the rule does nothing: expected one of {', '.join(action_parser.ACTION_PARSERS)}")
    for action_name in chosen[1:]:
        diagnostics.add(pairs[action_name][0], f'only one action per rule: "{chosen[0]}" comes first')
    if not chosen:
        return None
    action = action_parser.ACTION_PARSERS[chosen[0]](pairs[chosen[0]][1], diagnostics, context, update_digest)
    return Rule(name, node.start_mark.line + 1, chosen[0], action, when, unless)


def _parse_name(node: yaml.Node, pairs: dict[str, tuple[yaml.Node, yaml.Node]], diagnostics: Diagnostics) -> str:
    if "name" not in pairs:
        diagnostics.add(node, 'missing key "name": metrics and `crisp parse` identify rules by it')
        return ""
    value = pairs["name"][1]
    name = text_of(value, diagnostics, "a name")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        diagnostics.add(value, f"expected a name of at most {MAX_NAME_LENGTH} printable characters")
    if name == RESERVED_NAME:
        diagnostics.add(value, f'"{RESERVED_NAME}" is the name of the built-in rule')
    return name


def _parse_clauses(node: yaml.Node, diagnostics: Diagnostics) -> Clauses:
    """Parse one mapping of conditions, or a list of them."""
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not entries:
        diagnostics.add(node, "expected conditions, got an empty list")
    return tuple(tuple(_parse_clause(entry, diagnostics)) for entry in entries)


def _parse_clause(node: yaml.Node, diagnostics: Diagnostics) -> list[Condition]:
    pairs = mapping(node, diagnostics, "conditions: a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        diagnostics.add(node, "expected conditions, got an empty mapping: omit it to match every event")
    clause = []
    for key, value in pairs.values():
        clause += _parse_conditions(key, value, diagnostics)
    return clause


def _parse_conditions(key: yaml.Node, value: yaml.Node, diagnostics: Diagnostics) -> list[Condition]:
    """Parse the condition of a pair, or those of a group (`label: {app: web}`)."""
    group = key.value
    if group == field_names.FIELD_GROUP or group in field_names.GROUPS:
        inner = mapping(value, diagnostics, f"a mapping of names under {group}")
        if not inner and isinstance(value, yaml.MappingNode):
            diagnostics.add(value, f"expected names under {group}, got an empty mapping")
        prefix = field_names.GROUPS.get(group, "")
        return [
            _parse_condition(
                name, field_names.full_name(prefix + name.value) if prefix else name.value, condition, diagnostics
            )
            for name, condition in inner.values()
        ]
    typo_of = field_names.likely_typo_of(group)
    if typo_of:
        message = f'"{group}" is not a field of crisp (did you mean "{typo_of}"?)'
        diagnostics.add(
            key,
            f"{message}; for a field of the application write {{{field_names.FIELD_GROUP}: {{{group}: ...}}}}",
            warning=True,
        )
    return [_parse_condition(key, field_names.full_name(group), value, diagnostics)]


def _parse_condition(key: yaml.Node, name: str, value: yaml.Node, diagnostics: Diagnostics) -> Condition:
    problem = field_names.why_not_conditionable(name) if name else "expected the name of a field, got nothing"
    if problem:
        diagnostics.add(key, f"{problem}{suggestion(name, field_names.conditionable_names())}")
    return conditions.parse(name, value, diagnostics)
