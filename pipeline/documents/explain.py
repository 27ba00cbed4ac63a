"""Where each field of a document came from. Pure: the worker's own steps, one by one, looked at in between.

The document itself is what `Documents` makes of the slice; an explanation is told beside it, never instead.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.config.settings import Settings
from pipeline.contract import record
from pipeline.contract.record import LogSlice
from pipeline.documents import container_fields, event_reader
from pipeline.documents.builder import Documents
from pipeline.documents.container_fields import Container
from pipeline.documents.event_reader import EXCLUDED_RULE
from pipeline.grouping.event import MULTILINE, Event
from pipeline.grouping.grouper import events_of
from pipeline.parsing import logger_dialects
from pipeline.rules.ruleset import Ruleset
from pipeline.rules.test_case import hits

Fields = dict[str, Any]

_OF_RECORD = {
    "log.offset": "place in the file",
    "log.length": "place in the file",
    "log.file.path": "path of the file",
    "log.iostream": "the CRI line",
    "event.created": "when it was read",
    "event.ingested": "when it was parsed",
    "log.flags": "joining of lines",
    "crisp.part": "joining of lines",
    "crisp.rules": "rules file",
}
_OF_SETTINGS = ("orchestrator.", "agent.")


@dataclass(slots=True)
class Told:
    """One event: its hit, or the rule that drops it; `origins` by field, `applied` the rules that it met."""

    id: str
    message: str
    hit: Fields | None
    rule: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    applied: list[str] = field(default_factory=list)

    def row(self) -> Fields:
        """As JSON."""
        if self.hit is None:
            return {"_id": self.id, "dropped": self.rule, "message": self.message, "rules": self.applied}
        return {**self.hit, "explain": self.origins, **({"rules": self.applied} if self.applied else {})}


class Explainer:
    """Tells of slices what `Documents` makes of them, and why."""

    def __init__(self, settings: Settings, rules: Ruleset | None) -> None:
        self._settings = settings
        self._rules = rules
        self._documents = Documents(settings, rules)

    def of(self, part: LogSlice, now_ns: int) -> Iterator[Told]:
        """Each event of a slice. Raises RecordError for broken metadata."""
        parcel = self._documents.of(part, now_ns)
        made = {hit["_id"]: hit for hit in hits(parcel.documents)}
        known = container_fields.read(part.pod, self._settings)
        for event in events_of(part):
            identity = part.files[event[0]].identity
            name = record.document_id(identity, event[1])
            yield self._told(event, identity, known, Told(name, "", made.get(name)))

    def _told(self, event: Event, identity: str, known: Container, told: Told) -> Told:
        reader = event_reader.reader(known, self._settings)
        fields = reader.fields(event)
        told.message = str(fields["message"])
        origins = _of_line(event, fields)
        ruling = self._rules.of({**known.constant, **known.service}) if self._rules else None
        kept = False
        if ruling is not None:
            before = dict(fields)

            def seen(rule: str) -> None:
                told.applied.append(rule)
                changed = [name for name, value in fields.items() if name not in before or before[name] != value]
                origins.update(dict.fromkeys(changed, f"rule {rule}"))
                before.clear()
                before.update(fields)

            case = ruling.judge(fields, identity, event[1], seen)
            told.rule, kept = case.dropped, case.kept
            for rule in case.faults:
                told.applied.append(f"{rule} (its hook failed)")
        told.rule = told.rule or ("" if kept else reader.probe(fields))
        if event[4] in known.excluded:
            told.rule = EXCLUDED_RULE
        if told.hit is not None:
            told.rule = ""
            told.origins = self._origins(told.hit["_source"], fields, origins, known)
        return told

    def _origins(self, source: Fields, fields: Fields, origins: dict[str, str], known: Container) -> dict[str, str]:
        """The origin of each field as it came to be in the document, in the document's order."""
        found = {}
        for name, value in source.items():
            origin = self._of_container(name, known) if name not in fields else origins.get(name, "")
            if name == "@timestamp":
                origin = "the runtime" if "log.iotime" not in source else origins.get(name, "the line's own time")
            elif name == "log.iotime":
                origin = "the runtime"
            elif name == "app.@timestamp" and not origin:
                origin = "the line's own time, which is not near the runtime's"
            elif name in fields and fields[name] != value and name not in _OF_RECORD:
                origin = f"{origin}, redacted"
            found[name] = origin or _OF_RECORD.get(name) or "redaction"
        return found

    def _of_container(self, name: str, known: Container) -> str:
        if name in _OF_RECORD:
            return _OF_RECORD[name]
        if name in known.service:
            return self._of_service(name, known)
        if name not in known.constant:
            return ""
        return "settings" if name.startswith(_OF_SETTINGS) else "pod metadata"

    def _of_service(self, name: str, known: Container) -> str:
        labels = known.constant.get("kubernetes.labels") or {}
        value = known.service[name]
        wanted = {
            "service.name": self._settings.service_labels.split(),
            "service.version": ["version", "app.kubernetes.io/version"],
            "service.environment": ["environment"],
        }.get(name)
        if wanted is None:
            return "crisp"
        label = next((one for one in wanted if labels.get(one) == value), None)
        if label is not None:
            return f"label {label}"
        if name == "service.environment":
            return "settings" if value == self._settings.environment else "namespace"
        return "container's name"


def _of_line(event: Event, fields: Fields) -> dict[str, str]:
    """The origins of what the line itself says."""
    content, flags = event[5], event[6]
    body = _body(content) if not flags else None
    if body is None:
        origins = dict.fromkeys(fields, "text format")
        origins["message"] = "the line"
    else:
        spelled = {wanted.partition("/")[0]: alias for alias, wanted in logger_dialects.spellings(tuple(body)).items()}
        origins = {}
        for name in fields:
            alias = spelled.get(name) or spelled.get(_ROOTS.get(name, ""))
            origins[name] = "JSON body" if name in body or alias is None else f"JSON body, {alias}"
        if "message" not in body and "message" not in spelled:
            origins["message"] = "the line"
    if flags & MULTILINE:
        origins.update({name: "stack trace" for name in fields if name.startswith("error.")})
    origins.update({name: _OF_RECORD[name] for name in fields if name in _OF_RECORD})
    return origins


_ROOTS = {
    **dict.fromkeys(("url.path", "url.query", "url.domain", "url.scheme", "http.version"), "url.original"),
    **dict.fromkeys(("log.origin.file.line", "log.origin.function"), "log.origin.file.name"),
    "source.ip": "source.address",
    "event.severity": "log.level",
    "http.request.method": "url.original",
}
"""Fields that come of another one's value."""


def _body(content: bytes) -> Fields | None:
    """The names of a JSON body, nested ones joined by dots; None for what is none."""
    if content[:1] != b"{":
        return None
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    names: Fields = {}
    waiting: list[tuple[str, Any]] = [("", found)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, dict) and value:
            waiting += [(f"{name}.{key}" if name else key, inner) for key, inner in value.items()]
        else:
            names[name] = value
    return names
