"""The memory of a shipper with pod metadata: in a pod, by a kubeconfig, and without.

`python -m tests.benchmarks.pod_memory`; a small API server on this machine. Each run is a process of its own that has
imported the shipper, loaded the settings and, with pod metadata, listed the pods of a node and begun to watch them:
peak RSS, medians of interleaved runs. The table goes to `build/pod_memory.md`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support import fake_kubernetes_api as kubernetes_api
from tests.support.fake_kubernetes_api import KubernetesApi, make_pod

TABLE = Path(__file__).parent.parent.parent / "build" / "pod_memory.md"
WAYS = ("without", "in a pod", "by a kubeconfig")
CHILD = """
import os, sys, time
import agents.cli, agents.shipper
from pathlib import Path
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.environment import load_settings
from pipeline.kubernetes import access
from pipeline.local.process import peak_rss_mib
access.SERVICE_ACCOUNT_DIRECTORY = Path(os.environ.pop("TEST_SERVICE_ACCOUNT"))
effective = load_settings()
if pod_api.is_enabled(effective):
    watch = PodWatch(effective)
    watch.start()
    while watch.problem:
        time.sleep(0.05)
    assert watch.changes == int(sys.argv[1]), watch.changes
print(peak_rss_mib(os.getpid()), len(sys.modules))
"""


def measure(api: KubernetesApi, way: str, pods: int) -> tuple[float, int]:
    """Return peak RSS in MiB, and the number of modules."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CRISP_", "KUBERNETES_"))}
    environment |= {"CRISP_NODE_NAME": "node-1", "TEST_SERVICE_ACCOUNT": str(api.service_account())}
    with tempfile.TemporaryDirectory(prefix="crisp-memory-") as state:
        environment["CRISP_STATE_DIR"] = state
        if way == "in a pod":
            environment |= {"KUBERNETES_SERVICE_HOST": api.host, "KUBERNETES_SERVICE_PORT": str(api.port)}
        elif way == "by a kubeconfig":
            environment["CRISP_KUBECONFIG"] = str(api.kubeconfig())
        command = [sys.executable, "-c", CHILD, str(pods)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    peak, modules = result.stdout.split()
    return float(peak), int(modules)


def table(runs: dict[str, list[tuple[float, int]]], pods: int) -> str:
    """Return the medians as Markdown."""
    rows = [f"| pod metadata, {pods} pods | peak MiB | modules |", "|---|--:|--:|"]
    for way, values in runs.items():
        rows.append(f"| {way} | {statistics.median(peak for peak, _ in values):.1f} | {values[0][1]} |")
    return "\n".join(rows)


def main() -> None:
    """Print and save the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=110)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    runs: dict[str, list[tuple[float, int]]] = {way: [] for way in WAYS}
    with (
        tempfile.TemporaryDirectory(prefix="crisp-memory-") as directory,
        kubernetes_api.running(Path(directory)) as api,
    ):
        for number in range(args.pods):
            api.put(make_pod(f"pod-{number}", app="shop"))
        for _ in range(args.runs):
            for way in WAYS:
                runs[way].append(measure(api, way, args.pods))
    text = table(runs, args.pods)
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
