"""List and watch the pods of one node at the Kubernetes API.

Of the official client only the configuration and the connection are used, with raw responses: its models need more
memory than the rest of the shipper.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import orjson

from pipeline.config.settings import Settings, env_name
from pipeline.errors import SettingsError

WATCH_TIMEOUT_SECONDS = 240  # the server ends a watch after this
WATCH_READ_TIMEOUT_SECONDS = 90  # a watch without events for longer is dead: a bookmark is due every minute
CONNECT_TIMEOUT_SECONDS = 5.0
LIST_TIMEOUT_SECONDS = 30.0


class Gone(Exception):
    """HTTP 410: the resourceVersion of the watch has expired; list again."""


class StatusError(Exception):
    """The API returned an error status; an invalid resourceVersion may be the reason."""


class PodApi:
    """The pods of one node, with the credentials of the time of `connect`."""

    def __init__(self, client: Any, node: str) -> None:
        self._client = client
        self._selector = {"fieldSelector": f"spec.nodeName={node}"}
        self._watch_connection: Any = None

    def _request(self, query: dict[str, Any], timeout: tuple[float, float]) -> Any:
        method, url, headers, *_ = self._client.param_serialize(
            method="GET",
            resource_path="/api/v1/pods",
            query_params=list({**self._selector, **query}.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(method, url, headers, _request_timeout=timeout).response
        if response.status == 410:
            raise Gone
        if response.status != 200:
            raise StatusError(f"status {response.status}: {response.data[:200]!r}")
        return response

    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """Return one page of a list. Raises Gone, StatusError and the errors of the HTTP client."""
        page: dict[str, Any] = orjson.loads(self._request(query, (CONNECT_TIMEOUT_SECONDS, LIST_TIMEOUT_SECONDS)).data)
        return page

    def watch(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield events until the server ends the watch. Raises as `get`, and after `abort_watch`."""
        response = self._request(
            {**query, "timeoutSeconds": WATCH_TIMEOUT_SECONDS}, (CONNECT_TIMEOUT_SECONDS, WATCH_READ_TIMEOUT_SECONDS)
        )
        self._watch_connection = response.connection
        rest = b""
        try:
            for chunk in response.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield orjson.loads(line)
        finally:
            self._watch_connection = None
            response.release_conn()
            response.close()

    def abort_watch(self) -> None:
        """Abort the current watch, from another thread: its reader gets end of file at once."""
        connection = getattr(self._watch_connection, "sock", None)
        if connection is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)  # below TLS, which belongs to the reader


def connect(settings: Settings) -> PodApi:
    """Connect with the current credentials: a service account's token is rotated every hour."""
    from kubernetes import config
    from kubernetes.client.api_client import ApiClient
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()
    if settings.kubeconfig:
        config.load_kube_config(settings.kubeconfig, client_configuration=configuration)
    else:
        config.load_incluster_config(client_configuration=configuration)
    configuration.retries = False
    return PodApi(ApiClient(configuration), settings.node_name)


def is_enabled(settings: Settings, environ: Callable[[str], str | None] = os.environ.get) -> bool:
    """Return whether to watch pods. Raises SettingsError if they are required, and no API is configured."""
    reachable = bool(settings.kubeconfig) or bool(environ("KUBERNETES_SERVICE_HOST"))
    if settings.kubernetes == "on" and not reachable:
        raise SettingsError(
            [f"{env_name('kubernetes')}: on, but not running in a pod, and {env_name('kubeconfig')} is not set"]
        )
    return settings.kubernetes != "off" and reachable
