"""The kubelet's own rotation, with its compressed files, of lines that containerd splits."""

import time

import pytest

from tests.cluster.node import workloads
from tests.cluster.node.scene import Scene

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]


def test_rotated_and_compressed_logs_are_indexed_whole(scene: Scene) -> None:
    """100 KiB a file: each container's log is rotated every three seconds, and compressed in the next round."""
    containers = {
        "short": workloads.container("short", "short", 12_000, "150,300", 300, "stay"),
        "partial": workloads.container("partial", "partial", 1500, "16383,16384,16385,32768,100,70000", 30, "stay"),
        "tty": {**workloads.container("tty", "tty", 3000, "200", 100, "stay"), "tty": True},
    }
    with scene.judged("rotation: 100 KiB a file, .gz, partials of 16 KiB, a terminal") as notes:
        name = f"rotating-{time.time_ns()}"
        template = workloads.pod_template({"app": "rotating"}, *containers.values())
        scene.node.apply(workloads.pod(name, template))
        time.sleep(60)
        archives = len(list(scene.node.layout.pod_logs.glob(f"load_{name}_*/*/*.gz")))
        notes.append(f"{archives} .gz files at the end")
        assert archives
