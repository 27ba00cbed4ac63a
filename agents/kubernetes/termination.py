"""When a container instance had terminated, by the statuses of its pod. Pure.

The runtime sets the state of a container only after it has written the rest of its output: the log of an instance that
has terminated is complete. Of restarts `lastState` describes only the last one: an earlier instance ended before it.
"""

from collections.abc import Iterator

from agents.kubernetes.pod_watch import Pod
from pipeline.contract import cri
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance

_STATUSES = "containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"


def terminated_at(pod: Pod, instance: Instance) -> int | None:
    """Return a time at which the instance had certainly terminated, wall clock in ns; None if it may be running.

    The API's times are whole seconds, rounded down.
    """
    status = _status(pod, instance.container)
    count = status.get("restartCount")
    if not isinstance(count, int) or instance.restart > count:
        return None
    state, last = status.get("state") or {}, (status.get("lastState") or {}).get("terminated") or {}
    terminated = state.get("terminated")
    if instance.restart < count:
        # After a reboot a log may have a lower number than its status: the end of the newest instance is that of all.
        newest = (terminated or {}).get("finishedAt")
        return _nanoseconds(newest or last.get("finishedAt") or (state.get("running") or {}).get("startedAt"))
    # While a container waits for its next restart, `lastState` is that of the newest instance.
    if terminated is None and last.get("containerID") and last["containerID"] == status.get("containerID"):
        terminated = last
    return _nanoseconds((terminated or {}).get("finishedAt"))


def statuses(pod: Pod) -> Iterator[JsonObject]:
    """Yield the statuses of all containers of a pod."""
    groups = pod.get("status") or {}
    for group in _STATUSES:
        yield from groups.get(group) or ()


def _status(pod: Pod, container: str) -> JsonObject:
    """Return the status of a container; empty if there is none."""
    return next((entry for entry in statuses(pod) if entry.get("name") == container), {})


def _nanoseconds(time: object) -> int | None:
    return cri.nanoseconds(time.encode()) if isinstance(time, str) else None
