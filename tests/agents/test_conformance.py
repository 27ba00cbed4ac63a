"""What the peers assert holds from files to documents: found, read, cut, published, taken, grouped, understood."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.kubernetes.pod_watch import PodWatch
from agents.state.checkpoint import decode, encode
from pipeline.cli.parse import DEFAULT_PATH
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata, record
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import UNKNOWN_POSITION, Headers
from pipeline.documents.record_processor import RecordProcessor
from pipeline.rules.test_case import to_hits
from tests.pipeline.conformance import MONTHS, Case, Document, cases, differences, pod_object, raw_lines
from tests.pipeline.test_conformance import KNOWN_DIFFERENCES, needs_cases

NOW = 1_795_513_350 * 10**9  # 2026-11-24T09:42:30Z
CASES = [case for kind in ("cri", "metadata") for case in cases(kind, "core", "derived")]
ANNOTATIONS = [case for case in cases("metadata", "reference") if "annotations" in case["id"]]


class Shipped:
    """One node: files in the kubelet's layout, a shipper's parts, and what Kafka has got of them."""

    def __init__(self, root: Path, case: Case, **settings: Any) -> None:
        self.case, self.clock = case, 1000.0
        self.about = pod_object(case) or None
        node = str(((self.about or {}).get("spec") or {}).get("nodeName") or "node-1")
        state = root / "state"
        state.mkdir()
        self.root = root / "pods"
        self.settings = Settings(logs_dir=str(self.root), state_dir=str(state), node_name=node, **settings)
        self.pods = PodWatch(self.settings) if self.about else None
        self.records: list[tuple[bytes, Headers]] = []
        self.start(None)

    def start(self, stored: bytes | None) -> None:
        self.fleet = ContainerLogs(
            self.settings, decode(stored) if stored else None, self.pods, clock=lambda: self.clock
        )
        self.discovery = Discovery([kubelet_layout(self.root)], DirectoryCache())

    def crash(self) -> None:
        stored = encode(self.fleet.state())
        for tail in self.fleet.tails.values():
            for file in tail.files:
                file.close()
        self.start(stored)

    def instance(self) -> Instance:
        """The container of the case; what its path does not tell is made up, or the Pod object's."""
        found = pod_metadata.parse_path(self.case.get("path", "")) or pod_metadata.parse_path(DEFAULT_PATH)
        assert found is not None
        metadata = (self.about or {}).get("metadata") or {}
        uid = metadata.get("uid") or found.uid or "11111111-2222-3333-4444-555555555555"
        return found._replace(uid=str(uid))

    def tell(self) -> None:
        if self.pods is not None and self.about is not None:
            metadata = {**self.about["metadata"], "uid": self.instance().uid}
            self.pods._add({**self.about, "metadata": metadata})

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
            self.fleet.update(self.discovery.scan(), now)
            self.clock += 1.1
            for instance, tail in list(self.fleet.tails.items()):
                self.fleet.poll(instance, tail, self.clock)
                while tail.metadata_ready and (taken := tail.next_slice(now)):
                    self.records.append(record.encode(taken.log_slice))
                    tail.acknowledge(taken.in_flight)

    def documents(self) -> list[Document]:
        """What the worker makes of the records, in the order of place."""
        intake = RecordProcessor(self.settings)
        found = []
        for value, headers in self.records:
            parcel, kind = intake.process(value, headers, UNKNOWN_POSITION, NOW)
            assert kind == "slice"
            found += [hit["_source"] for hit in to_hits(parcel.documents)]
        return found


def whole(root: Path, case: Case, **settings: Any) -> list[Document]:
    """All lines at once, in order."""
    node = Shipped(root, case, **settings)
    node.tell()
    for name, raw in raw_lines(case):
        node.write(name, raw + b"\n")
    node.read(NOW)
    return node.documents()


def torn(root: Path, case: Case, **settings: Any) -> list[Document]:
    """Each line in two writes, a look and a crash of the shipper after each, of many lines after some; the pod is told
    of last."""
    node = Shipped(root, case, **settings)
    lines = list(raw_lines(case))
    for number, (name, raw) in enumerate(lines):
        for part in _halves(raw + b"\n"):
            node.write(name, part)
            if number % (1 + len(lines) // 20) == 0:
                node.read(0)
                node.crash()
    node.tell()
    node.read(NOW)
    return node.documents()


def _halves(raw: bytes) -> Iterator[bytes]:
    yield raw[: len(raw) // 2]
    yield raw[len(raw) // 2 :]


@needs_cases
@pytest.mark.parametrize("how", [whole, torn], ids=["whole", "torn"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["id"] not in KNOWN_DIFFERENCES], ids=lambda case: case["id"]
)
def test_from_files_to_documents(tmp_path: Path, case: Case, how: Any) -> None:
    assert list(differences(case, how(tmp_path, case))) == []


@needs_cases
@pytest.mark.parametrize("how", [whole, torn], ids=["whole", "torn"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case["id"] in KNOWN_DIFFERENCES], ids=lambda case: case["id"]
)
def test_halves_of_a_line_that_are_months_apart_join_by_setting(tmp_path: Path, case: Case, how: Any) -> None:
    (tmp_path / "by-default").mkdir()
    (tmp_path / "by-setting").mkdir()

    assert list(differences(case, how(tmp_path / "by-default", case)))
    assert list(differences(case, how(tmp_path / "by-setting", case, partial_gap_seconds=MONTHS))) == []


@needs_cases
@pytest.mark.parametrize("case", ANNOTATIONS, ids=lambda case: case["id"])
def test_fluent_bits_annotations_leave_in_what_they_leave_in_there(tmp_path: Path, case: Case) -> None:
    """The cases name the streams that come through: of each, one that does."""
    path = Path(case["path"]).stem
    namespace, _, rest = path.partition("_")
    name, _, container = rest.partition("_")
    placed = {**case, "path": f"/var/log/pods/{namespace}_{name}_u-1/{container}/0.log"}

    streams = {one["log.iostream"] for one in whole(tmp_path, placed)}

    assert streams >= {case.get("config", {}).get("stream_filter", "stdout")}
