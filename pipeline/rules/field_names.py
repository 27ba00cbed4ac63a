"""Names of fields in rules. Pure.

Common fields have short names; any other name is a document's field as it is. A container's fields are the same for all
its lines; fields that the pipeline sets after the rules cannot be in conditions; and fields that would break
ids, order or the container's metadata cannot be set.
"""

from pipeline.contract.ecs import FIELDS, FLATTENED
from pipeline.parsing.json import json_body

SHORT_NAMES = {
    "namespace": "kubernetes.namespace",
    "pod": "kubernetes.pod.name",
    "container": "kubernetes.container.name",
    "node": "kubernetes.node.name",
    "stream": "log.iostream",
    "level": "log.level",
    # The usual spelling in probe filters; in ECS the path is part of the URL.
    "http.request.path": "url.path",
}
PREFIXES = {
    "label.": "kubernetes.labels.",
    "labels.": "kubernetes.labels.",
    "annotation.": "kubernetes.annotations.",
    "annotations.": "kubernetes.annotations.",
}
GROUPS = {"label": "label.", "labels": "labels.", "annotation": "annotation.", "annotations": "annotations."}
"""Groups whose value may be a mapping of names: `label: {app: web}`."""
FIELD_GROUP = "field"
"""The group whose names are used as they are: `field: {namespace: x}` is the application's own `namespace`."""

_CONTAINER_PREFIXES = ("kubernetes.", "container.", "orchestrator.", "agent.")
_FROM_LOG_PATH = frozenset(
    {"kubernetes.namespace", "kubernetes.pod.name", "kubernetes.pod.uid", "kubernetes.container.name", "container.name"}
)
_FROM_EVENT = frozenset({"log.iostream", "log.flags"})
_SET_AFTER_RULES = frozenset({"@timestamp", "log.offset", "log.length", "log.file.path", "log.iotime"}) | {
    "event.created",
    "event.ingested",
}
PATH_VALUED_FIELDS = frozenset({"url.path", "url.original", "url.full", "process.executable", "log.origin.file.name"})
"""Fields whose values may begin and end with a slash, like a pattern."""


def full_name(name: str) -> str:
    """Return the document's name of a field."""
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    for short, full in PREFIXES.items():
        if name.startswith(short) and len(name) > len(short):
            return full + name[len(short) :]
    return name


def written_name(name: str) -> str:
    """Return the document's name of a field that a rule sets: `labels.x` is ECS's own, not the pod's label x."""
    return name if name.startswith("labels.") else full_name(name)


def is_container_field(name: str) -> bool:
    """Return whether a field is the same for every line of a container."""
    return name == "host.name" or name.startswith(_CONTAINER_PREFIXES)


def is_pod_field(name: str) -> bool:
    """Return whether a field's value comes from a Pod object, not from the path of a log file."""
    return (is_container_field(name) or name.startswith("service.")) and name not in _FROM_LOG_PATH


def why_not_conditionable(name: str) -> str:
    """Return why a field cannot be in a condition; empty if it can."""
    if name in _SET_AFTER_RULES or name.startswith(("crisp.", "data_stream.")):
        return f'"{name}" is set after the rules are applied'
    if is_container_field(name) and name not in FIELDS and not any(name.startswith(f"{root}.") for root in FLATTENED):
        return f'"{name}" is not a container field'
    if name in FLATTENED:
        return f'"{name}" has many keys: name one, as in {name}.app'
    return ""


def why_read_only(name: str) -> str:
    """Return why rules and applications may not set a field; empty if they may."""
    if name in _FROM_EVENT or not json_body.is_writable(name):
        return f'"{name}" is reserved by crisp: a rule cannot change it'
    return ""


def is_known(name: str) -> bool:
    """Return whether crisp may set a field of this full name; others are fields of applications, or typing errors."""
    return name in FIELDS or name.startswith(("kubernetes.labels.", "kubernetes.annotations.", "labels.", "app."))


def likely_typo_of(name: str) -> str:
    """Return the name that an unknown field name is probably a typo of; empty if none."""
    if is_known(full_name(name)):
        return ""
    group, dot, rest = name.partition(".")
    if not dot:
        return next((short for short in (*SHORT_NAMES, *GROUPS, "message") if _is_one_edit_apart(short, name)), "")
    meant = next((short for short in GROUPS if _is_one_edit_apart(short, group)), "")
    return f"{meant}.{rest}" if meant else next((full for full in FIELDS if _is_one_edit_apart(full, name)), "")


def _is_one_edit_apart(known: str, name: str) -> bool:
    """Return whether the names differ by one inserted, deleted, replaced or swapped letter."""
    if known == name or abs(len(known) - len(name)) > 1 or len(name) < 3:
        return False
    start = next(
        (index for index, (a, b) in enumerate(zip(known, name, strict=False)) if a != b), min(len(known), len(name))
    )
    rest, other_rest = known[start:], name[start:]
    swapped = rest[:2] == other_rest[:2][::-1] and rest[2:] == other_rest[2:]
    return swapped or rest[1:] == other_rest[1:] or rest == other_rest[1:] or rest[1:] == other_rest


def conditionable_names() -> list[str]:
    """Return every known name that a condition can have."""
    return [*SHORT_NAMES, *(name for name in FIELDS if not why_not_conditionable(name))]
