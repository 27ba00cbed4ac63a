"""Metadata of a container instance and its pod: from a log's path, and from a Pod object of the API. Pure.

The metadata travels as JSON with every slice: namespace, pod, uid, container, restart, node, source ("path",
"api", "plain" or "docker"); and from a Pod object: image, container_id, labels, annotations, owner ({kind, name}),
static, and the pod's options: excluded (streams), parser, or if they differ parser_stdout, parser_stderr.
`unlabelled` marks a pod whose object was not received from the API in time, `truncated` metadata that was cut: a tenant
writes it, a Pod object may have 1.5 MB, and each record has to fit into Kafka's limit.
Paths are the kubelet's (`/var/log/pods/<ns>_<pod>_<uid>/<container>/<n>.log`); its links in /var/log/containers
(`<pod>_<ns>_<container>-<container id>.log`) are read too, but they truncate long names and lack the uid.
"""

import re
from pathlib import PurePath
from typing import Any, NamedTuple

import orjson

from pipeline.contract.annotations import NO_OPTIONS, STREAMS, PodOptions, is_mirror_pod
from pipeline.contract.json_types import JsonObject

POD_DIRECTORY = re.compile(r"([a-z0-9][a-z0-9.-]{0,252})_([a-z0-9][a-z0-9.-]{0,252})_([A-Za-z0-9-]{1,64})")
CONTAINER_DIRECTORY = re.compile(r"[a-z0-9][a-z0-9-]{0,252}")
LOG_FILE = re.compile(r"(0|[1-9][0-9]{0,8})\.log(?:\.([0-9]{8}-[0-9]{6}))?(\.gz)?")
_LINK = re.compile(r"([a-z0-9][a-z0-9.-]{0,252})_([a-z0-9][a-z0-9.-]{0,252})_([a-z0-9][a-z0-9-]*)-([0-9a-f]{64})\.log")
ENTRIES_MAX_BYTES = 16 * 1024
"""Of all labels and annotations of a container together, as JSON."""
REDUCED_ENTRIES_MAX_BYTES = 1024
"""The same, in a record that is too large for Kafka with more."""
TEXT_MAX_BYTES = 1024
"""Of any other text, as UTF-8: an image, a name."""
MAX_BYTES = 48 * 1024
"""Of limited metadata, as JSON: entries, and texts in which each byte is escaped."""
_ENTRIES = ("labels", "annotations")
_CRON_SUFFIX = re.compile(r"-[0-9]{8,11}$")  # minutes (or seconds) since the epoch, as the CronJob controller appends


class Instance(NamedTuple):
    """One container instance, as in the path of its log."""

    namespace: str
    pod: str
    uid: str
    container: str
    restart: int


def parse_path(path: str) -> Instance | None:
    """Return the container instance of a log's path; None if the path has another form."""
    parts = PurePath(path).parts
    link = _LINK.fullmatch(parts[-1]) if parts else None
    if link is not None:
        return Instance(link[2], link[1], "", link[3], 0)
    if len(parts) < 3:
        return None
    directory = POD_DIRECTORY.fullmatch(parts[-3])
    file = LOG_FILE.fullmatch(parts[-1])
    if directory is None or file is None or not CONTAINER_DIRECTORY.fullmatch(parts[-2]):
        return None
    return Instance(directory[1], directory[2], directory[3], parts[-2], int(file[1]))


def from_path(instance: Instance, node: str) -> bytes:
    """Return the metadata from the log's path, as JSON."""
    return orjson.dumps({**instance._asdict(), "node": node, "source": "path"})


def from_link(path: str, metadata: bytes) -> bytes:
    """Add the container's id to the metadata, if the path is a link of the kubelet's, whose name contains it."""
    link = _LINK.fullmatch(PurePath(path).name)
    return metadata if link is None else orjson.dumps({"container_id": f"//{link[4]}", **orjson.loads(metadata)})


def mark_metadata_missing(metadata: bytes) -> bytes:
    """Mark metadata as incomplete: the Pod object was not received in time."""
    return orjson.dumps({**orjson.loads(metadata), "unlabelled": True})


def from_plain_file(name: str, node: str) -> bytes:
    """Return the metadata of a plain log file: a container without a pod."""
    return _without_pod(name, node, "plain")


def from_docker(identity: str, config: JsonObject, node: str) -> bytes:
    """Return the metadata from docker's `config.v2.json`: name, image, labels."""
    container_config = _get_object(config, "Config")
    name = str(config.get("Name") or "").removeprefix("/") or identity[:12]
    return _without_pod(
        name,
        node,
        "docker",
        image=str(container_config.get("Image") or ""),
        container_id=f"docker://{identity}",
        labels={str(key): str(value) for key, value in _get_object(container_config, "Labels").items()},
    )


def is_kubelet_managed(config: JsonObject) -> bool:
    """Return whether a kubelet manages the container, by its `config.v2.json`."""
    return "io.kubernetes.pod.uid" in _get_object(_get_object(config, "Config"), "Labels")


def _without_pod(name: str, node: str, source: str, **optional: Any) -> bytes:
    fields = {"namespace": "", "pod": "", "uid": "", "container": name, "restart": 0, "node": node, "source": source}
    return _encode({**fields, **{key: value for key, value in optional.items() if value}})


def from_api(
    instance: Instance,
    node: str,
    pod: JsonObject,
    annotations: frozenset[str] = frozenset(),
    options: PodOptions = NO_OPTIONS,
) -> bytes:
    """Return the metadata from a Pod object, with its options; of its annotations only those named in `annotations`."""
    metadata = _get_object(pod, "metadata")
    spec, status = _get_object(pod, "spec"), _get_object(pod, "status")
    labels = _get_object(metadata, "labels")
    running = _container_entry(
        status, ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"), instance
    )
    specified = _container_entry(spec, ("containers", "initContainers", "ephemeralContainers"), instance)
    selected = {name: value for name, value in _get_object(metadata, "annotations").items() if name in annotations}
    fields = {
        "namespace": metadata.get("namespace") or instance.namespace,
        "pod": metadata.get("name") or instance.pod,
        # The log directory has the uid of the static pod; the uid of its mirror pod in the API differs.
        "uid": instance.uid or metadata.get("uid") or "",
        "container": instance.container,
        "restart": instance.restart,
        "node": node or spec.get("nodeName") or "",
        "source": "api",
        "image": specified.get("image") or running.get("image") or "",
        "container_id": _container_id(running, instance.restart),
        "labels": labels,
        "annotations": selected,
        "owner": _workload(metadata, labels),
        "static": is_mirror_pod(_get_object(metadata, "annotations")),
        "excluded": sorted(options.excluded_streams),
        **_parsers(options),
    }
    return _encode({name: value for name, value in fields.items() if value not in ("", {}, [], None, False)})


def limit(metadata: bytes) -> bytes:
    """Return encoded metadata within MAX_BYTES, such as that of a checkpoint of a version without limits."""
    return metadata if len(metadata) <= MAX_BYTES else _encode(orjson.loads(metadata))


def reduce(metadata: bytes) -> bytes:
    """Return encoded metadata with few labels and annotations, for a record that is too large with all of them."""
    return metadata if len(metadata) <= REDUCED_ENTRIES_MAX_BYTES else _encode(orjson.loads(metadata), reduced=True)


def _encode(fields: JsonObject, *, reduced: bool = False) -> bytes:
    """Encode metadata within the limits; the first labels and annotations that fit are kept whole."""
    limited: JsonObject = {}
    free = REDUCED_ENTRIES_MAX_BYTES if reduced else ENTRIES_MAX_BYTES
    for name, value in fields.items():
        if name in _ENTRIES and isinstance(value, dict):
            kept = {}
            for key, entry in value.items():
                size = len(orjson.dumps({key: entry}))
                if size <= free:
                    kept[key] = entry
                    free -= size
            limited[name] = kept
        elif isinstance(value, dict):
            limited[name] = {key: _limit_text(entry) for key, entry in value.items()}
        else:
            limited[name] = _limit_text(value)
    return orjson.dumps(limited if limited == fields else limited | {"truncated": True})


def _limit_text(value: object) -> object:
    if not isinstance(value, str) or len(value) * 4 <= TEXT_MAX_BYTES:
        return value
    return value.encode()[:TEXT_MAX_BYTES].decode(errors="ignore")


def _parsers(options: PodOptions) -> dict[str, str]:
    stdout, stderr = (options.parsers.get(stream, "") for stream in STREAMS)
    return {"parser": stdout} if stdout == stderr else {"parser_stdout": stdout, "parser_stderr": stderr}


def _get_object(holder: JsonObject, name: str) -> JsonObject:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _container_entry(holder: JsonObject, lists: tuple[str, ...], instance: Instance) -> JsonObject:
    """The entry of the container in the first of the lists that has one."""
    for name in lists:
        for entry in holder.get(name) or ():
            if isinstance(entry, dict) and entry.get("name") == instance.container:
                return entry
    return {}


def _container_id(status: JsonObject, restart: int) -> str:
    """The id of this instance, running or just terminated; empty if the API reports neither."""
    count = status.get("restartCount")
    if count is None or count == restart:
        return str(status.get("containerID") or "")
    last = _get_object(_get_object(status, "lastState"), "terminated") if count == restart + 1 else {}
    return str(last.get("containerID") or "")


def workload_name(pod: bytes) -> str:
    """Return the workload of a record's metadata: namespace, with owner or pod if known; empty if unknown."""
    try:
        fields = orjson.loads(pod)
        namespace, owner = fields.get("namespace", ""), fields.get("owner") or {}
        name = owner.get("name") or fields.get("pod") or ""
    except (ValueError, AttributeError):
        return ""
    return f"{namespace}/{name}" if name else str(namespace)


def _workload(metadata: JsonObject, labels: JsonObject) -> dict[str, str] | None:
    """The pod's workload: for a ReplicaSet its Deployment, for a Job its CronJob."""
    owners = [owner for owner in metadata.get("ownerReferences") or () if isinstance(owner, dict)]
    owner = next((owner for owner in owners if owner.get("controller")), owners[0] if owners else None)
    if owner is None:
        return None
    kind, name = str(owner.get("kind", "")), str(owner.get("name", ""))
    template = labels.get("pod-template-hash")
    if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
        return {"kind": "Deployment", "name": name.removesuffix(f"-{template}")}
    if kind == "Job" and _CRON_SUFFIX.search(name):
        return {"kind": "CronJob", "name": _CRON_SUFFIX.sub("", name)}
    return {"kind": kind, "name": name}
