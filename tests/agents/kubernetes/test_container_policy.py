"""Labels, exclusion, parser and grouping from pods, also after a change of a pod."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, Scan, kubelet_layout
from agents.kubernetes.container_policy import INVALID_MAX_BYTES
from agents.kubernetes.pod_watch import PodWatch
from agents.tailing.container_tail import MetadataState
from pipeline.config.settings import Settings

UID = "11111111-2222-3333-4444-555555555555"


class Node:
    """A node: its logs, and its pod as the API reports it."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.logs, self.clock = root / "pods", 1000.0
        state = root / "state"
        state.mkdir()
        node_settings = Settings(logs_dir=str(self.logs), state_dir=str(state), node_name="n", **settings)
        self.pods = PodWatch(node_settings)
        self.containers = ContainerLogs(node_settings, self.pods)
        self.discovery = Discovery([kubelet_layout(self.logs)], DirectoryCache())

    def write(self, *containers: str) -> None:
        for container in containers:
            path = self.logs / f"shop_pay_{UID}" / container / "0.log"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"2026-11-24T09:42:30.000000001Z stdout F x\n")
        self.scan()

    def update_pod(self, phase: str = "Running", **annotations: str) -> None:
        metadata = {"name": "pay", "namespace": "shop", "uid": UID, "labels": {"app": "pay"}}
        by_name = {name.replace("__", "/"): value for name, value in annotations.items()}
        self.pods._add({"metadata": {**metadata, "annotations": by_name}, "spec": {}, "status": {"phase": phase}})
        self.scan()

    def scan(self) -> None:
        self.containers.update(Scan(self.discovery.scan(), 0, self.clock))

    def metadata_by_container(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of the containers that are read."""
        return {
            instance.container: orjson.loads(tail.pod)
            for instance, tail in self.containers.tails.items()
            if tail.metadata is not MetadataState.WAITING
        }


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def crisp_annotations(**annotations: str) -> dict[str, str]:
    return {f"logs.crisp__{name.replace('XX', '-')}": value for name, value in annotations.items()}


def test_container_waits_for_its_pod_and_gets_labels_and_parser(node: Node) -> None:
    node.write("app")
    assert node.metadata_by_container() == {}

    node.update_pod(**crisp_annotations(parser="json"))

    assert (node.metadata_by_container()["app"]["labels"], node.metadata_by_container()["app"]["parser"]) == (
        {"app": "pay"},
        "json",
    )


def test_excluded_container_is_not_read_until_annotation_is_removed(node: Node) -> None:
    node.write("app", "sidecar")
    node.update_pod(**crisp_annotations(excludeXXsidecar="true"))

    assert node.metadata_by_container().keys() == {"app"}
    assert node.containers.exclusions() == {("shop", "pod excludes itself"): 1}

    node.update_pod()
    assert node.metadata_by_container().keys() == {"app", "sidecar"}
    assert not node.containers.exclusions()


def test_excluded_stream_is_read_flagged_and_counted(node: Node) -> None:
    node.write("app")
    node.update_pod(**crisp_annotations(exclude_stderr="true"))

    assert node.metadata_by_container()["app"]["excluded"] == ["stderr"]
    assert node.containers.exclusions() == {("shop", "pod excludes its stderr"): 1}


def test_exclusion_by_pod_is_ignored_when_not_permitted(tmp_path: Path) -> None:
    node = Node(tmp_path, pods_may_exclude=False, exclude_pods=("shop/other",))
    node.write("app")
    node.update_pod(**crisp_annotations(exclude="true", parser="klog"))

    assert node.metadata_by_container()["app"]["parser"] == "klog"
    assert "excluded" not in node.metadata_by_container()["app"]


def test_pod_excluded_by_settings_is_never_opened(tmp_path: Path) -> None:
    node = Node(tmp_path, exclude_pods=("shop/p*",))
    node.write("app")

    assert not node.containers.tails
    assert node.containers.exclusions() == {("shop", "pod is excluded"): 1}


def test_invalid_annotation_is_logged_once(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    node.write("app", "sidecar")
    for _ in range(3):
        node.update_pod(**crisp_annotations(parser="jsn", multiline="("))

    assert [record.message for record in caplog.records if "ignored" in record.message] == [
        "annotation of shop/pay ignored: logs.crisp/parser: no parser 'jsn'",
        "annotation of shop/pay ignored: multiline: pattern '(': missing ): (",
    ]
    assert len(node.containers.invalid_annotations) == 2


def test_problems_of_annotations_that_are_kept_are_limited_in_bytes(node: Node) -> None:
    node.write("app")
    for number in range(120):
        node.update_pod(**crisp_annotations(parser=f"{number}" + "\U0001f600" * 1000))
        node.update_pod(**{f"logs.crisp/{number}-{other}-{'x' * 300}": "" for other in range(20)})

    kept = node.containers.invalid_annotations
    assert len(kept) > 300
    assert sum(map(sys.getsizeof, kept)) <= INVALID_MAX_BYTES


def test_static_pod_is_found_by_uid_of_its_log_and_flagged_static(node: Node) -> None:
    node.write("app")
    annotations = {"kubernetes.io/config.hash": UID, "kubernetes.io/config.mirror": UID}
    metadata = {"name": "pay", "namespace": "shop", "uid": "of-the-api", "labels": {}, "annotations": annotations}
    node.pods._add({"metadata": metadata})
    node.scan()

    assert (node.metadata_by_container()["app"]["uid"], node.metadata_by_container()["app"]["static"]) == (UID, True)
