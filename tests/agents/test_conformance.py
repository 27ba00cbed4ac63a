"""Conformance cases of other log shippers, from files to documents, with the shipper's and the worker's parts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, Scan, kubelet_layout
from agents.kubernetes.pod_watch import PodWatch
from agents.state.checkpoint import decode, encode
from agents.tailing.container_tail import MetadataState
from pipeline.cli.parse import DEFAULT_PATH
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata, record
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import UNKNOWN_POSITION, Headers
from pipeline.documents.record_processor import RecordProcessor
from tests.support.conformance import (
    KNOWN_DIFFERENCES,
    MONTHS,
    Case,
    Document,
    cases,
    differences,
    needs_cases,
    pod_object,
    raw_lines,
)

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
CASES = [case for kind in ("cri", "metadata") for case in cases(kind, "core", "derived")]
ANNOTATIONS = [case for case in cases("metadata", "reference") if "annotations" in case["id"]]


class Node:
    """One node: files in the kubelet's layout, the shipper's parts, and the records that Kafka has."""

    def __init__(self, root: Path, case: Case, **settings: Any) -> None:
        self.case, self.clock = case, 1000.0
        self.pod = pod_object(case) or None
        node = str(((self.pod or {}).get("spec") or {}).get("nodeName") or "node-1")
        state = root / "state"
        state.mkdir()
        self.root = root / "pods"
        self.settings = Settings(logs_dir=str(self.root), state_dir=str(state), node_name=node, **settings)
        self.pods = PodWatch(self.settings) if self.pod else None
        self.records: list[tuple[bytes, Headers]] = []
        self.start(None)

    def start(self, checkpoint: bytes | None) -> None:
        self.logs = ContainerLogs(self.settings, self.pods)
        self.logs.restore(decode(checkpoint) if checkpoint else None)
        self.discovery = Discovery([kubelet_layout(self.root)], DirectoryCache())

    def crash(self) -> None:
        checkpoint = encode(self.logs.state())
        for tail in self.logs.tails.values():
            for file in tail.files:
                file.close()
        self.start(checkpoint)

    def instance(self) -> Instance:
        """The container of the case; a missing path has a default, a missing uid that of the Pod object."""
        instance = pod_metadata.parse_path(self.case.get("path", "")) or pod_metadata.parse_path(DEFAULT_PATH)
        assert instance is not None
        metadata = (self.pod or {}).get("metadata") or {}
        uid = metadata.get("uid") or instance.uid or "11111111-2222-3333-4444-555555555555"
        return instance._replace(uid=str(uid))

    def deliver_pod(self) -> None:
        if self.pods is not None and self.pod is not None:
            metadata = {**self.pod["metadata"], "uid": self.instance().uid}
            self.pods._add({**self.pod, "metadata": metadata})

    def write(self, name: str, data: bytes) -> None:
        instance = self.instance()
        file = name or Path(self.case.get("path", "")).name
        file = file if pod_metadata.LOG_FILE.fullmatch(file) else f"{instance.restart}.log"
        path = self.root / "_".join(instance[:3]) / instance.container / file
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            log.write(data)

    def read(self, now: int) -> None:
        for _ in range(4):
            self.logs.update(Scan(self.discovery.scan(), now, self.clock))
            self.clock += 1.1
            for instance, tail in list(self.logs.tails.items()):
                self.logs.poll(instance, tail, self.clock)
                while tail.metadata is not MetadataState.WAITING and (pending := tail.next_slice(now)):
                    self.records.append(record.encode(pending.log_slice))
                    tail.acknowledge(pending.in_flight)

    def documents(self) -> list[Document]:
        """The worker's documents of the records, in order."""
        processor = RecordProcessor(self.settings)
        documents: list[Document] = []
        for value, headers in self.records:
            batch, kind = processor.process(value, headers, UNKNOWN_POSITION, NOW)
            assert kind == "slice"
            documents += [hit["_source"] for hit in batch.to_hits()]
        return documents


def ship_at_once(root: Path, case: Case, **settings: Any) -> list[Document]:
    """Ship all lines at once, in order."""
    node = Node(root, case, **settings)
    node.deliver_pod()
    for name, raw in raw_lines(case):
        node.write(name, raw + b"\n")
    node.read(NOW)
    return node.documents()


def ship_with_crashes(root: Path, case: Case, **settings: Any) -> list[Document]:
    """Write each line in two halves; poll and crash after each half of up to 20 lines; the pod metadata comes last."""
    node = Node(root, case, **settings)
    lines = list(raw_lines(case))
    for number, (name, raw) in enumerate(lines):
        for half in _halves(raw + b"\n"):
            node.write(name, half)
            if number % (1 + len(lines) // 20) == 0:
                node.read(0)
                node.crash()
    node.deliver_pod()
    node.read(NOW)
    return node.documents()


def _halves(raw: bytes) -> Iterator[bytes]:
    yield raw[: len(raw) // 2]
    yield raw[len(raw) // 2 :]


@needs_cases
@pytest.mark.parametrize("ship", [ship_at_once, ship_with_crashes], ids=["at once", "with crashes"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["id"] not in KNOWN_DIFFERENCES], ids=lambda case: case["id"]
)
def test_shipped_lines_become_expected_documents(tmp_path: Path, case: Case, ship: Any) -> None:
    assert list(differences(case, ship(tmp_path, case))) == []


@needs_cases
@pytest.mark.parametrize("ship", [ship_at_once, ship_with_crashes], ids=["at once", "with crashes"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["id"] in KNOWN_DIFFERENCES], ids=lambda case: case["id"]
)
def test_partials_months_apart_are_joined_with_partial_gap_setting(tmp_path: Path, case: Case, ship: Any) -> None:
    (tmp_path / "by-default").mkdir()
    (tmp_path / "by-setting").mkdir()

    assert list(differences(case, ship(tmp_path / "by-default", case)))
    assert list(differences(case, ship(tmp_path / "by-setting", case, partial_gap_seconds=MONTHS))) == []


@needs_cases
@pytest.mark.parametrize("case", ANNOTATIONS, ids=lambda case: case["id"])
def test_fluent_bit_annotations_keep_the_same_streams(tmp_path: Path, case: Case) -> None:
    """Each case names one stream that passes."""
    path = Path(case["path"]).stem
    namespace, _, rest = path.partition("_")
    name, _, container = rest.partition("_")
    located = {**case, "path": f"/var/log/pods/{namespace}_{name}_u-1/{container}/0.log"}

    streams = {document["log.iostream"] for document in ship_at_once(tmp_path, located)}

    assert streams >= {case.get("config", {}).get("stream_filter", "stdout")}
