"""A node with crisp for the tests of a suite: a second reader from the start, and a row for each test."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cluster.node import crisp, verdict, workloads
from tests.cluster.node.node import Node, running_node
from tests.cluster.node.truth import TruthReader


class Scene:
    """A node that ships and indexes."""

    def __init__(self, node: Node, truth: TruthReader) -> None:
        self.node = node
        self.truth = truth
        self._cut: set[tuple[str, str]] = set()

    def cut_power(self) -> None:
        """Cut the node's power; what ran is noted."""
        for pod in self.node.get("-A", "pods")["items"]:
            for group in ("containerStatuses", "initContainerStatuses"):
                for status in pod["status"].get(group, ()):
                    if "terminated" not in status["state"]:
                        self._cut.add((pod["metadata"]["uid"], status["name"]))
        self.node.cut_power()

    @contextmanager
    def judged(self, name: str, note: str = "") -> Iterator[list[str]]:
        """Run a test's steps; then look up every line that was written since the start of the scene.

        What the steps append to the yielded list is noted in the table too.
        """
        started, notes = time.monotonic(), [note] if note else []
        yield notes
        result = verdict.judge(self.node, self.truth, self._cut)
        seconds = time.monotonic() - started
        verdict.record(name, result, seconds, crisp.peak_memory(self.node), "; ".join(notes))
        assert not result.problems, (result.problems, result)
        assert result.written


@contextmanager
def running_scene() -> Iterator[Scene]:
    """A node with crisp rolled out, and the namespace of the workloads."""
    with running_node() as node:
        truth = TruthReader(node.layout.pod_logs)
        try:
            crisp.install(node)
            node.apply(workloads.namespace())
            yield Scene(node, truth)
        finally:
            truth.close()
