"""What pods say steers the reading: labels, exclusion, parser and grouping, also when they change their mind."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings

UID = "11111111-2222-3333-4444-555555555555"


class Node:
    """One node: its logs, and pods as the API tells of them."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.logs, self.clock = root / "pods", 1000.0
        state = root / "state"
        state.mkdir()
        made = Settings(logs_dir=str(self.logs), state_dir=str(state), node_name="n", **settings)
        self.pods = PodWatch(made)
        self.containers = ContainerLogs(made, None, self.pods, clock=lambda: self.clock)
        self.discovery = Discovery([kubelet_layout(self.logs)], DirectoryCache())

    def write(self, *containers: str) -> None:
        for container in containers:
            path = self.logs / f"shop_pay_{UID}" / container / "0.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"2026-11-24T09:42:30.000000001Z stdout F x\n")
        self.scan()

    def update_pod(self, phase: str = "Running", **annotations: str) -> None:
        about = {"name": "pay", "namespace": "shop", "uid": UID, "labels": {"app": "pay"}}
        named = {name.replace("__", "/"): value for name, value in annotations.items()}
        self.pods._add({"metadata": {**about, "annotations": named}, "spec": {}, "status": {"phase": phase}})
        self.scan()

    def scan(self) -> None:
        self.containers.update(self.discovery.scan(), 0)

    def metadata_by_container(self) -> dict[str, dict[str, Any]]:
        """The metadata of the containers that are read."""
        return {
            one.container: orjson.loads(tail.pod) for one, tail in self.containers.tails.items() if tail.metadata_ready
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def crisp_annotations(**annotations: str) -> dict[str, str]:
    return {f"logs.crisp__{name.replace('XX', '-')}": value for name, value in annotations.items()}


def test_a_container_waits_for_its_pod_and_then_has_what_it_says(node: Node) -> None:
    node.write("app")
    assert node.metadata_by_container() == {}

    node.update_pod(**crisp_annotations(parser="json"))

    assert (node.metadata_by_container()["app"]["labels"], node.metadata_by_container()["app"]["parser"]) == (
        {"app": "pay"},
        "json",
    )


def test_a_container_is_left_out_alone_and_is_read_when_the_pod_changes_its_mind(node: Node) -> None:
    node.write("app", "sidecar")
    node.update_pod(**crisp_annotations(excludeXXsidecar="true"))

    assert node.metadata_by_container().keys() == {"app"}
    assert node.containers.exclusions() == {("shop", "pod excludes itself"): 1}

    node.update_pod()
    assert node.metadata_by_container().keys() == {"app", "sidecar"}
    assert not node.containers.exclusions()


def test_a_stream_that_is_left_out_is_read_marked_and_counted(node: Node) -> None:
    node.write("app")
    node.update_pod(**crisp_annotations(exclude_stderr="true"))

    assert node.metadata_by_container()["app"]["excluded"] == ["stderr"]
    assert node.containers.exclusions() == {("shop", "pod excludes its stderr"): 1}


def test_where_pods_may_not_they_are_read(tmp_path: Path) -> None:
    node = Node(tmp_path, pods_may_exclude=False, exclude_pods="shop/other")
    node.write("app")
    node.update_pod(**crisp_annotations(exclude="true", parser="klog"))

    assert node.metadata_by_container()["app"]["parser"] == "klog"
    assert "excluded" not in node.metadata_by_container()["app"]


def test_pods_of_the_settings_are_never_opened(tmp_path: Path) -> None:
    node = Node(tmp_path, exclude_pods="shop/p*")
    node.write("app")

    assert not node.containers.tails
    assert node.containers.exclusions() == {("shop", "pod is excluded"): 1}


def test_what_cannot_be_is_said_once(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.write("app", "sidecar")
    for _ in range(3):
        node.update_pod(**crisp_annotations(parser="jsn", multiline="("))

    assert [record.message for record in caplog.records if "not used" in record.message] == [
        "annotation of shop/pay is not used: logs.crisp/parser: no parser 'jsn'",
        "annotation of shop/pay is not used: multiline: pattern '(': missing ): (",
    ]
    assert len(node.containers.invalid_annotations) == 2


def test_a_static_pod_is_found_by_the_uid_of_its_file_and_says_that_it_is_one(node: Node) -> None:
    node.write("app")
    annotations = {"kubernetes.io/config.hash": UID, "kubernetes.io/config.mirror": UID}
    about = {"name": "pay", "namespace": "shop", "uid": "of-the-api", "labels": {}, "annotations": annotations}
    node.pods._add({"metadata": about})
    node.scan()

    assert (node.metadata_by_container()["app"]["uid"], node.metadata_by_container()["app"]["static"]) == (UID, True)


def test_an_ended_pod_is_known_to_have_ended(node: Node) -> None:
    node.write("app")
    node.update_pod()
    (instance,) = node.containers.tails
    before = node.containers._policy.pod_has_ended(instance)
    node.update_pod(phase="Succeeded")

    assert (before, node.containers._policy.pod_has_ended(instance)) == (False, True)
