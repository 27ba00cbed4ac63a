"""Names of fields as rules spell them. Pure.

Short names stand for what everybody asks for; any other name is a document's field as it is. What is known of the
container is the same for all its lines; what the pipeline sets after the rules were applied cannot be asked for; and
what would break ids, order or the container's own fields cannot be set.
"""

from pipeline.contract.ecs import FIELDS, FLATTENED
from pipeline.parsing import json_body

SHORT_NAMES = {
    "namespace": "kubernetes.namespace",
    "pod": "kubernetes.pod.name",
    "container": "kubernetes.container.name",
    "node": "kubernetes.node.name",
    "stream": "log.iostream",
    "level": "log.level",
    # Written so by nearly everybody who filters probes; ECS has the path in the URL.
    "http.request.path": "url.path",
}
PREFIXES = {
    "label.": "kubernetes.labels.",
    "labels.": "kubernetes.labels.",
    "annotation.": "kubernetes.annotations.",
    "annotations.": "kubernetes.annotations.",
}
GROUPS = {"label": "label.", "labels": "labels.", "annotation": "annotation.", "annotations": "annotations."}
"""Names whose value may be a mapping of names: `label: {app: web}`."""
FIELD_GROUP = "field"
"""The group whose names are taken as they are: `field: {namespace: x}` is the application's own `namespace`."""

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
"""Fields whose values begin and end with a slash by themselves."""


def full_name(name: str) -> str:
    """The document's name of a field."""
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    for short, whole in PREFIXES.items():
        if name.startswith(short) and len(name) > len(short):
            return whole + name[len(short) :]
    return name


def is_container_field(name: str) -> bool:
    """Whether a field is the same for every line of a container."""
    return name == "host.name" or name.startswith(_CONTAINER_PREFIXES)


def is_pod_field(name: str) -> bool:
    """Whether a field's value comes from a Pod object, not from the path of a log file."""
    return (is_container_field(name) or name.startswith("service.")) and name not in _FROM_LOG_PATH


def why_not_conditionable(name: str) -> str:
    """Why no condition can be on a field, empty if one can."""
    if name in _SET_AFTER_RULES or name.startswith(("crisp.", "data_stream.")):
        return f'"{name}" is set after the rules were applied'
    if is_container_field(name) and name not in FIELDS and not any(name.startswith(f"{root}.") for root in FLATTENED):
        return f'"{name}" is no field of a container'
    if name in FLATTENED:
        return f'"{name}" holds many: say which, as in {name}.app'
    return ""


def why_read_only(name: str) -> str:
    """Why no rule may give a value to a field, empty if one may. An application may not either."""
    if name in _FROM_EVENT or not json_body.is_writable(name):
        return f'"{name}" is crisp\'s own: a rule cannot change it'
    return ""


def likely_typo_of(name: str) -> str:
    """The name that was probably meant by one that only an application could have; empty if none."""
    if name in FIELDS or "." in name:
        return ""
    close = [short for short in (*SHORT_NAMES, *GROUPS) if _is_one_edit_apart(short, name)]
    return close[0] if close else ""


def _is_one_edit_apart(known: str, name: str) -> bool:
    """Whether a letter more, less, other or two swapped make one name of the other."""
    if known == name or abs(len(known) - len(name)) > 1 or len(name) < 3:
        return False
    start = next((at for at, (a, b) in enumerate(zip(known, name, strict=False)) if a != b), min(len(known), len(name)))
    one, other = known[start:], name[start:]
    swapped = one[:2] == other[:2][::-1] and one[2:] == other[2:]
    return swapped or one[1:] == other[1:] or one == other[1:] or one[1:] == other


def conditionable_names() -> list[str]:
    """Every name that crisp itself knows and a condition can be on."""
    return [*SHORT_NAMES, *(name for name in FIELDS if not why_not_conditionable(name))]
