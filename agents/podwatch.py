"""The pods of this node, from the Kubernetes API: listed, then watched, in a thread of its own.

What was seen is kept by uid until the shipper has no file of the pod any more, and stored beside the checkpoint: a
pod that was deleted while the shipper was down keeps its labels. The API being away stops nothing: files wait a
while for their pod, then go with what their path tells.

Of the official client only the configuration and the connection are used, with raw answers: its models cost more
memory than all the rest of the shipper.
"""

import contextlib
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from pipeline import annotation
from pipeline.errors import SettingsError
from pipeline.pod import Instance
from pipeline.settings import Settings, variable

LIST_LIMIT = 200
WATCH_SECONDS = 240  # the server ends a watch after this
HANG_SECONDS = WATCH_SECONDS + 30  # a watch that is silent for longer is dead
FIRST_PAUSE = 0.2
MOST_PAUSE = 30.0
CONFIG_HASH = "kubernetes.io/config.hash"

log = logging.getLogger(__name__)

Pod = dict[str, Any]
"""What is kept of a Pod object: the parts that `pipeline.pod` reads."""


class Gone(Exception):
    """The API no longer has the history from where the watch should go on: list again."""


class PodWatch:
    """The node's pods as they are known; `changes` counts up whenever one changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shown = frozenset(settings.annotations.split())
        self._pods: dict[str, Pod] = {}
        self._stored = b""
        self._path = Path(settings.state_dir) / "pods.json"
        self._stopping = threading.Event()
        self.changes = 0
        self.trouble = "the API was not asked yet"

    def start(self) -> None:
        """Take what was stored and begin to watch."""
        with contextlib.suppress(FileNotFoundError):
            try:
                self._stored = self._path.read_bytes()
                self._pods.update(orjson.loads(self._stored))
            except ValueError as fault:
                log.warning("stored pods cannot be read, they are asked for again: %s", fault)
        threading.Thread(target=self._run, name="pods", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()

    def of(self, instance: Instance) -> Pod | None:
        """The pod of a container instance, if it is known."""
        return self._pods.get(instance.uid)

    def store(self, kept: set[str]) -> None:
        """Forget pods that are deleted and of which nothing is to be read; store the others. Raises OSError."""
        for uid, pod in list(self._pods.items()):
            if pod.get("deleted") and uid not in kept:
                del self._pods[uid]
        encoded = orjson.dumps({uid: pod for uid, pod in self._pods.items() if uid in kept})
        if encoded != self._stored:
            beside = self._path.with_suffix(".new")
            beside.write_bytes(encoded)
            beside.replace(self._path)
            self._stored = encoded

    def _run(self) -> None:
        pause = FIRST_PAUSE
        version = ""
        while not self._stopping.is_set():
            try:
                api = _connect(self._settings)
                if not version:
                    version = self._list(api)
                self.trouble = ""
                pause = FIRST_PAUSE
                version = self._watch(api, version)
            except Gone:
                version = ""
            except Exception as fault:  # noqa: BLE001 - whatever the network and its libraries raise: told, tried again
                self.trouble = f"pods cannot be watched: {fault}"
                log.warning("pods cannot be watched, tried again: %s", fault)
                self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(MOST_PAUSE, 2 * pause)

    def _list(self, api: "_Api") -> str:
        """Take all pods there are; those not there any more are deleted. Returns the version to watch from."""
        found: set[str] = set()
        more = ""
        while True:
            page = api.get({"limit": LIST_LIMIT, **({"continue": more} if more else {})})
            for pod in page["items"]:
                found |= self._take(pod)
            more = page["metadata"].get("continue") or ""
            if not more:
                break
        for uid, pod in self._pods.items():
            if uid not in found:
                pod["deleted"] = True
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, api: "_Api", version: str) -> str:
        """Take changes until the server ends the watch; returns the version reached. Raises Gone."""
        for event in api.watch({"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}):
            kind, about = event["type"], event["object"]
            if kind == "ERROR":
                if about.get("code") == 410:
                    raise Gone
                raise OSError(str(about.get("message")))
            version = about["metadata"]["resourceVersion"]
            if kind != "BOOKMARK":
                for uid in self._take(about):
                    self._pods[uid]["deleted"] = kind == "DELETED"
            if self._stopping.is_set():
                break
        return version

    def _take(self, pod: Pod) -> set[str]:
        """Keep a pod under its uid, and a static one under the uid that its directory has."""
        kept = slim(pod, self._keeps)
        hashed = (pod["metadata"].get("annotations") or {}).get(CONFIG_HASH)
        uids = {uid for uid in (kept["metadata"]["uid"], hashed) if uid}
        for uid in uids:
            self._pods[uid] = dict(kept)
        self.changes += 1
        return uids

    def _keeps(self, name: str) -> bool:
        """Whether an annotation of that name is of any use."""
        return name in self._shown or annotation.steers(name, self._settings.annotation_prefix)


def slim(pod: Pod, keeps: Callable[[str], bool]) -> Pod:
    """What is kept of a Pod object: a node's pods are hundreds, their specs kilobytes. `keeps`: which annotations."""
    about, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    chosen = {name: value for name, value in (about.get("annotations") or {}).items() if keeps(name)}
    owners = [
        {key: owner.get(key) for key in ("kind", "name", "controller")} for owner in about.get("ownerReferences") or ()
    ]
    containers = {
        group: [{key: entry.get(key) for key in ("name", "image")} for entry in spec.get(group) or ()]
        for group in ("containers", "initContainers", "ephemeralContainers")
    }
    statuses = {
        group: [
            {key: entry.get(key) for key in ("name", "containerID", "restartCount", "lastState")}
            for entry in status.get(group) or ()
        ]
        for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    }
    return {
        "metadata": {
            **{key: about.get(key) for key in ("name", "namespace", "uid")},
            "labels": about.get("labels") or {},
            "annotations": chosen,
            "ownerReferences": owners,
        },
        "spec": {"nodeName": spec.get("nodeName"), **containers},
        "status": {"phase": status.get("phase"), **statuses},
    }


class _Api:
    """The pods' address, for one node."""

    def __init__(self, client: Any, node: str) -> None:
        self._client = client
        self._selector = {"fieldSelector": f"spec.nodeName={node}"}

    def _call(self, query: dict[str, Any], timeout: tuple[float, float]) -> Any:
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
            raise OSError(f"status {answer.status}: {answer.data[:200]!r}")
        return answer

    def get(self, query: dict[str, Any]) -> dict[str, Any]:
        """One answer."""
        found: dict[str, Any] = orjson.loads(self._call(query, (5.0, 30.0)).data)
        return found

    def watch(self, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Events as they come, until the server ends."""
        answer = self._call({**query, "timeoutSeconds": WATCH_SECONDS}, (5.0, HANG_SECONDS))
        rest = b""
        try:
            for chunk in answer.stream(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield orjson.loads(line)
        finally:
            answer.release_conn()
            answer.close()


def _connect(settings: Settings) -> _Api:
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
    return _Api(ApiClient(configuration), settings.node_name)


def wanted(settings: Settings, environ: Callable[[str], str | None] = os.environ.get) -> bool:
    """Whether pods are to be asked for. Raises SettingsError where they are, and nothing tells how."""
    reachable = bool(settings.kubeconfig) or bool(environ("KUBERNETES_SERVICE_HOST"))
    if settings.kubernetes == "on" and not reachable:
        raise SettingsError(
            [f"{variable('kubernetes')}: on, but this is no pod and no {variable('kubeconfig')} is set"]
        )
    return settings.kubernetes != "off" and reachable
