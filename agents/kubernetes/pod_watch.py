"""The pods of this node, from the Kubernetes API: listed, then watched, in a thread of its own.

What was seen is kept by uid until the shipper has no file of the pod any more, and stored beside the checkpoint: a
pod that was deleted while the shipper was down keeps its labels. The API being away stops nothing: files wait a
while for their pod, then go with what their path tells. A watch can be dead and say nothing; so where a file waits
for a pod that nobody has told of, and nothing was heard for a while, it is begun anew from where it stood.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from agents.kubernetes import pod_api
from agents.kubernetes.pod_api import Gone, PodApi, StatusError
from pipeline.config.settings import Settings
from pipeline.contract import annotations
from pipeline.contract.pod_metadata import Instance

LIST_LIMIT = 200
SILENT_SECONDS = 3.0  # of silence, while somebody waits
FORGET_SECONDS = 60.0
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 30.0
CONFIG_HASH = "kubernetes.io/config.hash"

log = logging.getLogger(__name__)

Pod = dict[str, Any]
"""What is kept of a Pod object: the parts that `pipeline.contract.pod_metadata` reads."""


class PodWatch:
    """The node's pods as they are known; `changes` counts up whenever one changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._indexed_annotations = frozenset(settings.annotations.split())
        self._pods: dict[str, Pod] = {}
        self._stored = b""
        self._path = Path(settings.state_dir) / "pods.json"
        self._stopping = False
        self._restart_requested = threading.Event()  # begin anew at once
        self._api: PodApi | None = None
        self._received_at = 0.0  # monotonic, when the API last said anything
        self._unneeded_since: dict[str, float] = {}  # since when nobody needs a deleted pod
        self.changes = 0
        self.problem = "the API was not asked yet"

    def start(self) -> None:
        """Take what was stored and begin to watch."""
        self._restore()
        threading.Thread(target=self._run, name="pods", daemon=True).start()

    def _restore(self) -> None:
        try:
            self._stored = self._path.read_bytes()
            found = orjson.loads(self._stored)
            if not isinstance(found, dict) or not all(isinstance(pod, dict) for pod in found.values()):
                raise ValueError("not as they are stored")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as fault:
            log.warning("stored pods cannot be read, they are asked for again: %s", fault)
        else:
            self._pods.update(found)

    def stop(self) -> None:
        """Watch no more."""
        self._stopping = True
        self._restart()

    def restart_if_silent(self) -> None:
        """Somebody waits for a pod that is not known: a watch that is silent may be dead, and is begun anew."""
        if time.monotonic() - self._received_at > SILENT_SECONDS:
            self._received_at = time.monotonic()
            self._restart()

    def _restart(self) -> None:
        self._restart_requested.set()
        if self._api is not None:
            self._api.abort_watch()

    def find(self, instance: Instance) -> Pod | None:
        """The pod of a container instance, if it is known."""
        return self._pods.get(instance.uid)

    def store(self, needed_uids: set[str]) -> None:
        """Forget pods that are deleted and of which nothing is to be read; store the others. Raises OSError."""
        self._forget(needed_uids)
        # The watching thread adds pods meanwhile: so no loop over the pods themselves.
        encoded = orjson.dumps({uid: pod for uid in sorted(needed_uids) if (pod := self._pods.get(uid)) is not None})
        if encoded != self._stored:
            beside = self._path.with_suffix(".new")
            beside.write_bytes(encoded)
            beside.replace(self._path)
            self._stored = encoded

    def _forget(self, needed_uids: set[str]) -> None:
        """Drop deleted pods, but not at once: the file of one that lived two seconds may not be found yet."""
        now = time.monotonic()
        gone = {uid for uid, pod in list(self._pods.items()) if pod.get("deleted") and uid not in needed_uids}
        self._unneeded_since = {uid: self._unneeded_since.get(uid, now) for uid in gone}
        for uid in [uid for uid, since in self._unneeded_since.items() if now - since > FORGET_SECONDS]:
            del self._pods[uid]

    def _run(self) -> None:
        pause, version = FIRST_BACKOFF_SECONDS, ""
        while not self._stopping:
            self._restart_requested.clear()
            try:
                self._api = api = pod_api.connect(self._settings)
                version = version or self._list(api)
                self.problem, self._received_at = "", time.monotonic()
                for reached in self._watch(api, version):
                    version, pause, self._received_at = reached, FIRST_BACKOFF_SECONDS, time.monotonic()
            except Gone:
                version = ""
            except Exception as fault:  # noqa: BLE001 - whatever the network and its libraries raise: told, tried again
                version = "" if isinstance(fault, StatusError) else version
                if not self._restart_requested.is_set():
                    self.problem = f"pods cannot be watched: {fault}"
                    log.warning("pods cannot be watched, tried again: %s", fault)
            self._restart_requested.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(MAX_BACKOFF_SECONDS, 2 * pause)

    def _list(self, api: PodApi) -> str:
        """Take all pods there are; those not there any more are deleted. Returns the version to watch from."""
        found: set[str] = set()
        more = ""
        while True:
            page = api.get({"limit": LIST_LIMIT, **({"continue": more} if more else {})})
            for pod in page["items"]:
                found |= self._add(pod)
            more = page["metadata"].get("continue") or ""
            if not more:
                break
        for uid, pod in list(self._pods.items()):
            if uid not in found:
                pod["deleted"] = True
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, api: PodApi, version: str) -> Iterator[str]:
        """Take changes until the server ends the watch; yields the version reached. Raises Gone."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        for event in api.watch(query):
            kind, about = event["type"], event["object"]
            if kind == "ERROR":
                if about.get("code") == 410:
                    raise Gone
                raise StatusError(str(about.get("message")))
            if kind != "BOOKMARK":
                for uid in self._add(about):
                    self._pods[uid]["deleted"] = kind == "DELETED"
            yield str(about["metadata"]["resourceVersion"])

    def _add(self, pod: Pod) -> set[str]:
        """Keep a pod under its uid, and a static one under the uid that its directory has."""
        kept = trim(pod, self._keeps_annotation)
        hashed = (pod["metadata"].get("annotations") or {}).get(CONFIG_HASH)
        uids = {uid for uid in (kept["metadata"]["uid"], hashed) if uid}
        for uid in uids:
            self._pods[uid] = dict(kept)
        self.changes += 1
        return uids

    def _keeps_annotation(self, name: str) -> bool:
        """Whether an annotation of that name is of any use."""
        return name in self._indexed_annotations or annotations.is_relevant(name, self._settings.annotation_prefix)


def trim(pod: Pod, keeps_annotation: Callable[[str], bool]) -> Pod:
    """What is kept of a Pod object: a node's pods are hundreds, their specs kilobytes. `keeps`: which annotations."""
    about, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    chosen = {name: value for name, value in (about.get("annotations") or {}).items() if keeps_annotation(name)}
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
