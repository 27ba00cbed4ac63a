"""The cost of quiet containers: many that write a few lines a second each, so that a slice has one line or two.

Run by `make bench-trickle`; a real Kafka, a Kubernetes API that has the pods, a sink in place of Elasticsearch. Prints
a table of medians, and writes it to `build/trickle.md`. CPU in microseconds a line: of the shipper while the lines are
written, of a worker over their records without its start-up; bytes of Kafka's log segments a line. `--old DIRECTORY`
measures another source tree in turns with this one.
"""

import argparse
import asyncio
import dataclasses
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pipeline.config.environment import load_settings
from pipeline.local.process import process_cpu_seconds
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from pipeline.parsing import timestamp
from tests.benchmarks import lines, sink
from tests.support import fake_kubernetes_api as kubernetes_api
from tests.support.fake_kubernetes_api import KubernetesApi

ROOT = Path(__file__).parent.parent.parent
WARM_SECONDS = 6.0
DRAIN_SECONDS = 3.0
TICK_SECONDS = 0.02
PREPARED_LINES = 40
HEAD = "| | shipper µs a line | shipper idle, % of a core | worker µs a line | bytes in Kafka a line |"


class Cost(NamedTuple):
    """The cost of one run; see the module's docstring."""

    shipper: float
    idle: float
    worker: float
    disk: float


class Containers:
    """The logs of containers, with the rate of each in lines a second."""

    def __init__(self, root: Path, api: KubernetesApi, count: int) -> None:
        random_ = random.Random(1)
        self.count = count
        self._prepared: list[list[str]] = []
        self.paths: list[Path] = []
        for number in range(count):
            uid = str(uuid.UUID(int=random_.getrandbits(128)))
            name = f"app-{number % 11}-{random_.getrandbits(36):09x}-{random_.getrandbits(20):05x}"
            api.put(_make_pod(name, uid, number, random_))
            directory = root / f"shop_{name}_{uid}" / "app"
            directory.mkdir(parents=True)
            self.paths.append(directory / "0.log")
            line = lines.ecs if number % 2 else lines.FORMATS[number // 2 % len(lines.FORMATS)]
            self._prepared.append([line(random_, time.time_ns()) for _ in range(PREPARED_LINES)])
            self._write(number)

    def _write(self, number: int) -> None:
        line = random.choice(self._prepared[number])
        with self.paths[number].open("a") as file:
            file.write(f"{timestamp.format_utc(time.time_ns())} stdout F {line}\n")

    def write(self, rate: float, seconds: float) -> int:
        """Write for a while, each container in its own regular rhythm; return the number of lines."""
        started, written = time.monotonic(), 0
        due = [started + number / self.count / rate for number in range(self.count)]
        while (now := time.monotonic()) < started + seconds:
            for number in range(self.count):
                if due[number] <= now:
                    self._write(number)
                    written += 1
                    due[number] += 1 / rate
            time.sleep(TICK_SECONDS)
        return written


def _make_pod(name: str, uid: str, number: int, random_: random.Random) -> kubernetes_api.Object:
    app = f"app-{number % 11}"
    labels = {"app": app, "app.kubernetes.io/version": "2.4.1", "pod-template-hash": name.split("-")[2]}
    container = {"name": "app", "image": f"registry.example/shop/{app}:2.4.1"}
    status = {"name": "app", "restartCount": 0, "containerID": f"containerd://{random_.getrandbits(256):064x}"}
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": uid,
            "labels": labels,
            "ownerReferences": [{"kind": "ReplicaSet", "name": name.rpartition("-")[0], "controller": True}],
        },
        "spec": {"nodeName": "node-1", "containers": [container]},
        "status": {"containerStatuses": [status]},
    }


@dataclasses.dataclass
class Benchmark:
    """A Kafka, the way to each run's topics, and what is measured."""

    stack: Stack
    directory: Path
    containers: int
    rate: float
    seconds: float
    runs: int = 0

    def run(self, tree: Path, **extra: str) -> Cost:
        """Measure the shipper and the worker of a source tree."""
        self.runs += 1
        name = f"trickle-{self.runs}"
        home = self.directory / name
        home.mkdir()
        with kubernetes_api.running(home) as api, sink.running() as port:
            containers = Containers(home / "pods", api, self.containers)
            environment = {
                **self.stack.environment,
                "CRISP_LOGS_DIR": str(home / "pods"),
                "CRISP_STATE_DIR": str(home / "state"),
                "CRISP_NODE_NAME": "node-1",
                "CRISP_KUBECONFIG": str(api.kubeconfig()),
                "CRISP_TOPIC_RAW": name,
                "CRISP_TOPIC_DEAD": f"{name}-dead",
                "CRISP_KAFKA_GROUP": name,
                "CRISP_ES_URLS": f"http://127.0.0.1:{port}",
            }
            asyncio.run(topics.create_topics(load_settings(environment)))
            started = self._work(tree, environment)
            shipper, idle, written = self._ship(tree, environment | extra, containers)
            disk = self._disk(name)
            worker = self._work(tree, environment) - started
        shutil.rmtree(home)
        return Cost(shipper * 1e6 / written[0], 100 * idle, worker * 1e6 / written[1], disk / written[1])

    def _ship(
        self, tree: Path, environment: dict[str, str], containers: Containers
    ) -> tuple[float, float, tuple[int, int]]:
        """Return the shipper's CPU-seconds while lines are written, its share of a core when idle, and the lines:
        those written while it was measured, and all.
        """
        with _process(tree, environment, "ship") as child:
            while not self._disk(environment["CRISP_TOPIC_RAW"]):
                time.sleep(TICK_SECONDS)
            time.sleep(WARM_SECONDS)
            before = process_cpu_seconds(child.pid)
            time.sleep(self.seconds / 2)
            idle = (process_cpu_seconds(child.pid) - before) / (self.seconds / 2)
            warm = containers.write(self.rate, WARM_SECONDS)
            before = process_cpu_seconds(child.pid)
            written = containers.write(self.rate, self.seconds)
            cpu = process_cpu_seconds(child.pid) - before
            time.sleep(DRAIN_SECONDS)
        return cpu, idle, (written, written + warm + containers.count)

    def _disk(self, topic: str) -> int:
        """Return the size of a topic's log segments, in bytes."""
        return sum(path.stat().st_size for path in self.stack.directory.rglob(f"{topic}-[0-9]*/*.log"))

    @staticmethod
    def _work(tree: Path, environment: dict[str, str]) -> float:
        """Return the CPU-seconds of a worker that ends when the lag is zero."""
        with _process(tree, environment, "worker", "--once") as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"the worker exited with code {child.returncode}")
        return usage.ru_utime + usage.ru_stime


@contextmanager
def _process(tree: Path, environment: dict[str, str], *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of a source tree; stop it at the end."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the images hold compiled modules
    child = subprocess.Popen([sys.executable, "-m", "pipeline.cli", *command], env=environment, cwd=tree)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.terminate()
            child.wait()


@contextmanager
def _broker() -> Iterator[Stack]:
    """A Kafka alone."""
    with tempfile.TemporaryDirectory(prefix="crisp-trickle-") as directory:
        stack = Stack(Path(directory))
        stack.start_kafka()
        try:
            stack.wait_kafka()
            yield stack
        finally:
            stack.kafka.kill()


def main() -> None:
    """Run the cases in turns; print and save the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--containers", type=int, default=110)
    parser.add_argument("--rate", type=float, default=5.0, help="lines a second of each container")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--old", type=Path, help="another source tree")
    args = parser.parse_args()
    cases: dict[str, tuple[Path, dict[str, str]]] = {
        "bundles": (ROOT, {}),
        "CRISP_BUNDLES=false": (ROOT, {"CRISP_BUNDLES": "false"}),
        **({"old": (args.old.resolve(), {})} if args.old else {}),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in cases}
    with _broker() as stack, tempfile.TemporaryDirectory(prefix="crisp-trickle-") as directory:
        benchmark = Benchmark(stack, Path(directory), args.containers, args.rate, args.seconds)
        for _ in range(args.runs):
            for name, (tree, extra) in cases.items():
                costs[name].append(benchmark.run(tree, **extra))
                print(name, *(f"{value:.2f}" for value in costs[name][-1]), file=sys.stderr, flush=True)
    rows = [
        f"{args.containers} containers, {args.rate:g} lines a second each, medians of {args.runs} runs in turns",
        "",
    ]
    rows += [HEAD, "|---|--:|--:|--:|--:|"]
    for name, values in costs.items():
        median = Cost(*(statistics.median(column) for column in zip(*values, strict=True)))
        rows.append(f"| {name} | {median.shipper:.1f} | {median.idle:.2f} | {median.worker:.1f} | {median.disk:.0f} |")
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "trickle.md").write_text("\n".join(rows) + "\n")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
