"""What is cached for a container between its slices. Pure."""

import orjson

from pipeline.config.settings import DocumentSettings
from pipeline.contract.json_types import JsonObject
from pipeline.documents import event_reader, metadata_limit
from pipeline.documents.container_fields import ContainerFields
from pipeline.documents.event_reader import OwnFields
from pipeline.documents.metadata_limit import limit_text
from pipeline.rules.ruleset import Ruleset


class ContainerContext:
    """A container: its event reader, the rules compiled for it, and its constant fields."""

    __slots__ = (
        "_constant",
        "_service_defaults",
        "_suffixes",
        "compiled_rules",
        "excluded_streams",
        "metadata_missing",
        "names",
        "reader",
        "route",
    )

    def __init__(self, container: ContainerFields, settings: DocumentSettings, rules: Ruleset | None) -> None:
        self.reader = event_reader.make_reader(container, settings)
        self.excluded_streams = container.excluded_streams
        self.route = container.route
        self.compiled_rules = rules.compile_for({**container.constant, **container.service_defaults}) if rules else None
        self._constant = metadata_limit.limit(container.constant)  # rules see all of the metadata
        self._service_defaults = {name: limit_text(value) for name, value in container.service_defaults.items()}
        self._suffixes: dict[OwnFields, bytes] = {}
        namespace, name = (str(container.constant.get(f, "")) for f in ("kubernetes.namespace", "container.name"))
        self.names = namespace, name
        self.metadata_missing = bool(container.constant.get("crisp.metadata_missing"))

    def suffix(self, own: OwnFields) -> bytes:
        """The container's fields, serialised, without the service fields that a line sets itself."""
        if own not in self._suffixes:
            service = {name: value for name, value in self._service_defaults.items() if name not in own}
            self._suffixes[own] = json_fragment({**self._constant, **service})
        return self._suffixes[own]


def json_fragment(fields: JsonObject) -> bytes:
    """Serialise fields as JSON without the braces, for appending to a document."""
    return orjson.dumps(fields)[1:-1]
