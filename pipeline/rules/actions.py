"""What rules do to an event. Pure, but for what a hook does.

An action changes the fields in place or notes its decision in the `Case`. A value that loses its name to another one
is moved under `app.`, never lost, but where a rule says so (`set`, `remove`).
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import re2

from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.parsing import json_body, level
from pipeline.rules import conditions, field_names
from pipeline.rules.parse_action import Parser
from pipeline.rules.redaction import Redaction

Fields = dict[str, Any]

_PLACEHOLDER = re.compile(r"\$\{([^{}]+)\}")


@dataclass(slots=True)
class EventContext:
    """One event before the rules: where it stood, and what was decided.

    `container` has what is known of its container; `dropped` is the rule that drops it, `kept` whether one keeps it,
    `faults` are the rules whose hook failed.
    """

    identity: str
    offset: int
    container: Fields
    dropped_by: str = ""
    kept: bool = False
    route: str = ""
    failed_hooks: list[str] = field(default_factory=list)


Action = Callable[[str, Fields, EventContext], None]
"""Called with the rule's name, the event's fields and its case."""


def drop(rule: str, _: Fields, case: EventContext) -> None:
    """The event becomes no document, and is counted under the rule's name."""
    case.dropped_by = rule


def keep(_: str, __: Fields, case: EventContext) -> None:
    """No later rule drops or samples the event, nor does the filter of health probes."""
    case.kept = True


def sample(rate: float) -> Action:
    """Keep that part of the events, the same ones whenever they are read: by the document's id.

    What a lower rate keeps, a higher one keeps too.
    """
    limit = int(rate * 2**64)

    def sampled(rule: str, fields: Fields, case: EventContext) -> None:
        digest = hashlib.blake2b(b"%b-%010x" % (case.identity.encode(), case.offset), digest_size=8).digest()
        if int.from_bytes(digest) < limit:
            fields["crisp.sample"] = min(rate, fields.get("crisp.sample", 1.0))
        else:
            case.dropped_by = rule

    return sampled


def route(name: str) -> Action:
    """The document goes to the indices of a route."""

    def routed(_: str, __: Fields, case: EventContext) -> None:
        case.route = name

    return routed


def assign(values: Fields) -> Action:
    """Fields get values, whatever they had; `${name}` in a text is that field's value, and no value without it."""
    plain = {name: value for name, value in values.items() if not (isinstance(value, str) and placeholders(value))}
    filled = [(name, _Template(value)) for name, value in values.items() if name not in plain]

    def assigned(_: str, fields: Fields, case: EventContext) -> None:
        made = [(name, template.fill(fields, case.container)) for name, template in filled]
        fields.update(plain)
        fields.update({name: value for name, value in made if value is not None})

    return assigned


def value_of(name: str, fields: Fields, container: Fields) -> Any:
    """A field's value, of the event, its container or the container's labels and annotations."""
    if name in fields:
        return fields[name]
    if name in container:
        return container[name]
    for root in ("kubernetes.labels", "kubernetes.annotations"):
        if name.startswith(f"{root}."):
            return (container.get(root) or {}).get(name[len(root) + 1 :])
    return None


def placeholders(text: str) -> list[str]:
    """The fields that a text is to be filled with."""
    return _PLACEHOLDER.findall(text)


class _Template:
    """A text taken apart once: what stands between the names, and the names."""

    def __init__(self, text: str) -> None:
        parts = _PLACEHOLDER.split(text)
        self._literals, self._names = parts[::2], [field_names.full_name(name) for name in parts[1::2]]

    def fill(self, fields: Fields, container: Fields) -> str | None:
        """The text with the values in it; None where one is absent or is no single value."""
        made = [self._literals[0]]
        for name, after in zip(self._names, self._literals[1:], strict=True):
            value = value_of(name, fields, container)
            if value is None or isinstance(value, list | dict):
                return None
            made += [conditions.as_text(value), after]
        return "".join(made)


def rename(pairs: dict[str, str]) -> Action:
    """Fields get other names."""

    def renamed(_: str, fields: Fields, __: EventContext) -> None:
        for old, new in pairs.items():
            if old in fields:
                assign_keeping_old(fields, new, fields.pop(old))

    return renamed


def assign_keeping_old(fields: Fields, name: str, value: Any) -> None:
    """Put a value under a name; what had the name goes under `app.`, beside what is there already."""
    if name in fields and fields[name] != value:
        aside = f"{APPLICATION_PREFIX}.{name}"
        before = fields.get(aside, fields)
        held = [] if before is fields else before if isinstance(before, list) else [before]
        fields[aside] = [*held, fields[name]] if held else fields[name]
    if name == "log.level":
        value = level.normalize(value) or value
    fields[name] = value


def remove(texts: list[str]) -> Action:
    """Fields go; a name may have `*` in it."""
    exact = [text for text in texts if "*" not in text]
    begins = tuple(text[:-1] for text in texts if text.count("*") == 1 and text.endswith("*"))
    patterns = [
        re2.compile(conditions.glob_to_pattern(text)) for text in texts if "*" in text and text[:-1] not in begins
    ]

    def meets(name: str) -> bool:
        return name.startswith(begins) or any(pattern.match(name) for pattern in patterns)

    def removed(_: str, fields: Fields, __: EventContext) -> None:
        for name in exact:
            fields.pop(name, None)
        if begins or patterns:
            for name in [name for name in fields if meets(name) and json_body.is_writable(name)]:
                del fields[name]

    return removed


@dataclass(frozen=True, slots=True)
class Redact:
    """Secrets in some fields, or in all, are replaced."""

    redaction: Redaction
    target_fields: tuple[str, ...] = ()

    def __call__(self, _: str, fields: Fields, __: EventContext) -> None:
        """As an `Action`."""
        if not self.target_fields:
            self.redaction.redact_fields(fields)
        for name in self.target_fields:
            if name in fields:
                fields[name] = self.redaction.redact_value(fields[name], name)


def parse(parser: Parser, source: str) -> Action:
    """Fields out of the text of a field, which stays; a text that is not of the format stays as it is."""

    def parsed(_: str, fields: Fields, __: EventContext) -> None:
        text = fields.get(source)
        found = parser(text) if isinstance(text, str) else None
        for name, value in (found or {}).items():
            if name == source == "message":
                fields[name] = value
            else:
                assign_keeping_old(fields, name, value)

    return parsed


def hook(function: Callable[[Fields], Any]) -> Action:
    """A user's function gets a copy of the fields, and may return others, or False to drop the event.

    Whatever goes wrong in it is counted, and the event goes on as it was.
    """

    def hooked(rule: str, fields: Fields, case: EventContext) -> None:
        try:
            answer = _call_hook(function, fields, case.container)
        except (Exception, SystemExit):  # noqa: BLE001 - a user's code: no fault of it may lose the line
            case.failed_hooks.append(rule)
            return
        if answer is None:
            case.dropped_by = rule
            return
        ours = {name: value for name, value in fields.items() if not json_body.is_writable(name)}
        fields.clear()
        fields.update(answer)
        fields.update(ours)

    return hooked


def _call_hook(function: Callable[[Fields], Any], fields: Fields, container: Fields) -> Fields | None:
    """The fields that a hook leaves, through JSON as an application's own are; None when it drops the event."""
    given = orjson.loads(orjson.dumps({**container, **fields}))
    answer = function(given)
    if answer is False:
        return None
    made = given if answer is None else answer
    if not isinstance(made, dict):
        raise TypeError(f"a hook returns fields, None or False, not {type(made).__name__}")
    own = {name: value for name, value in made.items() if not _is_unchanged(name, value, fields, container)}
    found = json_body.parse_fields(orjson.dumps(own), len(own) + 1000)
    if found is None:
        raise ValueError("what the hook left is not an object of JSON")
    return found


def _is_unchanged(name: str, value: Any, fields: Fields, container: Fields) -> bool:
    """Whether a hook left alone what is not the event's to change."""
    if name in fields:
        return not json_body.is_writable(name) and value == fields[name]
    return name in container and value == container[name]
