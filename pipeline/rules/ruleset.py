"""The rules of a file, and what is left of them for one container. Pure, but for what a hook does.

Conditions on the container are decided once a container; a container that no rule concerns costs nothing more. Rules
are applied in the order of the file. Of those that decide (drop, keep, sample) the first that drops or keeps is the
last: after `drop` nothing else happens, after `keep` later ones of them are passed over; what changes the document goes
on being applied.
"""

from dataclasses import dataclass, replace
from typing import Any

from pipeline.rules import field_names
from pipeline.rules.actions import Action, Case, Fields, Redact, drop, value_of
from pipeline.rules.conditions import Condition, Test

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
        asking = [rule for rule in self.rules if rule.decides and _asks(rule.when + rule.unless)]
        if not asking:
            return None
        drops = tuple(_widened(rule) for rule in self.rules if rule not in asking or rule.kind != "keep")
        keeps = tuple(_widened(rule) for rule in self.rules if rule not in asking or rule.kind == "keep")
        return Ruleset(keeps, self.digest), Ruleset(drops, self.digest)

    def redacted(self, raw: bytes) -> bytes:
        """Raw bytes with stars for what any of the rules would replace, whatever their conditions."""
        for rule in self.rules:
            if isinstance(rule.action, Redact):
                raw = rule.action.redaction.raw(raw)
        return raw

    def of(self, container: Fields) -> "Ruling | None":
        """What is left of the rules for a container, by its fields; None when none concerns it."""
        steps = []
        for rule in self.rules:
            step = _step(rule, container)
            if step is not None:
                steps.append(step)
                if rule.kind == "drop" and step.always:
                    break
        return Ruling(steps, container) if steps else None


def _asks(clauses: Clauses) -> bool:
    return any(field_names.of_pod(one.name) for clause in clauses for one in clause)


def _widened(rule: Rule) -> Rule:
    if not rule.decides:
        return rule
    when = tuple(tuple(one for one in clause if not field_names.of_pod(one.name)) for clause in rule.when)
    return replace(rule, when=when, unless=tuple(clause for clause in rule.unless if not _asks((clause,))))


class Ruling:
    """The rules for the events of one container."""

    __slots__ = ("_container", "_steps", "drops_all", "hooked")

    def __init__(self, steps: "list[_Step]", container: Fields) -> None:
        self._steps = steps
        self._container = container
        first = steps[0]
        self.hooked = any(step.rule.kind == "python" for step in steps)  # it may say what no line said
        self.drops_all = first.rule.name if first.always and first.rule.action is drop else ""

    def judge(self, fields: Fields, identity: str, offset: int, seen: Any = None) -> Case:
        """Apply the rules to an event's fields, in place. `seen` is called after each rule that met the event."""
        case = Case(identity, offset, self._container)
        for step in self._steps:
            rule = step.rule
            if (case.kept and rule.decides) or not step.meets(fields):
                continue
            rule.action(rule.name, fields, case)
            if seen is not None:
                seen(rule.name)
            if case.dropped:
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

    def meets(self, fields: Fields) -> bool:
        """Whether the rule concerns the event."""
        if self._when and not _met(self._when, fields):
            return False
        return not (self._unless and _met(self._unless, fields))


_Clause = list[tuple[str, Test, Any]]


def _met(clauses: list[_Clause], fields: Fields) -> bool:
    for clause in clauses:
        for name, test, absent in clause:
            if not test(fields.get(name, absent)):
                break
        else:
            return True
    return False


def _step(rule: Rule, container: Fields) -> _Step | None:
    """The rule for a container; None when the container already says that it never applies."""
    when = _left(rule.when, container)
    unless = _left(rule.unless, container)
    if (rule.when and not when) or (rule.unless and [] in unless):
        return None
    return _Step(rule, [] if [] in when else when, unless)


def _left(clauses: Clauses, container: Fields) -> list[_Clause]:
    """The clauses that can still be met, each without what the container has decided; an empty one is met."""
    left = []
    for clause in clauses:
        fixed = [one for one in clause if field_names.of_container(one.name)]
        if all(one.test(value_of(one.name, {}, container)) for one in fixed):
            left.append([(one.name, one.test, container.get(one.name)) for one in clause if one not in fixed])
    return left
