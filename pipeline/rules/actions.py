"""Actions of rules. Pure, except for hooks.

An action changes the fields in place or records its decision in the `EventContext`. A value whose name gets another
value moves under `app.`; only `set` and `remove` discard values.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import re2

from pipeline.contract import ecs
from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.contract.json_types import JsonObject
from pipeline.parsing import level
from pipeline.parsing.json import flatten, json_body
from pipeline.rules import conditions, field_names
from pipeline.rules.parse_action import Parser
from pipeline.rules.redaction.redaction import Redaction

_PLACEHOLDER = re.compile(r"\$\{([^{}]+)\}")


@dataclass(slots=True)
class EventContext:
    """Position of an event and the decisions of the rules about it.

    `container` has the fields of its container; `dropped_by` is the rule that drops the event, `kept` is set if a rule
    keeps it, `failed_hooks` are the rules whose hook failed, and the errors.
    """

    identity: str
    offset: int
    container: JsonObject
    dropped_by: str = ""
    kept: bool = False
    route: str = ""
    failed_hooks: list[tuple[str, BaseException]] = field(default_factory=list)


Action = Callable[[str, JsonObject, EventContext], None]
"""Called with the rule's name, the event's fields and its context."""


def drop(rule: str, _: JsonObject, context: EventContext) -> None:
    """Drop the event, counted under the rule's name."""
    context.dropped_by = rule


def keep(_: str, __: JsonObject, context: EventContext) -> None:
    """Exempt the event from later `drop` and `sample` rules and from the health probe filter."""
    context.kept = True


def sample(rate: float) -> Action:
    """Keep this fraction of the events, by the document's id: the same events at every processing.

    A higher rate keeps all events of a lower rate.
    """
    limit = int(rate * 2**64)

    def sampled(rule: str, fields: JsonObject, context: EventContext) -> None:
        digest = hashlib.blake2b(b"%b-%010x" % (context.identity.encode(), context.offset), digest_size=8).digest()
        if int.from_bytes(digest) < limit:
            fields["crisp.sample"] = min(rate, fields.get("crisp.sample", 1.0))
        else:
            context.dropped_by = rule

    return sampled


def route(name: str) -> Action:
    """Write the document to the indices of a route."""

    def routed(_: str, __: JsonObject, context: EventContext) -> None:
        context.route = name

    return routed


def assign(values: JsonObject) -> Action:
    """Set fields; `${name}` in a text is that field's value; a text with an absent field is not set."""
    plain = {name: value for name, value in values.items() if not (isinstance(value, str) and placeholders(value))}
    filled = [(name, _Template(value)) for name, value in values.items() if name not in plain]

    def assigned(_: str, fields: JsonObject, context: EventContext) -> None:
        rendered = [(name, template.fill(fields, context.container)) for name, template in filled]
        fields.update(plain)
        fields.update({name: value for name, value in rendered if value is not None})

    return assigned


def value_of(name: str, fields: JsonObject, container: JsonObject) -> Any:
    """Return a field's value from the event, its container or the container's labels and annotations."""
    if name in fields:
        return fields[name]
    if name in container:
        return container[name]
    for root in ("kubernetes.labels", "kubernetes.annotations"):
        if name.startswith(f"{root}."):
            return (container.get(root) or {}).get(name[len(root) + 1 :])
    return None


def placeholders(text: str) -> list[str]:
    """Return the fields that a text refers to."""
    return _PLACEHOLDER.findall(text)


class _Template:
    """A text with `${name}` placeholders, split once into names and the literal text between them."""

    def __init__(self, text: str) -> None:
        parts = _PLACEHOLDER.split(text)
        self._literals, self._names = parts[::2], [field_names.full_name(name) for name in parts[1::2]]

    def fill(self, fields: JsonObject, container: JsonObject) -> str | None:
        """Return the text with the values; None if a value is absent, a list or an object."""
        rendered = [self._literals[0]]
        for name, literal in zip(self._names, self._literals[1:], strict=True):
            value = value_of(name, fields, container)
            if value is None or isinstance(value, list | dict):
                return None
            rendered += [conditions.as_text(value), literal]
        return "".join(rendered)


def rename(pairs: dict[str, str]) -> Action:
    """Rename fields."""

    def renamed(_: str, fields: JsonObject, __: EventContext) -> None:
        for old, new in pairs.items():
            if old in fields:
                assign_keeping_old(fields, new, fields.pop(old))

    return renamed


def assign_keeping_old(fields: JsonObject, name: str, value: Any) -> None:
    """Set a field; its old value goes under `app.`, in addition to earlier ones."""
    if name in fields and fields[name] != value:
        flatten.append_value(fields, f"{APPLICATION_PREFIX}.{name}", fields[name])
    if name == "log.level":
        value = level.normalize(value) or value
    fields[name] = value


def remove(texts: list[str]) -> Action:
    """Remove fields; `*` in a name matches any text."""
    exact = [text for text in texts if "*" not in text]
    prefixes = tuple(text[:-1] for text in texts if text.count("*") == 1 and text.endswith("*"))
    patterns = [
        re2.compile(conditions.glob_to_pattern(text)) for text in texts if "*" in text and text[:-1] not in prefixes
    ]

    def matches(name: str) -> bool:
        return name.startswith(prefixes) or any(pattern.match(name) for pattern in patterns)

    def removed(_: str, fields: JsonObject, __: EventContext) -> None:
        for name in exact:
            fields.pop(name, None)
        if prefixes or patterns:
            for name in [name for name in fields if matches(name) and json_body.is_writable(name)]:
                del fields[name]

    return removed


@dataclass(frozen=True, slots=True)
class Redact:
    """Replaces secrets in some fields, or in all."""

    redaction: Redaction
    target_fields: tuple[str, ...] = ()

    def __call__(self, _: str, fields: JsonObject, __: EventContext) -> None:
        """Implement `Action`."""
        if not self.target_fields:
            self.redaction.redact_fields(fields)
        for name in self.target_fields:
            if name in fields:
                text = fields[name]
                fields[name] = self.redaction.redact_value(text, name)
                if isinstance(text, str) and fields[name] != text:
                    self._redact_copies(fields, text)

    def _redact_copies(self, fields: JsonObject, text: str) -> None:
        """Redact the fields that were parsed from a text with secrets, such as `error.message`."""
        secrets = self.redaction.secrets(text)
        for name, value in fields.items():
            if name in ecs.FIELDS and isinstance(value, str) and value and value in text:
                for secret, replacement in secrets:
                    value = value.replace(secret, replacement)  # noqa: PLW2901 - all secrets of one value
                fields[name] = self.redaction.redact_value(value, name)


def parse(parser: Parser, source: str) -> Action:
    """Parse the text of a field to more fields; the text itself stays, and a text of another format adds none."""

    def parsed(_: str, fields: JsonObject, __: EventContext) -> None:
        text = fields.get(source)
        parsed = parser(text) if isinstance(text, str) else None
        for name, value in (parsed or {}).items():
            if name == source == "message":
                fields[name] = value
            else:
                assign_keeping_old(fields, name, value)

    return parsed


def hook(function: Callable[[JsonObject], Any]) -> Action:
    """Call a user's function with a copy of the fields; it may return other fields, or False to drop the event.

    Its errors are counted, and the event stays unchanged.
    """

    def hooked(rule: str, fields: JsonObject, context: EventContext) -> None:
        try:
            result = _call_hook(function, fields, context.container)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - an error in a user's code must not lose the line
            context.failed_hooks.append((rule, error))
            return
        if result is None:
            context.dropped_by = rule
            return
        reserved = {name: value for name, value in fields.items() if not json_body.is_writable(name)}
        fields.clear()
        fields.update(result)
        fields.update(reserved)

    return hooked


def _call_hook(function: Callable[[JsonObject], Any], fields: JsonObject, container: JsonObject) -> JsonObject | None:
    """Return the fields after a hook, parsed like an application's JSON; None when it drops the event."""
    copy = orjson.loads(orjson.dumps({**container, **fields}))
    result = function(copy)
    if result is False:
        return None
    returned = copy if result is None else result
    if not isinstance(returned, dict):
        raise TypeError(f"a hook returns fields, None or False, not {type(returned).__name__}")
    changed = {name: value for name, value in returned.items() if not _is_unchanged(name, value, fields, container)}
    parsed = json_body.parse_fields(orjson.dumps(changed), len(changed) + 1000)
    if parsed is None:
        raise ValueError("the hook's fields are not a JSON object")
    return parsed


def _is_unchanged(name: str, value: Any, fields: JsonObject, container: JsonObject) -> bool:
    """Return whether a reserved field or a container's field has the same value as before the hook."""
    if name in fields:
        return not json_body.is_writable(name) and value == fields[name]
    return name in container and value == container[name]
