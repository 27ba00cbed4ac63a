"""The rules of a file, and what is left of them for one container. Pure, but for what a hook does.

Conditions on the container are decided once a container; a container that no rule concerns costs nothing more. Rules
are applied in the order of the file. Of those that decide (drop, keep, sample) the first that drops or keeps is the
last: after `drop` nothing else happens, after `keep` later ones of them are passed over; what changes the document goes
on being applied.
"""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.rules import field_names
from pipeline.rules.actions import Action, EventContext, Fields, Redact, drop, value_of
from pipeline.rules.conditions import Condition, Predicate

Clauses = tuple[tuple[Condition, ...], ...]
"""Conditions in or-of-ands: any of the tuples, of which all."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`decides`: whether it may drop or keep; `when` empty: always; `unless` empty: never an exception."""

    name: str
    line: int
    kind: str
    action: Action
    when: Clauses
    unless: Clauses

    @property
    def decides(self) -> bool:
        """Whether an earlier `keep` switches it off."""
        return self.kind in ("drop", "keep", "sample")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules in their order; `digest` changes when they do (their tests and comments do not count)."""

    rules: tuple[Rule, ...]
    digest: str

    def bounds(self) -> "tuple[Ruleset, Ruleset] | None":
        """The rules where all that a log file's path does not tell (labels, image, workload, service) spoke against
        dropping, and where it spoke for it; None where no rule asks for that."""
        asking = [rule for rule in self.rules if rule.decides and _depends_on_pod(rule.when + rule.unless)]
        if not asking:
            return None
        drops = tuple(_without_pod_conditions(rule) for rule in self.rules if rule not in asking or rule.kind != "keep")
        keeps = tuple(_without_pod_conditions(rule) for rule in self.rules if rule not in asking or rule.kind == "keep")
        return Ruleset(keeps, self.digest), Ruleset(drops, self.digest)

    def mask_bytes(self, raw: bytes) -> bytes:
        """Raw bytes with stars for what any of the rules would replace, whatever their conditions."""
        for rule in self.rules:
            if isinstance(rule.action, Redact):
                raw = rule.action.redaction.mask_bytes(raw)
        return raw

    def compile_for(self, container: Fields) -> "CompiledRules | None":
        """What is left of the rules for a container, by its fields; None when none concerns it."""
        steps = []
        for rule in self.rules:
            step = _compile_step(rule, container)
            if step is not None:
                steps.append(step)
                if rule.kind == "drop" and step.always:
                    break
        return CompiledRules(steps, container) if steps else None


def _depends_on_pod(clauses: Clauses) -> bool:
    return any(field_names.is_pod_field(one.name) for clause in clauses for one in clause)


def _without_pod_conditions(rule: Rule) -> Rule:
    if not rule.decides:
        return rule
    when = tuple(tuple(one for one in clause if not field_names.is_pod_field(one.name)) for clause in rule.when)
    return replace(rule, when=when, unless=tuple(clause for clause in rule.unless if not _depends_on_pod((clause,))))


class CompiledRules:
    """The rules for the events of one container."""

    __slots__ = ("_container", "_steps", "drop_all_rule", "has_hooks")

    def __init__(self, steps: "list[_Step]", container: Fields) -> None:
        self._steps = steps
        self._container = container
        first = steps[0]
        self.has_hooks = any(step.rule.kind == "python" for step in steps)  # it may say what no line said
        self.drop_all_rule = first.rule.name if first.always and first.rule.action is drop else ""

    def apply(self, fields: Fields, identity: str, offset: int, on_match: Any = None) -> EventContext:
        """Apply the rules to an event's fields, in place. `seen` is called after each rule that met the event."""
        case = EventContext(identity, offset, self._container)
        for step in self._steps:
            rule = step.rule
            if (case.kept and rule.decides) or not step.matches(fields):
                continue
            rule.action(rule.name, fields, case)
            if on_match is not None:
                on_match(rule.name)
            if case.dropped_by:
                break
        return case


class _Step:
    """A rule with the conditions that depend on the line: a field's name, its test, its value where it is absent."""

    __slots__ = ("_unless", "_when", "always", "rule")

    def __init__(self, rule: Rule, when: "list[_Clause]", unless: "list[_Clause]") -> None:
        self.rule = rule
        self._when = when
        self._unless = unless
        self.always = not when and not unless

    def matches(self, fields: Fields) -> bool:
        """Whether the rule concerns the event."""
        if self._when and not _any_clause_matches(self._when, fields):
            return False
        return not (self._unless and _any_clause_matches(self._unless, fields))


_Clause = list[tuple[str, Predicate, Any]]


def _any_clause_matches(clauses: list[_Clause], fields: Fields) -> bool:
    for clause in clauses:
        for name, test, absent in clause:
            if not test(fields.get(name, absent)):
                break
        else:
            return True
    return False


def _compile_step(rule: Rule, container: Fields) -> _Step | None:
    """The rule for a container; None when the container already says that it never applies."""
    when = _remaining_clauses(rule.when, container)
    unless = _remaining_clauses(rule.unless, container)
    if (rule.when and not when) or (rule.unless and [] in unless):
        return None
    return _Step(rule, [] if [] in when else when, unless)


def _remaining_clauses(clauses: Clauses, container: Fields) -> list[_Clause]:
    """The clauses that can still be met, each without what the container has decided; an empty one is met."""
    left = []
    for clause in clauses:
        fixed = [one for one in clause if field_names.is_container_field(one.name)]
        if all(one.predicate(value_of(one.name, {}, container)) for one in fixed):
            left.append([(one.name, one.predicate, container.get(one.name)) for one in clause if one not in fixed])
    return left
