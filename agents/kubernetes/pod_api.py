"""The pods of one node at the Kubernetes API: a list of them, and a watch of what changes.

Of the official client only the configuration and the connection are used, with raw answers: its models cost more
memory than all the rest of the shipper.
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
WATCH_READ_TIMEOUT_SECONDS = 90  # a watch that is silent for longer is dead: there is a bookmark every minute
CONNECT_TIMEOUT_SECONDS = 5.0
LIST_TIMEOUT_SECONDS = 30.0


class Gone(Exception):
    """The API no longer has the history from where the watch should go on: list again."""


class StatusError(Exception):
    """The API's answer is no; where a watch should go on may be the reason."""


class PodApi:
    """Pods' address, for one node, with the credentials of the moment."""

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
        answer = self._client.call_api(method, url, headers, _request_timeout=timeout).response
        if answer.status == 410:
            raise Gone
        if answer.status != 200:
            raise StatusError(f"status {answer.status}: {answer.data[:200]!r}")
        return answer

    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """One answer. Raises Gone, Refused and what the network's libraries raise."""
        found: dict[str, Any] = orjson.loads(self._request(query, (CONNECT_TIMEOUT_SECONDS, LIST_TIMEOUT_SECONDS)).data)
        return found

    def watch(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Events as they come, until the server ends. Raises as `get`, and where it is cut."""
        answer = self._request(
            {**query, "timeoutSeconds": WATCH_TIMEOUT_SECONDS}, (CONNECT_TIMEOUT_SECONDS, WATCH_READ_TIMEOUT_SECONDS)
        )
        self._watch_connection = answer.connection
        rest = b""
        try:
            for chunk in answer.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield orjson.loads(line)
        finally:
            self._watch_connection = None
            answer.release_conn()
            answer.close()

    def abort_watch(self) -> None:
        """End the watch that is going on, from another thread; its reader sees an end at once."""
        held = getattr(self._watch_connection, "sock", None)
        if held is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(held, socket.SHUT_RDWR)  # beneath TLS, which is the reader's


def connect(settings: Settings) -> PodApi:
    """A connection with fresh credentials: a service account's token is renewed every hour."""
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
    """Whether pods are to be asked for. Raises SettingsError where they are, and nothing tells how."""
    reachable = bool(settings.kubeconfig) or bool(environ("KUBERNETES_SERVICE_HOST"))
    if settings.kubernetes == "on" and not reachable:
        raise SettingsError(
            [f"{env_name('kubernetes')}: on, but this is no pod and no {env_name('kubeconfig')} is set"]
        )
    return settings.kubernetes != "off" and reachable
