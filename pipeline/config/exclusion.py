"""Which containers are excluded: by the settings, or by their pod's annotations if these settings allow it. Pure."""

from fnmatch import fnmatchcase

from pipeline.config.settings import ShipperSettings
from pipeline.contract import annotations
from pipeline.contract.annotations import STREAMS, PodOptions
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance

NAMESPACE_EXCLUDED = "namespace is excluded"
POD_EXCLUDED = "pod is excluded"
EXCLUDED_BY_ANNOTATION = "pod excludes itself"


class Exclusion:
    """The exclusions of the settings, and the limits of those by annotation."""

    def __init__(self, settings: ShipperSettings) -> None:
        self._namespaces = frozenset(settings.exclude_namespaces)
        self._pods = settings.exclude_pods
        self._by_annotation = settings.pods_may_exclude
        self._prefix = settings.annotation_prefix

    def pod_options(self, pod: JsonObject, container: str) -> PodOptions:
        """Return the options of a container from its Pod object, as far as they are allowed."""
        return self.restrict(annotations.pod_options(pod, container, self._prefix))

    def reason(self, instance: Instance, options: PodOptions) -> str:
        """Return why a container is excluded; empty if it is not."""
        if instance.namespace in self._namespaces:
            return NAMESPACE_EXCLUDED
        if any(fnmatchcase(f"{instance.namespace}/{instance.pod}", pattern) for pattern in self._pods):
            return POD_EXCLUDED
        return EXCLUDED_BY_ANNOTATION if self.restrict(options).excluded_streams.issuperset(STREAMS) else ""

    def restrict(self, options: PodOptions) -> PodOptions:
        """Return the options without exclusions, unless pods may exclude themselves."""
        return options if self._by_annotation else options._replace(excluded_streams=frozenset())
