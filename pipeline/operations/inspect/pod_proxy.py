"""Find shippers and workers by the Kubernetes API; read their status through the API server's pod proxy.

No port of theirs needs to be open to the caller; the rights are in the component `status-reader` of `deploy/`.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple
from urllib.parse import quote

from pipeline.contract.json_types import JsonObject
from pipeline.errors import KubernetesError
from pipeline.kubernetes.client import ApiClient, Query, StatusError, Unreachable
from pipeline.monitoring import status_json
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.status_json import StatusFormatError
from pipeline.monitoring.worker_status import WorkerStatus
from pipeline.operations.inspect.read_limit import MAX_ANSWER_BYTES, ReadLimit

NAME_LABEL = "app.kubernetes.io/name"
KINDS = {"crisp-shipper": "shipper", "crisp-worker": "worker"}
SELECTOR = f"{NAME_LABEL} in ({','.join(KINDS)})"
CONTROLLERS = {"shipper": "daemonsets", "worker": "deployments"}
STATUS_PORT = "status"
LIST_LIMIT = 200
MAX_CONCURRENT_REQUESTS = 16
STATUS_TIMEOUT_SECONDS = 10.0
MAX_RETRIES = 3  # of a busy API server
MAX_RETRY_AFTER_SECONDS = 5.0

Status = WorkerStatus | ShipperStatus
Object = JsonObject
"""An object as the API returns it."""


class CrispPod(NamedTuple):
    """A shipper's or worker's pod. `reason`: why it does not run or is not ready; `port` 0: none has the name."""

    namespace: str
    name: str
    kind: str
    node: str
    phase: str
    running: bool
    ready: bool
    terminating: bool
    port: int
    reason: str

    @property
    def title(self) -> str:
        """The name for messages."""
        return f"{self.namespace}/{self.name}"


class Inspection(NamedTuple):
    """The result. `desired`: number of pods by kind, None if unknown; `errors`: by resource that cannot be listed."""

    pods: list[CrispPod]
    statuses: dict[CrispPod, Status]
    unread: dict[CrispPod, KubernetesError]
    desired: dict[str, int | None]
    errors: dict[str, KubernetesError]


def inspect_cluster(client: ApiClient, namespaces: Sequence[str]) -> Inspection:
    """List pods and their controllers in some namespaces, or in all if none is given, and read each running pod."""
    pods, desired, errors = [], dict[str, int | None](), dict[str, KubernetesError]()
    try:
        listed = _list(client, "/api/v1", "pods", namespaces, {"labelSelector": SELECTOR})
        pods = sorted((parse_pod(pod) for pod in listed), key=lambda pod: (pod.kind, pod.node, pod.title))
    except KubernetesError as error:
        errors["pods"] = error
    for kind, resource in CONTROLLERS.items():
        desired[kind] = None
        try:
            desired[kind] = count_desired(kind, _list(client, "/apis/apps/v1", resource, namespaces, {}))
        except KubernetesError as error:
            errors[resource] = error
    readable = [pod for pod in pods if pod.running and not pod.terminating]
    with ThreadPoolExecutor(MAX_CONCURRENT_REQUESTS) as executor:
        limit = ReadLimit()
        results = dict(zip(readable, executor.map(lambda pod: _try_read(client, pod, limit), readable), strict=True))
    statuses = {pod: result for pod, result in results.items() if not isinstance(result, KubernetesError)}
    unread = {pod: result for pod, result in results.items() if isinstance(result, KubernetesError)}
    return Inspection(pods, statuses, unread, desired, errors)


def _list(client: ApiClient, group: str, resource: str, namespaces: Sequence[str], query: Query) -> list[Object]:
    """Return all objects, page by page. Raises KubernetesError."""
    items: list[Object] = []
    scopes = [f"/namespaces/{quote(namespace, safe='')}" for namespace in dict.fromkeys(namespaces)] or [""]
    for scope in scopes:
        continue_token = ""
        while True:
            page_query = {**query, "limit": LIST_LIMIT, **({"continue": continue_token} if continue_token else {})}
            page = client.get_object(f"{group}{scope}/{resource}", page_query)
            items += page.get("items") or []
            continue_token = (page.get("metadata") or {}).get("continue") or ""
            if not continue_token:
                break
    return items


def parse_pod(pod: Object) -> CrispPod:
    """Return the relevant parts of a Pod object."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    conditions = {row["type"]: row for row in status.get("conditions") or ()}
    container_statuses = status.get("containerStatuses") or ()
    ports = [
        port["containerPort"]
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name") == STATUS_PORT
    ]
    return CrispPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        kind=KINDS[metadata["labels"][NAME_LABEL]],
        node=spec.get("nodeName") or _wanted_node(spec),
        phase=status.get("phase") or "Unknown",
        running=status.get("phase") == "Running"
        and any("running" in (entry.get("state") or {}) for entry in container_statuses),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating=bool(metadata.get("deletionTimestamp")),
        port=ports[0] if ports else 0,
        reason=_reason(status, container_statuses, conditions),
    )


def _wanted_node(spec: Object) -> str:
    """Return the node that a pod of a DaemonSet waits for; empty if it has none."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or ()
    for term in terms:
        for row in term.get("matchFields") or ():
            if row.get("key") == "metadata.name" and row.get("values"):
                return str(row["values"][0])
    return ""


def _reason(status: Object, container_statuses: Sequence[Object], conditions: dict[str, Object]) -> str:
    """Return the most specific reason: a container's, the pod's, the scheduler's, or the readiness condition's."""
    states = [state for entry in container_statuses for state in (entry.get("state") or {}).values() if state]
    sources = [*(state for state in states if state.get("reason")), status]
    sources += [row for row in conditions.values() if row.get("status") == "False"]
    for source in sources:
        if source.get("reason"):
            message = str(source.get("message") or "")
            return f"{source['reason']}: {message[:200]}" if message else str(source["reason"])
    return ""


def count_desired(kind: str, controllers: Sequence[Object]) -> int | None:
    """Return how many pods the controllers of a kind want; None if there is no controller."""
    counts = [
        controller.get("status", {}).get("desiredNumberScheduled", 0)
        if kind == "shipper"
        else controller["spec"].get("replicas", 1)
        for controller in controllers
        if KINDS.get((controller["spec"]["template"]["metadata"].get("labels") or {}).get(NAME_LABEL, "")) == kind
    ]
    return sum(counts) if counts else None


def _try_read(client: ApiClient, pod: CrispPod, limit: ReadLimit) -> Status | KubernetesError:
    if problem := limit.problem():
        return KubernetesError(problem)
    try:
        return read_status(client, pod, limit)
    except KubernetesError as error:
        return error


def read_status(client: ApiClient, pod: CrispPod, limit: ReadLimit) -> Status:
    """Return `/status.json` of a pod. Raises KubernetesError."""
    if not pod.port:
        raise KubernetesError(f"it has no container port named {STATUS_PORT}")
    path = f"/api/v1/namespaces/{quote(pod.namespace)}/pods/{quote(pod.name)}:{pod.port}/proxy/status.json"
    try:
        return status_json.from_json(_get_patiently(client, path, limit))
    except StatusFormatError as error:
        raise KubernetesError(f"its state is not known: {error}") from error


def _get_patiently(client: ApiClient, path: str, limit: ReadLimit) -> bytes:
    """Request a path again while the API server is busy. Raises KubernetesError."""
    for attempt in range(MAX_RETRIES + 1):
        try:
            body = client.get(path, timeout=limit.timeout(STATUS_TIMEOUT_SECONDS), max_bytes=MAX_ANSWER_BYTES)
        except StatusError as error:
            if error.code != 429 or attempt == MAX_RETRIES or limit.problem():
                raise
            time.sleep(limit.timeout(min(MAX_RETRY_AFTER_SECONDS, error.retry_after or 1.0)))
        else:
            limit.add(len(body))
            return body
    raise AssertionError("the last attempt returns or raises")


def is_refused(error: KubernetesError) -> bool:
    """Return whether this user has no right, or is not known."""
    return isinstance(error, StatusError) and error.code in {401, 403}


def describe_unread(error: KubernetesError) -> str:
    """Return why a pod's status could not be read, with the likely cause."""
    if is_refused(error):
        return f"no right to read it through the API server: {error}"
    if isinstance(error, StatusError) and error.code >= 500:
        return f"the API server cannot connect to it (does a NetworkPolicy block that?): {error}"
    if isinstance(error, Unreachable):
        return f"no response through the API server (does a NetworkPolicy block it?): {error}"
    return str(error)
