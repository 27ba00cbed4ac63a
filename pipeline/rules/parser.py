"""A rules file read: YAML nodes into rules, every fault with its place. Pure, but for finding the hooks.

rules:                    # applied in this order
  - name: debug           # metrics, `crisp parse` and `crisp audit` use it
    when: {…}             # conditions, all of them; a list of such: any of them. Absent: every event
    unless: {…}           # the same; an event that meets it is passed over
    drop: true            # one action
tests: …                  # see `trial`
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml

from pipeline.rules import action_parser, field_names
from pipeline.rules import conditions as condition
from pipeline.rules.conditions import Condition
from pipeline.rules.context import RuleContext
from pipeline.rules.ruleset import Clauses, Rule, Ruleset
from pipeline.rules.test_case import RuleTest, parse_tests
from pipeline.rules.yaml_source import Diagnostics, compose, describe, mapping, suggestion, text_of

RULE_KEYS = ("name", "when", "unless")
RESERVED_NAME = "health probe"
MAX_NAME_LENGTH = 100


@dataclass(frozen=True, slots=True)
class ParsedRules:
    """What a file holds; `warnings` are told and refuse nothing."""

    ruleset: Ruleset
    tests: tuple[RuleTest, ...]
    problems: list[str]
    warnings: list[str]


def parse_rules_file(text: bytes, name: str, world: RuleContext) -> ParsedRules:
    """Read a rules file; where there are faults, its rules are not to be used."""
    faults = Diagnostics(name)
    root = compose(text, faults)
    rules: list[Rule] = []
    trials: list[RuleTest] = []
    digest = hashlib.blake2b(digest_size=4)
    if root is None and not faults.lines():
        faults.add_at(0, 0, 'expected a mapping with "rules", found nothing')
    if root is not None:
        top = mapping(root, faults, 'a mapping with "rules"')
        for key, value in top.values():
            if key.value == "rules":
                rules = _parse_rules(value, faults, world, digest.update)
            elif key.value == "tests":
                trials = parse_tests(value, faults)
            else:
                faults.add(key, f'unknown key "{key.value}"{suggestion(key.value, ("rules", "tests"))}')
        if "rules" not in top and isinstance(root, yaml.MappingNode):
            faults.add(root, 'expected "rules" here')
    ruleset = Ruleset(tuple(rules), digest.hexdigest())
    return ParsedRules(ruleset, tuple(trials), faults.lines(), faults.lines(warning=True))


def _parse_rules(
    node: yaml.Node, faults: Diagnostics, world: RuleContext, digest: Callable[[bytes], None]
) -> list[Rule]:
    if not isinstance(node, yaml.SequenceNode):
        faults.add(node, f"expected a list of rules, found {describe(node)}")
        return []
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for entry in node.value:
        digest(repr(_digest_form(entry)).encode())
        rule = _parse_rule(entry, faults, world, digest)
        if rule is None:
            continue
        if rule.name in lines:
            faults.add(entry, f'a rule named "{rule.name}" is there already, in line {lines[rule.name]}')
        lines.setdefault(rule.name, rule.line)
        rules.append(rule)
    return rules


def _digest_form(node: yaml.Node) -> Any:
    """What a node says, for the digest: without places and comments."""
    if isinstance(node, yaml.MappingNode):
        return [(_digest_form(key), _digest_form(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_digest_form(value) for value in node.value]
    return (node.value, getattr(node, "style", None) is None)


def _parse_rule(
    node: yaml.Node, faults: Diagnostics, world: RuleContext, digest: Callable[[bytes], None]
) -> Rule | None:
    pairs = mapping(node, faults, "a rule: a mapping with name, when and one action")
    if not pairs:
        if isinstance(node, yaml.MappingNode):
            faults.add(node, "expected a rule, found an empty mapping")
        return None
    name = _parse_name(node, pairs, faults)
    when = _parse_clauses(pairs["when"][1], faults) if "when" in pairs else ()
    unless = _parse_clauses(pairs["unless"][1], faults) if "unless" in pairs else ()
    known = (*RULE_KEYS, *action_parser.ACTION_PARSERS)
    for key, _ in pairs.values():
        if key.value not in known:
            faults.add(key, f'unknown key "{key.value}"{suggestion(key.value, known)}: expected {", ".join(known)}')
    chosen = [kind for kind in pairs if kind in action_parser.ACTION_PARSERS]
    if not chosen and all(key in known for key in pairs):
        faults.add(node, f"the rule does nothing: expected one of {', '.join(action_parser.ACTION_PARSERS)}")
    for kind in chosen[1:]:
        faults.add(pairs[kind][0], f'one action a rule: "{chosen[0]}" is there already')
    if not chosen:
        return None
    action = action_parser.ACTION_PARSERS[chosen[0]](pairs[chosen[0]][1], faults, world, digest)
    return Rule(name, node.start_mark.line + 1, chosen[0], action, when, unless)


def _parse_name(node: yaml.Node, pairs: dict[str, tuple[yaml.Node, yaml.Node]], faults: Diagnostics) -> str:
    if "name" not in pairs:
        faults.add(node, 'a rule without a "name": metrics and `crisp parse` tell rules by it')
        return ""
    value = pairs["name"][1]
    name = text_of(value, faults, "a name")
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        faults.add(value, f"expected a name of at most {MAX_NAME_LENGTH} printable characters")
    if name == RESERVED_NAME:
        faults.add(value, f'"{RESERVED_NAME}" is the name of the built-in rule')
    return name


def _parse_clauses(node: yaml.Node, faults: Diagnostics) -> Clauses:
    """One mapping of conditions, or a list of them."""
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not entries:
        faults.add(node, "expected conditions, found an empty list")
    return tuple(tuple(_parse_clause(entry, faults)) for entry in entries)


def _parse_clause(node: yaml.Node, faults: Diagnostics) -> list[Condition]:
    pairs = mapping(node, faults, "conditions: a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.add(node, "expected conditions, found an empty mapping: leave it out to mean every event")
    conditions = []
    for key, value in pairs.values():
        conditions += _parse_conditions(key, value, faults)
    return conditions


def _parse_conditions(key: yaml.Node, value: yaml.Node, faults: Diagnostics) -> list[Condition]:
    """The condition of a pair; those of a group (`label: {app: web}`) one by one."""
    group = key.value
    if group == field_names.FIELD_GROUP or group in field_names.GROUPS:
        inner = mapping(value, faults, f"a mapping of names under {group}")
        if not inner and isinstance(value, yaml.MappingNode):
            faults.add(value, f"expected names under {group}, found an empty mapping")
        prefix = field_names.GROUPS.get(group, "")
        return [
            _parse_condition(name, field_names.full_name(prefix + name.value) if prefix else name.value, test, faults)
            for name, test in inner.values()
        ]
    meant = field_names.likely_typo_of(group)
    if meant:
        words = f'"{group}" is a field that only an application has (did you mean "{meant}"?)'
        faults.add(key, f"{words}; if not, write {{{field_names.FIELD_GROUP}: {{{group}: ...}}}}", warning=True)
    return [_parse_condition(key, field_names.full_name(group), value, faults)]


def _parse_condition(key: yaml.Node, name: str, value: yaml.Node, faults: Diagnostics) -> Condition:
    fault = field_names.why_not_conditionable(name) if name else "expected the name of a field, found nothing"
    if fault:
        faults.add(key, f"{fault}{suggestion(name, field_names.conditionable_names())}")
    return condition.parse(name, value, faults)
