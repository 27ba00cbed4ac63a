"""List and watch the pods of one node at the Kubernetes API."""

import os
from collections.abc import Callable, Iterator

from pipeline.config.settings import ShipperSettings, env_name
from pipeline.contract.json_types import JsonObject
from pipeline.errors import SettingsError
from pipeline.kubernetes.access import ApiAccess, ServiceAccount
from pipeline.kubernetes.client import ApiClient, Query

PATH = "/api/v1/pods"
WATCH_TIMEOUT_SECONDS = 240  # the server ends a watch after this
WATCH_READ_TIMEOUT_SECONDS = 90.0  # a watch without events for longer is dead: a bookmark is due every minute


class PodApi:
    """The pods of one node."""

    def __init__(self, client: ApiClient, node: str) -> None:
        self._client = client
        self._selector: Query = {"fieldSelector": f"spec.nodeName={node}"}

    def get(self, query: Query) -> JsonObject:
        """Return one page of a list. Raises KubernetesError."""
        return self._client.get_object(PATH, {**self._selector, **query})

    def watch(self, query: Query) -> Iterator[JsonObject]:
        """Yield events until the server ends the watch, or `abort_watch`. Raises KubernetesError."""
        query = {**self._selector, **query, "timeoutSeconds": WATCH_TIMEOUT_SECONDS}
        return self._client.watch(PATH, query, WATCH_READ_TIMEOUT_SECONDS)

    def abort_watch(self) -> None:
        """Abort the current watch, from another thread."""
        self._client.abort_watch()


def connect(settings: ShipperSettings) -> PodApi:
    """Return the pods of this node, with the kubeconfig in the settings or this pod's service account.

    Raises KubernetesError.
    """
    return PodApi(ApiClient(_access(settings)), settings.node_name)


def _access(settings: ShipperSettings) -> ApiAccess:
    if not settings.kubeconfig:
        return ServiceAccount()
    from pipeline.kubernetes.kubeconfig import Kubeconfig  # imported here: in a pod it would need 18 MiB for nothing

    return Kubeconfig(settings.kubeconfig)


def is_enabled(settings: ShipperSettings, environ: Callable[[str], str | None] = os.environ.get) -> bool:
    """Return whether to watch pods. Raises SettingsError if they are required, and no API is configured."""
    reachable = bool(settings.kubeconfig) or bool(environ("KUBERNETES_SERVICE_HOST"))
    if settings.kubernetes == "on" and not reachable:
        raise SettingsError(
            [f"{env_name('kubernetes')}: on, but not running in a pod, and {env_name('kubeconfig')} is not set"]
        )
    return settings.kubernetes != "off" and reachable
