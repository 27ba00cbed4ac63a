"""The pods of this node, from the Kubernetes API: list and watch, in a thread.

Pods are kept by uid until the shipper has no file of the pod, and stored next to the checkpoint: a pod that was
deleted while the shipper was down keeps its labels. So is the resourceVersion of the last event: the next shipper
watches from there, and learns which pods came and went while none ran. An unavailable API stops nothing: files wait a
while for their pod, then are read with the metadata of their path. A watch can be dead without an error: if a file
waits for an unknown pod, and no event arrived for a while, the watch is restarted at its last resourceVersion.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import orjson

from agents.kubernetes import pod_api
from agents.kubernetes.pod_api import PodApi
from pipeline.backoff import Backoff
from pipeline.config.settings import ShipperSettings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance
from pipeline.kubernetes.client import Gone, ResponseTooLarge, StatusError, status_error

LIST_LIMIT = 200
STATUS_WITH_VALID_VERSION = {401, 403, 429}  # after any other error status the resourceVersion may be invalid
SILENT_SECONDS = 3.0  # without events, while a file waits for its pod
FORGET_SECONDS = 60.0
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 30.0
MAX_RETRY_AFTER_SECONDS = 60.0
MAX_ENTRIES_BYTES = 2 * pod_metadata.ENTRIES_MAX_BYTES
"""Of a pod's labels, and of its annotations: more than a record has, so that the record shows that some are missing."""
MAX_CONTAINERS_BYTES = 32 * 1024
"""Of each list of containers of a pod, as JSON."""
MAX_OWNERS = 100
CONFIG_HASH = "kubernetes.io/config.hash"
VERSION_KEY = "resourceVersion"  # among the stored pods, whose keys are uids
MAX_UNSEEN = 1000

log = logging.getLogger(__name__)

Pod = JsonObject
"""A trimmed Pod object: the parts that `pipeline.contract.pod_metadata` reads."""


class PodWatch:
    """The known pods of the node; `changes` is incremented with each change of a pod."""

    def __init__(self, settings: ShipperSettings) -> None:
        self._settings = settings
        self._indexed_annotations = frozenset(settings.annotations)
        self._pods: dict[str, Pod] = {}
        self._stored = b""
        self._path = Path(settings.state_dir) / "pods.json"
        self._stopping = threading.Event()
        self._restart_requested = threading.Event()
        self._api: PodApi | None = None
        self._list_limit = LIST_LIMIT  # pods per page; less if a page was too large
        self._received_at = 0.0  # monotonic time of the last response or event
        self._version = ""  # resourceVersion of the last event
        self._unseen: list[Pod] = []  # deleted pods that were unknown until their deletion
        self._unneeded_since: dict[str, float] = {}  # deleted pods without files, monotonic
        self.changes = 0
        self.problem = "no response from the Kubernetes API yet"

    def start(self) -> None:
        """Restore the stored pods and start to watch."""
        self._restore()
        threading.Thread(target=self._run, name="pods", daemon=True).start()

    def _restore(self) -> None:
        try:
            self._stored = self._path.read_bytes()
            pods = orjson.loads(self._stored)
            if not isinstance(pods, dict) or not all(isinstance(pod, dict) for pod in pods.values()):
                raise ValueError("not an object of pods by uid")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            log.warning("cannot read the stored pods, listing them again: %s", error)
        else:
            self._version = str(pods.pop(VERSION_KEY, {}).get(VERSION_KEY, ""))
            self._pods.update(pods)

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._restart()

    def restart_if_silent(self) -> None:
        """Restart a watch without recent events: it may be dead. For callers that wait for an unknown pod."""
        if time.monotonic() - self._received_at > SILENT_SECONDS:
            self._received_at = time.monotonic()
            self._restart()

    def _restart(self) -> None:
        self._restart_requested.set()
        if self._api is not None:
            self._api.abort_watch()

    def find(self, instance: Instance) -> Pod | None:
        """Return the pod of a container instance, if it is known."""
        return self._pods.get(instance.uid)

    def is_gone(self, instance: Instance) -> bool:
        """Return whether the API has no such pod; False while the API cannot be watched."""
        pod = self._pods.get(instance.uid)
        return not self.problem and (pod is None or bool(pod.get("deleted")))

    def store(self, needed_uids: set[str]) -> None:
        """Drop deleted pods that are not needed; store the needed ones. Raises OSError."""
        self.forget(needed_uids)
        # The watch thread adds pods concurrently: no loop over the pods themselves.
        needed = {uid: pod for uid in sorted(needed_uids) if (pod := self._pods.get(uid)) is not None}
        encoded = orjson.dumps(needed | ({VERSION_KEY: {VERSION_KEY: self._version}} if self._version else {}))
        if encoded != self._stored:
            new_file = self._path.with_suffix(".new")
            new_file.write_bytes(encoded)
            new_file.replace(self._path)
            self._stored = encoded

    def take_unseen(self) -> list[Pod]:
        """Return the pods that came and went unseen, once."""
        unseen, self._unseen = self._unseen, []
        return unseen

    def forget(self, needed_uids: set[str]) -> None:
        """Drop deleted pods after a delay: the file of a pod that lived two seconds may not be discovered yet."""
        now = time.monotonic()
        unneeded = {uid for uid, pod in list(self._pods.items()) if pod.get("deleted") and uid not in needed_uids}
        self._unneeded_since = {uid: self._unneeded_since.get(uid, now) for uid in unneeded}
        for uid in [uid for uid, since in self._unneeded_since.items() if now - since > FORGET_SECONDS]:
            del self._pods[uid]

    def _run(self) -> None:
        backoff, listed = Backoff(FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS), ""
        while not self._stopping.is_set():
            self._restart_requested.clear()
            try:
                self._api = api = pod_api.connect(self._settings)
                if not listed or not self._version:
                    listed = self._list(api)
                    self._version = self._version or listed
                self.problem, self._received_at = "", time.monotonic()
                for new_version in self._watch(api, self._version, listed):
                    self._version, self._received_at = new_version, time.monotonic()
                    backoff.reset()
                pause = FIRST_BACKOFF_SECONDS if self._restart_requested.is_set() else backoff.next_pause()
            except Gone:
                self._version, pause = "", backoff.next_pause()
            except Exception as error:  # noqa: BLE001 - any error of the API is reported and retried
                self._version = self._version_after(error)
                self._report(error)
                if isinstance(error, StatusError):  # the server decides, also while a file waits
                    pause = max(backoff.next_pause(), min(MAX_RETRY_AFTER_SECONDS, error.retry_after))
                else:
                    pause = FIRST_BACKOFF_SECONDS if self._restart_requested.is_set() else backoff.next_pause()
            self._stopping.wait(pause)  # a file that waits for its pod shortens no pause

    def _version_after(self, error: Exception) -> str:
        """Return the resourceVersion to watch from after an error; empty: list again, in smaller pages if needed."""
        if isinstance(error, ResponseTooLarge):
            self._list_limit = max(1, self._list_limit // 4)
            return ""
        rejected = isinstance(error, StatusError) and error.code not in STATUS_WITH_VALID_VERSION
        return "" if rejected else self._version

    def _report(self, error: Exception) -> None:
        if not self._restart_requested.is_set():
            self.problem = f"cannot watch pods: {error}"
            log.warning("cannot watch pods, retrying: %s", error)

    def _list(self, api: PodApi) -> str:
        """Add all existing pods, mark all others as deleted; return the resourceVersion to watch from."""
        listed: set[str] = set()
        continue_token = ""
        while True:
            page = api.get({"limit": self._list_limit, **({"continue": continue_token} if continue_token else {})})
            for pod in page["items"]:
                listed |= self._add(pod)
            continue_token = page["metadata"].get("continue") or ""
            if not continue_token:
                break
        for uid, pod in list(self._pods.items()):
            if uid not in listed:
                pod["deleted"] = True
        return str(page["metadata"]["resourceVersion"])

    def _watch(self, api: PodApi, version: str, listed: str) -> Iterator[str]:
        """Apply changes until the server ends the watch; yield each new resourceVersion. Raises Gone.

        Of changes that are older than the list `listed` only deletions count.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        for event in api.watch(query):
            event_type, content = event["type"], event["object"]
            if event_type == "ERROR":
                raise status_error(int(content.get("code") or 500), str(content.get("message")))
            if event_type == "DELETED":
                self._delete(content)
            elif event_type != "BOOKMARK" and not _is_older(content, listed):
                self._add(content)
            yield str(content["metadata"]["resourceVersion"])

    def _delete(self, pod: Pod) -> None:
        """Mark a pod as deleted; keep one that was unknown also as unseen, but for a static one: its logs go on."""
        unknown = pod["metadata"]["uid"] not in self._pods
        uids = self._add(pod)
        for uid in uids:
            self._pods[uid]["deleted"] = True
        if unknown and len(uids) == 1 and len(self._unseen) < MAX_UNSEEN:
            self._unseen = [*self._unseen, *(self._pods[uid] for uid in uids)]

    def _add(self, pod: Pod) -> set[str]:
        """Add a pod under its uid, and a static pod also under the uid in its log directory's name; return the uids."""
        trimmed = trim(pod, self._keeps_annotation)
        config_hash = (pod["metadata"].get("annotations") or {}).get(CONFIG_HASH)
        uids = {uid for uid in (trimmed["metadata"]["uid"], config_hash) if uid}
        for uid in uids:
            self._pods[uid] = dict(trimmed)
        self.changes += 1
        return uids

    def _keeps_annotation(self, name: str) -> bool:
        """Return whether an annotation is indexed or relevant for the reading of logs."""
        return name in self._indexed_annotations or annotations.is_relevant(name, self._settings.annotation_prefix)


def _is_older(pod: Pod, listed: str) -> bool:
    """Return whether a Pod object is older than a list. Versions are numbers, where they are not it counts as newer."""
    version = str(pod["metadata"].get("resourceVersion"))
    return version.isdecimal() and listed.isdecimal() and int(version) <= int(listed)


def _trim_status(status: JsonObject) -> JsonObject:
    """Return ids and times of a container's status; the message of a state may have kilobytes."""
    trimmed = {key: status.get(key) for key in ("name", "containerID", "restartCount")}
    return {**trimmed, **{key: _trim_state(status.get(key) or {}) for key in ("state", "lastState")}}


def _trim_state(state: JsonObject) -> JsonObject:
    """Return the id of a terminated container, and when it was started or terminated."""
    return {
        name: {key: details[key] for key in ("containerID", "startedAt", "finishedAt") if details.get(key)}
        for name, details in state.items()
        if name in {"running", "terminated"} and details
    }


def _limit_entries(entries: JsonObject, max_bytes: int) -> JsonObject:
    """Return the first labels or annotations that fit; of a text that is too long for a record only its start."""
    kept: JsonObject = {}
    for name, value in entries.items():
        text = str(value)[: pod_metadata.ENTRIES_MAX_BYTES + 1]
        max_bytes -= len(name) + len(text)
        if max_bytes < 0:
            break
        kept[name] = text
    return kept


def _limit_objects(objects: Iterable[JsonObject]) -> list[JsonObject]:
    """Return the first containers, or their states, of a pod that has absurdly many or long ones."""
    kept: list[JsonObject] = []
    size = 0
    for entry in objects:
        size += len(orjson.dumps(entry))
        if size > MAX_CONTAINERS_BYTES:
            break
        kept.append(entry)
    return kept


def trim(pod: Pod, keeps_annotation: Callable[[str], bool]) -> Pod:
    """Return the required parts of a Pod object, of limited size: a node has hundreds of pods, an object 1.5 MB."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    kept_annotations = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if keeps_annotation(name)
    }
    owners = [
        {key: owner.get(key) for key in ("kind", "name", "controller")}
        for owner in (metadata.get("ownerReferences") or ())[:MAX_OWNERS]
    ]
    containers = {
        group: _limit_objects({key: entry.get(key) for key in ("name", "image")} for entry in spec.get(group) or ())
        for group in ("containers", "initContainers", "ephemeralContainers")
    }
    statuses = {
        group: _limit_objects(_trim_status(entry) for entry in status.get(group) or ())
        for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    }
    return {
        "metadata": {
            **{key: metadata.get(key) for key in ("name", "namespace", "uid")},
            "labels": _limit_entries(metadata.get("labels") or {}, MAX_ENTRIES_BYTES),
            "annotations": _limit_entries(kept_annotations, MAX_ENTRIES_BYTES),
            "ownerReferences": owners,
        },
        "spec": {"nodeName": spec.get("nodeName"), **containers},
        "status": {"phase": status.get("phase"), **statuses},
    }
