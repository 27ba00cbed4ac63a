"""Containers that the API reports as terminated: read to their end, closed, and no loss when their logs are deleted."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from agents.containers import ContainerLogs
from agents.discovery.scanner import Scan
from agents.kubernetes.pod_watch import PodWatch
from agents.state import file_registry
from agents.state.checkpoint import State
from agents.state.file_registry import REMEMBER_SECONDS
from agents.tailing.file_handles import FileHandles
from pipeline.contract import gap
from tests.agents.state.test_losses import BASE, UID, Node


class NodeWithPods(Node):
    """A node whose pod the API reports."""

    def start(self, state: State | None) -> None:
        super().start(state)
        settings = self.logs._settings
        self.pods = PodWatch(settings)
        self.logs = ContainerLogs(settings, self.pods)
        self.logs.restore(state)

    def report(self, restarts: int, state: dict[str, Any], *, group: str = "containerStatuses") -> None:
        """Report the pod's only container."""
        last = {"terminated": {"containerID": f"c{restarts - 1}", "finishedAt": now()}} if restarts else {}
        status = {"name": "app", "restartCount": restarts, "containerID": f"c{restarts}", "state": state}
        metadata = {"name": "pay", "namespace": "shop", "uid": UID}
        self.pods._add({"metadata": metadata, "spec": {}, "status": {group: [{**status, "lastState": last}]}})

    def finish(self) -> None:
        """Let the time pass until a finished file is closed."""
        self.drain()
        self.clock += 2.0
        self.poll()
        self.scan()


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def terminated(number: int) -> dict[str, Any]:
    return {"terminated": {"containerID": f"c{number}", "finishedAt": now()}}


RUNNING = {"running": {"startedAt": "2026-12-01T00:00:00Z"}}


@pytest.fixture
def node(tmp_path: Path) -> NodeWithPods:
    return NodeWithPods(tmp_path)


@pytest.mark.parametrize("group", ["containerStatuses", "initContainerStatuses"])
def test_log_of_terminated_container_that_was_read_is_no_loss(node: NodeWithPods, group: str) -> None:
    node.write(lines=3)
    node.report(0, terminated(0), group=group)
    node.drain()
    node.restart()
    node.path().unlink()
    node.write(name="1.log")
    node.report(1, RUNNING, group=group)
    node.drain()

    assert node.gaps() == []


def test_log_of_running_container_that_vanished_is_a_loss(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, RUNNING)
    node.drain()
    node.restart()
    node.report(0, terminated(0))
    node.path().unlink()
    node.drain()

    assert [(entry.size, entry.reason) for entry in node.gaps()] == [(None, gap.VANISHED_FILE)]


def test_lines_that_were_not_read_before_the_end_are_a_loss(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, RUNNING)
    node.drain()
    size = node.write(lines=2)
    node.report(0, terminated(0))
    node.scan(1)
    node.poll()
    node.restart()
    node.path().unlink()
    node.drain()

    assert [(entry.size, entry.reason) for entry in node.gaps()] == [(size, gap.VANISHED_FILE)]


def test_growth_between_the_last_poll_and_the_reported_end_is_a_loss(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, RUNNING)
    node.drain()
    node.write()
    node.report(0, terminated(0))
    node.scan(1)
    node.restart()
    node.path().unlink()
    node.drain()

    assert [(entry.size, entry.reason) for entry in node.gaps()] == [(None, gap.VANISHED_FILE)]


def test_crash_loop_loses_nothing_when_old_logs_are_deleted_during_downtime(node: NodeWithPods) -> None:
    for restart in range(3):
        node.write(name=f"{restart}.log")
        status = {"waiting": {"reason": "CrashLoopBackOff"}}
        node.report(restart, status)
        pod = node.pods._pods[UID]["status"]["containerStatuses"][0]
        pod["lastState"] = terminated(restart)
        node.finish()
    node.restart()
    for restart in range(3):
        node.path(name=f"{restart}.log").unlink()
    node.write(name="3.log")
    node.drain()

    assert node.gaps() == []


def test_last_words_without_newline_are_sent_when_the_container_has_terminated(node: NodeWithPods) -> None:
    node.report(0, RUNNING)
    with node.path().open("wb") as file:
        file.write(b"2026-12-01T00:00:00.1Z stdout P last words\n")
    node.drain()
    before = dict(node.read)
    node.report(0, terminated(0))
    node.drain()

    assert (before, node.read) == ({}, {f"{UID}/app/0": node.path().stat().st_size})


def test_files_of_terminated_containers_are_closed_and_read_again_if_they_grow(node: NodeWithPods) -> None:
    size = node.write(lines=3)
    node.report(0, terminated(0))
    node.finish()
    closed = not node.logs.tails
    size += node.write()
    node.finish()

    assert (closed, node.logs.tails, node.read) == (True, {}, {f"{UID}/app/0": size})


def test_log_written_after_the_reported_end_belongs_to_a_later_start(node: NodeWithPods) -> None:
    node.write()
    node.report(0, {"terminated": {"containerID": "c0", "finishedAt": "2026-01-01T00:00:00Z"}})
    node.finish()

    assert [tail.ended for tail in node.logs.tails.values()] == [False]


def test_suspended_log_of_terminated_container_is_no_loss(node: NodeWithPods, monkeypatch: pytest.MonkeyPatch) -> None:
    node.write()
    node.report(0, RUNNING)
    node.drain()
    (tail,) = node.logs.tails.values()
    tail.files[0].suspend()
    monkeypatch.setattr(FileHandles, "reopen", lambda *_: False)
    node.report(0, terminated(0))
    node.finish()
    node.path().unlink()
    node.drain()

    assert (node.gaps(), node.logs.tails) == ([], {})


def unseen(node: NodeWithPods, restarts: int, *, started: bool = True, **metadata: Any) -> None:
    """Report the deletion of a pod that was unknown."""
    status = {"name": "app", "restartCount": restarts, "state": terminated(restarts)}
    statuses = [{**status, "containerID": f"c{restarts}" if started else ""}]
    pod = {"metadata": {"name": "pay", "namespace": "shop", "uid": UID, **metadata}, "spec": {}}
    node.pods._delete({**pod, "status": {"containerStatuses": statuses}})


def test_pod_that_came_and_went_while_no_shipper_ran_is_named_as_a_loss(node: NodeWithPods) -> None:
    node.restart()
    unseen(node, 2)
    node.scan()

    (reported,) = node.gaps()
    assert (reported.size, reported.reason) == (None, gap.VANISHED_FILE)
    assert reported.path.endswith(f"shop_pay_{UID}/app/0.log")
    node.scan()
    assert node.gaps() == []


def test_pod_whose_log_was_discovered_is_not_named(node: NodeWithPods) -> None:
    node.write(name="1.log")
    node.report(1, RUNNING)
    node.finish()
    node.restart()
    unseen(node, 1)
    node.scan()
    discovered = node.gaps()
    node.restart()
    unseen(node, 2)
    node.scan()

    assert (discovered, [entry.path[-5:] for entry in node.gaps()]) == ([], ["2.log"])


@pytest.mark.parametrize(
    "pod",
    [
        {"started": False},
        {"annotations": {"logs.crisp/exclude": "true"}},
        {"annotations": {"kubernetes.io/config.hash": "of its log"}},
    ],
)
def test_pod_without_a_log_that_would_be_read_is_not_named(node: NodeWithPods, pod: dict[str, Any]) -> None:
    node.restart()
    unseen(node, 0, **pod)
    node.scan()

    assert node.gaps() == []


@pytest.mark.parametrize("known", [False, True])
def test_log_deleted_with_its_pod_is_no_loss_after_a_stop(node: NodeWithPods, known: bool) -> None:  # noqa: FBT001
    node.write(lines=3)
    node.report(0, RUNNING)
    node.drain()
    node.path().unlink()
    node.pods.problem = ""
    if known:
        node.pods._pods[UID]["deleted"] = True
    else:
        node.pods._pods.clear()
    node.scan()
    node.restart()
    node.drain()

    assert node.gaps() == []


def test_log_deleted_while_the_api_is_unavailable_may_still_be_written(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, RUNNING)
    node.drain()
    node.path().unlink()
    node.pods._pods[UID]["deleted"] = True
    node.scan()

    assert [tail.ended for tail in node.logs.tails.values()] == [False]


def deleted_before_it_is_opened(node: NodeWithPods) -> None:
    """Apply a scan whose only file is deleted after it was listed, then scans without it."""
    node.clock += 2.0
    files = node.discovery.scan()
    node.path().unlink()
    node.logs.update(Scan(files, BASE, node.clock))
    node.scan()


def test_read_log_deleted_before_the_next_shipper_opens_it_is_no_loss(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, terminated(0))
    node.finish()
    node.restart()
    deleted_before_it_is_opened(node)

    assert node.gaps() == []


@pytest.mark.parametrize("known", [False, True])
def test_unread_log_deleted_before_it_is_opened_is_one_loss(node: NodeWithPods, known: bool) -> None:  # noqa: FBT001
    size = node.write(lines=3)
    if known:
        node.scan()
        node.poll()
        node.restart()
    deleted_before_it_is_opened(node)

    assert [entry.size for entry in node.gaps()] == [size]


def adopted_tails(node: NodeWithPods, lines: int = 0) -> int:
    """Hold the log open until it is deleted and another shipper takes over; return how many tails read it then."""
    (file,) = node.discovery.scan()
    held = os.open(node.path(), os.O_RDONLY)
    if lines:
        node.write(lines=lines)
    node.path().unlink()
    node.scan()
    node.restart()
    node.logs.adopt(file, held, node.clock)
    return len(node.logs.tails)


def test_held_log_that_the_last_shipper_has_read_is_not_read_again(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, terminated(0))
    node.finish()
    read = dict(node.read)

    assert adopted_tails(node) == 0
    node.drain()
    assert node.read == read


def test_lines_after_the_last_shippers_end_are_read_of_a_held_log(node: NodeWithPods) -> None:
    size = node.write(lines=3)
    node.report(0, terminated(0))
    node.finish()

    assert adopted_tails(node, lines=2) == 1
    node.drain()
    assert sum(node.read.values()) > size
    assert node.gaps() == []


def test_deleted_log_that_was_read_is_forgotten_after_a_while(node: NodeWithPods) -> None:
    node.write(lines=3)
    node.report(0, terminated(0))
    node.finish()
    node.path().unlink()
    node.scan()
    remembered = len(node.logs.state().entries)
    node.clock += REMEMBER_SECONDS
    node.scan()

    assert (remembered, len(node.logs.state().entries)) == (1, 0)


def test_number_of_deleted_logs_that_are_remembered_is_limited(
    node: NodeWithPods, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_registry, "MAX_REMEMBERED", 2)
    for pod in ("a", "b", "c"):
        node.write(pod, lines=1)
    node.report(0, terminated(0))
    node.finish()
    for pod in ("a", "b", "c"):
        node.path(pod).unlink()
    node.scan()

    assert len(node.logs.state().entries) == 2
