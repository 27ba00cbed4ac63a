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
from pipeline.rules.context import World
from pipeline.rules.ruleset import Clauses, Rule, Ruleset
from pipeline.rules.test_case import Trial, read_trials
from pipeline.rules.yaml_source import Faults, compose, found, mapping, near, words

FRAME = ("name", "when", "unless")
RESERVED = "health probe"
LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Read:
    """What a file holds; `warnings` are told and refuse nothing."""

    ruleset: Ruleset
    trials: tuple[Trial, ...]
    faults: list[str]
    warnings: list[str]


def read(text: bytes, name: str, world: World) -> Read:
    """Read a rules file; where there are faults, its rules are not to be used."""
    faults = Faults(name)
    root = compose(text, faults)
    rules: list[Rule] = []
    trials: list[Trial] = []
    digest = hashlib.blake2b(digest_size=4)
    if root is None and not faults.lines():
        faults.at_place(0, 0, 'expected a mapping with "rules", found nothing')
    if root is not None:
        top = mapping(root, faults, 'a mapping with "rules"')
        for key, value in top.values():
            if key.value == "rules":
                rules = _rules(value, faults, world, digest.update)
            elif key.value == "tests":
                trials = read_trials(value, faults)
            else:
                faults.at(key, f'unknown key "{key.value}"{near(key.value, ("rules", "tests"))}')
        if "rules" not in top and isinstance(root, yaml.MappingNode):
            faults.at(root, 'expected "rules" here')
    ruleset = Ruleset(tuple(rules), digest.hexdigest())
    return Read(ruleset, tuple(trials), faults.lines(), faults.lines(warning=True))


def _rules(node: yaml.Node, faults: Faults, world: World, digest: Callable[[bytes], None]) -> list[Rule]:
    if not isinstance(node, yaml.SequenceNode):
        faults.at(node, f"expected a list of rules, found {found(node)}")
        return []
    rules: list[Rule] = []
    lines: dict[str, int] = {}
    for entry in node.value:
        digest(repr(_plain(entry)).encode())
        rule = _rule(entry, faults, world, digest)
        if rule is None:
            continue
        if rule.name in lines:
            faults.at(entry, f'a rule named "{rule.name}" is there already, in line {lines[rule.name]}')
        lines.setdefault(rule.name, rule.line)
        rules.append(rule)
    return rules


def _plain(node: yaml.Node) -> Any:
    """What a node says, for the digest: without places and comments."""
    if isinstance(node, yaml.MappingNode):
        return [(_plain(key), _plain(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return (node.value, getattr(node, "style", None) is None)


def _rule(node: yaml.Node, faults: Faults, world: World, digest: Callable[[bytes], None]) -> Rule | None:
    pairs = mapping(node, faults, "a rule: a mapping with name, when and one action")
    if not pairs:
        if isinstance(node, yaml.MappingNode):
            faults.at(node, "expected a rule, found an empty mapping")
        return None
    name = _name(node, pairs, faults)
    when = _clauses(pairs["when"][1], faults) if "when" in pairs else ()
    unless = _clauses(pairs["unless"][1], faults) if "unless" in pairs else ()
    known = (*FRAME, *action_parser.READERS)
    for key, _ in pairs.values():
        if key.value not in known:
            faults.at(key, f'unknown key "{key.value}"{near(key.value, known)}: expected {", ".join(known)}')
    chosen = [kind for kind in pairs if kind in action_parser.READERS]
    if not chosen and all(key in known for key in pairs):
        faults.at(node, f"the rule does nothing: expected one of {', '.join(action_parser.READERS)}")
    for kind in chosen[1:]:
        faults.at(pairs[kind][0], f'one action a rule: "{chosen[0]}" is there already')
    if not chosen:
        return None
    action = action_parser.READERS[chosen[0]](pairs[chosen[0]][1], faults, world, digest)
    return Rule(name, node.start_mark.line + 1, chosen[0], action, when, unless)


def _name(node: yaml.Node, pairs: dict[str, tuple[yaml.Node, yaml.Node]], faults: Faults) -> str:
    if "name" not in pairs:
        faults.at(node, 'a rule without a "name": metrics and `crisp parse` tell rules by it')
        return ""
    value = pairs["name"][1]
    name = words(value, faults, "a name")
    if len(name) > LONGEST_NAME or not name.isprintable():
        faults.at(value, f"expected a name of at most {LONGEST_NAME} printable characters")
    if name == RESERVED:
        faults.at(value, f'"{RESERVED}" is the name of the built-in rule')
    return name


def _clauses(node: yaml.Node, faults: Faults) -> Clauses:
    """One mapping of conditions, or a list of them."""
    entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not entries:
        faults.at(node, "expected conditions, found an empty list")
    return tuple(tuple(_clause(entry, faults)) for entry in entries)


def _clause(node: yaml.Node, faults: Faults) -> list[Condition]:
    pairs = mapping(node, faults, "conditions: a mapping of field and value")
    if not pairs and isinstance(node, yaml.MappingNode):
        faults.at(node, "expected conditions, found an empty mapping: leave it out to mean every event")
    conditions = []
    for key, value in pairs.values():
        conditions += _conditions(key, value, faults)
    return conditions


def _conditions(key: yaml.Node, value: yaml.Node, faults: Faults) -> list[Condition]:
    """The condition of a pair; those of a group (`label: {app: web}`) one by one."""
    group = key.value
    if group == field_names.FIELD or group in field_names.GROUPS:
        inner = mapping(value, faults, f"a mapping of names under {group}")
        if not inner and isinstance(value, yaml.MappingNode):
            faults.at(value, f"expected names under {group}, found an empty mapping")
        prefix = field_names.GROUPS.get(group, "")
        return [
            _condition(name, field_names.full(prefix + name.value) if prefix else name.value, test, faults)
            for name, test in inner.values()
        ]
    meant = field_names.suspicious(group)
    if meant:
        words = f'"{group}" is a field that only an application has (did you mean "{meant}"?)'
        faults.at(key, f"{words}; if not, write {{{field_names.FIELD}: {{{group}: ...}}}}", warning=True)
    return [_condition(key, field_names.full(group), value, faults)]


def _condition(key: yaml.Node, name: str, value: yaml.Node, faults: Faults) -> Condition:
    fault = field_names.unaskable(name) if name else "expected the name of a field, found nothing"
    if fault:
        faults.at(key, f"{fault}{near(name, field_names.askable())}")
    return condition.read(name, value, faults)
