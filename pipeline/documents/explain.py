"""Explain the origin of each field of a document. Pure: repeats the worker's steps and inspects the fields in between.

The document itself comes from `DocumentBuilder`; the explanation is shown in addition to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.config.settings import DocumentSettings
from pipeline.contract import record
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import LogSlice
from pipeline.documents import container_fields, event_reader, nul_bytes
from pipeline.documents.builder import DocumentBuilder
from pipeline.documents.container_fields import ContainerFields
from pipeline.documents.event_reader import EXCLUDED_RULE
from pipeline.grouping.event import MULTILINE, Event
from pipeline.grouping.grouper import group_slice
from pipeline.parsing.json import logger_dialects
from pipeline.rules.ruleset import Ruleset

_RECORD_ORIGINS = {
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
_SETTINGS_PREFIXES = ("orchestrator.", "agent.")


@dataclass(slots=True)
class Explanation:
    """One event: its search hit, or the rule that drops it; `origins` by field; `applied_rules` in their order."""

    id: str
    message: str
    hit: JsonObject | None
    rule: str = ""
    origins: dict[str, str] = field(default_factory=dict)
    applied_rules: list[str] = field(default_factory=list)

    def to_json(self) -> JsonObject:
        """Return the JSON object of `crisp parse --explain`."""
        if self.hit is None:
            return {"_id": self.id, "dropped": self.rule, "message": self.message, "rules": self.applied_rules}
        return {**self.hit, "explain": self.origins, **({"rules": self.applied_rules} if self.applied_rules else {})}


class Explainer:
    """Explains the documents that `DocumentBuilder` builds."""

    def __init__(self, settings: DocumentSettings, rules: Ruleset | None) -> None:
        self._settings = settings
        self._rules = rules
        self._builder = DocumentBuilder(settings, rules)

    def explain(self, log_slice: LogSlice, now_ns: int) -> Iterator[Explanation]:
        """Explain each event of a slice. Raises RecordError for invalid metadata."""
        batch = self._builder.build(log_slice, now_ns)
        hits = {hit["_id"]: hit for hit in batch.to_hits()}
        container = container_fields.parse(log_slice.pod, self._settings)
        for event in nul_bytes.remove_from(log_slice, group_slice(log_slice)):
            identity = log_slice.files[event[0]].identity
            document_id = record.document_id(identity, event[1])
            explanation = Explanation(document_id, "", hits.get(document_id))
            yield self._explain_event(event, identity, container, explanation)

    def _explain_event(
        self, event: Event, identity: str, container: ContainerFields, explanation: Explanation
    ) -> Explanation:
        reader = event_reader.make_reader(container, self._settings)
        fields = reader.read_fields(event)
        explanation.message = str(fields["message"])
        origins = _line_origins(event, fields)
        rules = self._rules.compile_for({**container.constant, **container.service_defaults}) if self._rules else None
        kept = False
        if rules is not None:
            before = dict(fields)

            def record_changes(rule: str) -> None:
                explanation.applied_rules.append(rule)
                changed = [name for name, value in fields.items() if name not in before or before[name] != value]
                origins.update(dict.fromkeys(changed, f"rule {rule}"))
                before.clear()
                before.update(fields)

            result = rules.apply(fields, identity, event[1], record_changes)
            explanation.rule, kept = result.dropped_by, result.kept
            for rule, _ in result.failed_hooks:
                explanation.applied_rules.append(f"{rule} (its hook failed)")
        explanation.rule = explanation.rule or ("" if kept else reader.probe_rule(fields))
        if event[4] in container.excluded_streams:
            explanation.rule = EXCLUDED_RULE
        if explanation.hit is not None:
            explanation.rule = ""
            explanation.origins = self._field_origins(explanation.hit["_source"], fields, origins, container)
        return explanation

    def _field_origins(
        self, source: JsonObject, fields: JsonObject, origins: dict[str, str], container: ContainerFields
    ) -> dict[str, str]:
        """Return the origin of each field of the document, in the document's order."""
        field_origins = {}
        for name, value in source.items():
            origin = self._container_origin(name, container) if name not in fields else origins.get(name, "")
            if name == "@timestamp":
                origin = "the runtime" if "log.iotime" not in source else origins.get(name, "the line's own time")
            elif name == "log.iotime":
                origin = "the runtime"
            elif name == "app.@timestamp" and not origin:
                origin = "the line's own time, which is not near the runtime's"
            elif name in fields and fields[name] != value and name not in _RECORD_ORIGINS:
                origin = f"{origin}, redacted"
            field_origins[name] = origin or _RECORD_ORIGINS.get(name) or "redaction"
        return field_origins

    def _container_origin(self, name: str, container: ContainerFields) -> str:
        if name in _RECORD_ORIGINS:
            return _RECORD_ORIGINS[name]
        if name in container.service_defaults:
            return self._service_origin(name, container)
        if name not in container.constant:
            return ""
        return "settings" if name.startswith(_SETTINGS_PREFIXES) else "pod metadata"

    def _service_origin(self, name: str, container: ContainerFields) -> str:
        labels = container.constant.get("kubernetes.labels") or {}
        value = container.service_defaults[name]
        label_names = {
            "service.name": list(self._settings.service_labels),
            "service.version": ["version", "app.kubernetes.io/version"],
            "service.environment": ["environment"],
        }.get(name)
        if label_names is None:
            return "crisp"
        label = next((label for label in label_names if labels.get(label) == value), None)
        if label is not None:
            return f"label {label}"
        if name == "service.environment":
            return "settings" if value == self._settings.environment else "namespace"
        return "container's name"


def _line_origins(event: Event, fields: JsonObject) -> dict[str, str]:
    """Return the origins of the fields that the line itself sets."""
    content, flags = event[5], event[6]
    body = _flat_json_body(content) if not flags else None
    if body is None:
        origins = dict.fromkeys(fields, "text format")
        origins["message"] = "the line"
    else:
        spelled = {name.partition("/")[0]: alias for alias, name in logger_dialects.find_spellings(tuple(body)).items()}
        origins = {}
        for name in fields:
            alias = spelled.get(name) or spelled.get(_DERIVED_FROM.get(name, ""))
            origins[name] = "JSON body" if name in body or alias is None else f"JSON body, {alias}"
        if "message" not in body and "message" not in spelled:
            origins["message"] = "the line"
    if flags & MULTILINE:
        origins.update({name: "stack trace" for name in fields if name.startswith("error.")})
    origins.update({name: _RECORD_ORIGINS[name] for name in fields if name in _RECORD_ORIGINS})
    return origins


_DERIVED_FROM = {
    **dict.fromkeys(("url.path", "url.query", "url.domain", "url.scheme", "http.version"), "url.original"),
    **dict.fromkeys(("log.origin.file.line", "log.origin.function"), "log.origin.file.name"),
    "source.ip": "source.address",
    "event.severity": "log.level",
    "http.request.method": "url.original",
}
"""Fields that are derived from the value of another field."""


def _flat_json_body(content: bytes) -> JsonObject | None:
    """Return the fields of a JSON body, nested names joined by dots; None if the content is not JSON."""
    if content.lstrip(event_reader.BLANKS)[:1] != b"{":
        return None
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    fields: JsonObject = {}
    pending: list[tuple[str, Any]] = [("", body)]
    while pending:
        name, value = pending.pop()
        if isinstance(value, dict) and value:
            pending += [(f"{name}.{key}" if name else key, inner) for key, inner in value.items()]
        else:
            fields[name] = value
    return fields
