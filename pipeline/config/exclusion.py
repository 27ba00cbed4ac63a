"""Which containers are not read: by the settings, or where these allow it because their pod asks for it. Pure."""

from fnmatch import fnmatchcase
from typing import Any

from pipeline.config.settings import Settings
from pipeline.contract import annotations
from pipeline.contract.annotations import STREAMS, Wish
from pipeline.contract.pod_metadata import Instance

NAMESPACE = "namespace is excluded"
POD = "pod is excluded"
ITSELF = "pod excludes itself"


class Exclusion:
    """What the settings say of it."""

    def __init__(self, settings: Settings) -> None:
        self._namespaces = frozenset(settings.exclude_namespaces.split())
        self._pods = settings.exclude_pods.split()
        self._by_annotation = settings.pods_may_exclude
        self._prefix = settings.annotation_prefix

    def wish(self, pod: dict[str, Any], container: str) -> Wish:
        """What a Pod object asks for a container, as far as it may."""
        return self.allowed(annotations.of(pod, container, self._prefix))

    def rule(self, instance: Instance, wish: Wish) -> str:
        """Why a container is not read, empty for one that is."""
        if instance.namespace in self._namespaces:
            return NAMESPACE
        if any(fnmatchcase(f"{instance.namespace}/{instance.pod}", pattern) for pattern in self._pods):
            return POD
        return ITSELF if self.allowed(wish).excluded.issuperset(STREAMS) else ""

    def allowed(self, wish: Wish) -> Wish:
        """What a pod asks for, but for what it may not ask for."""
        return wish if self._by_annotation else wish._replace(excluded=frozenset())
