"""When an instance had terminated, by the statuses that a kubelet sets in each phase of a container's life."""

from typing import Any

import pytest

from agents.kubernetes import pod_watch, termination
from pipeline.contract.pod_metadata import Instance

SECOND = 10**9
START = 1_796_083_200  # 2026-12-01T00:00:00Z


def at(seconds: int) -> str:
    return f"2026-12-01T00:00:{seconds:02d}Z"


def ended(container_id: str, seconds: int) -> dict[str, Any]:
    details = {"containerID": container_id, "finishedAt": at(seconds), "exitCode": 1, "message": "x" * 4096}
    return {"terminated": details}


def running(seconds: int) -> dict[str, Any]:
    return {"running": {"startedAt": at(seconds)}}


BACK_OFF = {"waiting": {"reason": "CrashLoopBackOff"}}
UNKNOWN = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}}


@pytest.mark.parametrize(
    ("count", "state", "last", "restart", "expected"),
    [
        (0, running(1), {}, 0, None),
        (0, ended("new", 5), {}, 0, 5),
        (0, ended("new", 5), {}, 1, None),  # of a start that the status does not have yet
        (3, running(9), ended("old", 8), 3, None),
        (3, running(9), ended("old", 8), 2, 8),
        (3, running(9), ended("old", 8), 1, 8),
        (3, running(9), {}, 1, 9),
        (3, ended("new", 9), ended("old", 5), 0, 9),  # after a reboot the newest instance may write 0.log
        (3, ended("new", 9), {}, 0, 9),
        (3, BACK_OFF, ended("new", 8), 3, 8),
        (3, BACK_OFF, ended("new", 8), 2, 8),
        (3, BACK_OFF, ended("old", 8), 3, None),  # the next instance starts: its status is not set yet
        (3, BACK_OFF, {}, 3, None),
        (3, {"waiting": {"reason": "ContainerCreating"}}, UNKNOWN, 3, None),
        (3, {"waiting": {"reason": "ContainerCreating"}}, UNKNOWN, 2, None),
        (0, UNKNOWN, {}, 0, None),
        (None, ended("new", 5), {}, 0, None),
        (0, None, None, 0, None),
    ],
)
@pytest.mark.parametrize("group", ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"])
def test_termination_is_read_from_trimmed_status(
    count: int | None, state: Any, last: Any, restart: int, expected: int | None, group: str
) -> None:
    status = {"name": "app", "containerID": "new", "restartCount": count, "state": state, "lastState": last}
    pod = {"metadata": {"name": "pay", "namespace": "shop", "uid": "u"}, "status": {group: [status]}}
    trimmed = pod_watch.trim(pod, lambda _: False)
    instance = Instance("shop", "pay", "u", "app", restart)

    assert termination.terminated_at(trimmed, instance) == (None if expected is None else (START + expected) * SECOND)
    assert termination.terminated_at(trimmed, instance._replace(container="other")) is None
    assert "xxx" not in str(trimmed)
