"""The rules of a file, and their compiled form for one container. Pure, except for hooks.

Conditions on the container are evaluated once per container; a container without matching rules costs nothing more.
Rules are applied in the order of the file. Of drop, keep and sample the first decision counts: after `drop` no rule is
applied, after `keep` later rules of these three are skipped; rules that change the document are still applied.
"""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.contract.json_types import JsonObject
from pipeline.rules import field_names
from pipeline.rules.actions import Action, EventContext, Redact, drop, value_of
from pipeline.rules.conditions import Condition, Predicate

Clauses = tuple[tuple[Condition, ...], ...]
"""Conditions in disjunctive form: all conditions of any tuple."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: `kind` is the name of its action; `when` empty: always; `unless` empty: no exceptions."""

    name: str
    line: int
    kind: str
    action: Action
    when: Clauses
    unless: Clauses

    @property
    def decides(self) -> bool:
        """Whether the rule may drop or keep events, so that an earlier `keep` disables it."""
        return self.kind in ("drop", "keep", "sample")


@dataclass(frozen=True, slots=True)
class Ruleset:
    """The rules in their order; `digest` changes with the rules, not with their tests and comments."""

    rules: tuple[Rule, ...]
    digest: str

    def bounds(self) -> "tuple[Ruleset, Ruleset] | None":
        """Return the rules twice: as if all conditions on labels, image, workload and service, which a log file's path
        does not show, prevented drops, and as if they caused drops. None if no rule depends on them."""
        dependent = [rule for rule in self.rules if rule.decides and _depends_on_pod(rule.when + rule.unless)]
        if not dependent:
            return None
        drops = tuple(
            _without_pod_conditions(rule) for rule in self.rules if rule not in dependent or rule.kind != "keep"
        )
        keeps = tuple(
            _without_pod_conditions(rule) for rule in self.rules if rule not in dependent or rule.kind == "keep"
        )
        return Ruleset(keeps, self.digest), Ruleset(drops, self.digest)

    @property
    def redacts(self) -> bool:
        """Whether a rule redacts."""
        return any(isinstance(rule.action, Redact) for rule in self.rules)

    def mask_bytes(self, raw: bytes) -> bytes:
        """Mask the secrets of all `redact` rules in raw bytes with stars, regardless of their conditions."""
        for rule in self.rules:
            if isinstance(rule.action, Redact):
                raw = rule.action.redaction.mask_bytes(raw)
        return raw

    def compile_for(self, container: JsonObject) -> "CompiledRules | None":
        """Compile the rules for a container, by its fields; None when no rule can match."""
        steps = []
        for rule in self.rules:
            step = _compile_step(rule, container)
            if step is not None:
                steps.append(step)
                if rule.kind == "drop" and step.always:
                    break
        return CompiledRules(steps, container) if steps else None


def _depends_on_pod(clauses: Clauses) -> bool:
    return any(field_names.is_pod_field(condition.name) for clause in clauses for condition in clause)


def _without_pod_conditions(rule: Rule) -> Rule:
    if not rule.decides:
        return rule
    when = tuple(
        tuple(condition for condition in clause if not field_names.is_pod_field(condition.name)) for clause in rule.when
    )
    return replace(rule, when=when, unless=tuple(clause for clause in rule.unless if not _depends_on_pod((clause,))))


class CompiledRules:
    """The rules for the events of one container."""

    __slots__ = ("_container", "_steps", "drop_all_rule", "has_hooks")

    def __init__(self, steps: "list[_Step]", container: JsonObject) -> None:
        self._steps = steps
        self._container = container
        first = steps[0]
        self.has_hooks = any(step.rule.kind == "python" for step in steps)  # a hook may add text that no line had
        self.drop_all_rule = first.rule.name if first.always and first.rule.action is drop else ""

    def apply(self, fields: JsonObject, identity: str, offset: int, on_match: Any = None) -> EventContext:
        """Apply the rules to an event's fields, in place. `on_match` is called after each rule that matched."""
        context = EventContext(identity, offset, self._container)
        for step in self._steps:
            rule = step.rule
            if (context.kept and rule.decides) or not step.matches(fields):
                continue
            rule.action(rule.name, fields, context)
            if on_match is not None:
                on_match(rule.name)
            if context.dropped_by:
                break
        return context


class _Step:
    """A rule with the conditions that depend on the line: field name, predicate, value of an absent field."""

    __slots__ = ("_unless", "_when", "always", "rule")

    def __init__(self, rule: Rule, when: "list[_Clause]", unless: "list[_Clause]") -> None:
        self.rule = rule
        self._when = when
        self._unless = unless
        self.always = not when and not unless

    def matches(self, fields: JsonObject) -> bool:
        """Return whether the rule applies to the event."""
        if self._when and not _any_clause_matches(self._when, fields):
            return False
        return not (self._unless and _any_clause_matches(self._unless, fields))


_Clause = list[tuple[str, Predicate, Any]]


def _any_clause_matches(clauses: list[_Clause], fields: JsonObject) -> bool:
    for clause in clauses:
        for name, test, absent in clause:
            if not test(fields.get(name, absent)):
                break
        else:
            return True
    return False


def _compile_step(rule: Rule, container: JsonObject) -> _Step | None:
    """Compile a rule for a container; None when it can never match there."""
    when = _remaining_clauses(rule.when, container)
    unless = _remaining_clauses(rule.unless, container)
    if (rule.when and not when) or (rule.unless and [] in unless):
        return None
    return _Step(rule, [] if [] in when else when, unless)


def _remaining_clauses(clauses: Clauses, container: JsonObject) -> list[_Clause]:
    """Return the clauses that can still match, without conditions on the container; an empty clause always matches."""
    remaining = []
    for clause in clauses:
        decided = [condition for condition in clause if field_names.is_container_field(condition.name)]
        if all(condition.predicate(value_of(condition.name, {}, container)) for condition in decided):
            remaining.append(
                [
                    (condition.name, condition.predicate, container.get(condition.name))
                    for condition in clause
                    if condition not in decided
                ]
            )
    return remaining
