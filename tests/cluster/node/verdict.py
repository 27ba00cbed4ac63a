"""What a test wrote against what is indexed, and its row in build/cluster.md."""

import re
import time
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tests.cluster.node.node import Node
from tests.cluster.node.truth import Source, TruthReader
from tests.cluster.node.workloads import NAMESPACE
from tests.deploy.manifests import ROOT

TABLE = ROOT / "build" / "cluster.md"
SETTLE_SECONDS = 300.0  # a loop that ends as soon as all is found: Elasticsearch may be slow on a busy machine
_NUMBERED = re.compile(r"@([a-z0-9-]+):(\d+):(\d+)@ x*e$")
_PATH = re.compile(r"/([a-z0-9.-]+)_([a-z0-9.-]+)_([A-Za-z0-9-]+)/([a-z0-9-]+)/(\d+)\.log")
_COLUMNS = ["test", "written", "indexed", "missing", "in gaps", "doubled", "unlabelled", "altered"]
_COLUMNS += ["gaps told", "gaps true", "gaps possible", "seconds", "shipper MiB", "worker MiB", ""]


@dataclass
class Verdict:
    """Counts of lines, and of containers with gaps. `missing` are lines that no gap told of.

    `gaps_possible`: of unknown size, of containers that ran when the node lost its power: what they wrote after the
    last checkpoint cannot be known, where the kubelet deletes their logs before the shipper is back.
    """

    written: int = 0
    indexed: int = 0
    missing: int = 0
    in_gaps: int = 0
    doubled: int = 0
    unlabelled: int = 0
    altered: int = 0
    gaps_told: int = 0
    gaps_true: int = 0
    gaps_possible: int = 0

    @property
    def problems(self) -> list[str]:
        """What is wrong."""
        names = ("missing", "doubled", "unlabelled", "altered")
        wrong = [f"{name}: {getattr(self, name)}" for name in names if getattr(self, name)]
        if self.gaps_told != self.gaps_true + self.gaps_possible:
            wrong.append(f"gaps told: {self.gaps_told}, true: {self.gaps_true}, possible: {self.gaps_possible}")
        return wrong


def judge(
    node: Node, truth: TruthReader, cut: Container[tuple[str, str]] = (), *, seconds: float = SETTLE_SECONDS
) -> Verdict:
    """Look up what was written until now, until nothing is missing, or the time is over.

    `cut`: pod uid and name of the containers that ran when the node lost its power.
    """
    deadline = time.monotonic() + seconds
    written = {source: lines for source, lines in truth.numbers().items() if source.namespace == NAMESPACE}
    while True:
        verdict = _compare(node, truth, written, cut)
        if not verdict.problems or time.monotonic() > deadline:
            return verdict
        time.sleep(2.0)


def _compare(
    node: Node, truth: TruthReader, written: dict[Source, Counter[tuple[str, int]]], cut: Container[tuple[str, str]]
) -> Verdict:
    verdict, indexed, altered = Verdict(), Counter[tuple[str, str, str, int]](), 0
    for document in _documents(node):
        number = _NUMBERED.match(document.get("message", ""))
        if number is None:
            altered += "@" in document.get("message", "")
            continue
        altered += len(document["message"]) != int(number[3])
        key = document["kubernetes.pod.uid"], document["kubernetes.container.name"], number[1], int(number[2])
        indexed[key] += 1
        verdict.unlabelled += "kubernetes.labels" not in document
    gaps = _gaps(node)
    told = set(map(_source, gaps))
    possible = {_source(gap) for gap in gaps if "crisp.gap.bytes" not in gap and _source(gap)[2:4] in cut}
    missing: Counter[Source] = Counter()
    for source, lines in written.items():
        verdict.written += lines.total()
        for run, line in lines:
            count = indexed[source.uid, source.container, run, line]
            verdict.indexed += count
            missing[source] += not count
    verdict.altered = altered
    verdict.doubled = sum(count - 1 for count in indexed.values())
    verdict.missing = sum(count for source, count in missing.items() if source not in told)
    verdict.in_gaps = sum(count for source, count in missing.items() if source in told)
    verdict.gaps_told = len(told)
    own = truth.line_counts() if any(source.namespace != NAMESPACE for source in told) else Counter()
    true = {source for source in told if missing[source] > 0 or _lacks_lines(node, own, source)}
    verdict.gaps_true, verdict.gaps_possible = len(true), len(possible - true)
    return verdict


def _lacks_lines(node: Node, counts: Counter[Source], source: Source) -> bool:
    """Return whether fewer lines are indexed of a container than it wrote, of one that does not number its lines."""
    if source.namespace == NAMESPACE:
        return False
    container = {"kubernetes.pod.uid": source.uid, "kubernetes.container.name": source.container}
    own = [{"term": {name: value}} for name, value in container.items()]
    query = {"query": {"bool": {"filter": own, "must_not": {"term": {"log.flags": "gap"}}}}}
    written = sum(count for other, count in counts.items() if other[2:4] == source[2:4])
    return int(node.request("POST", "/logs-*/_count", query)["count"]) < written


def _source(gap: dict[str, Any]) -> Source:
    path = _PATH.search(gap.get("log.file.path", ""))
    return Source(path[1], path[2], path[3], path[4], int(path[5])) if path else Source("", str(gap), "", "", 0)


def _gaps(node: Node) -> list[dict[str, Any]]:
    query = {"query": {"term": {"log.flags": "gap"}}, "size": 1000}
    hits = node.request("POST", "/logs-*/_search", query)["hits"]["hits"]
    return [hit["_source"] for hit in hits]


def _documents(node: Node) -> list[dict[str, Any]]:
    """Return all documents of the workloads' namespace, without gaps."""
    node.request("POST", "/logs-*/_refresh")
    query = {
        "bool": {"filter": {"term": {"kubernetes.namespace": NAMESPACE}}, "must_not": {"term": {"log.flags": "gap"}}}
    }
    wanted = ["message", "kubernetes.pod.uid", "kubernetes.container.name", "kubernetes.labels"]
    page = node.request("POST", "/logs-*/_search?scroll=2m&size=5000", {"query": query, "_source": wanted})
    documents: list[dict[str, Any]] = []
    while page["hits"]["hits"]:
        documents += [hit["_source"] for hit in page["hits"]["hits"]]
        page = node.request("POST", "/_search/scroll", {"scroll": "2m", "scroll_id": page["_scroll_id"]})
    return documents


def record(name: str, verdict: Verdict, seconds: float, memory: dict[str, int], note: str = "") -> None:
    """Add a row to the table."""
    if not TABLE.exists():
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}\n")
    numbers = [getattr(verdict, field.name) for field in fields(Verdict)]
    peaks = (f"{memory.get(part, 0) / 2**20:.0f}" for part in ("shipper", "worker"))
    row = (name, *(f"{number:,}" for number in numbers), f"{seconds:.0f}", *peaks, note)
    with Path(TABLE).open("a") as table:
        table.write(f"| {' | '.join(row)} |\n")
