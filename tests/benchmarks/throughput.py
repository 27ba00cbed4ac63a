"""What shipper and worker cost: files to a real Kafka, Kafka to a sink that takes all; and when there is little to do.

Run by `make bench`; prints a table, and writes it to `build/bench.md` with every run in `build/bench.json`. `--only`
chooses cases by name. CPU-seconds are of the process itself, its start included; the medians of the runs.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.config.settings import load
from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports, peak_rss_mib
from pipeline.local.stack import Stack, temporary_stack
from pipeline.operations.setup import setup
from pipeline.parsing import timestamp
from tests.benchmarks import sink, workload

BUILD = Path(__file__).parent.parent.parent / "build"
CONTAINERS = 110
WARM_SECONDS = 5.0
POLL_SECONDS = 0.05
RUN_SHIPPER = ["pipeline.cli", "ship", "--once"]
RUN_WORKER = ["pipeline.cli", "worker", "--once"]
HEAD = "| case | lines per CPU-second | CPU-seconds per million lines | wall s | peak MiB | % of a core |"


class Usage(NamedTuple):
    """What one run took. `lines`: how many went through."""

    cpu: float
    wall: float
    mib: float
    lines: int = 0

    def row(self, name: str) -> str:
        """As a row of the table."""
        speed = f"{self.lines / self.cpu:,.0f} | {self.cpu * 1e6 / self.lines:.2f}" if self.lines else " | "
        share = "" if self.lines else f"{100 * self.cpu / self.wall:.2f}"
        return f"| {name} | {speed} | {self.wall:.1f} | {self.mib:.0f} | {share} |"


class Benchmark:
    """The servers, the log files written so far, and a fresh topic for each run."""

    def __init__(self, stack: Stack, directory: Path, lines: int, seconds: float) -> None:
        self.seconds = seconds
        self._stack = stack
        self._directory = directory
        self._lines = lines
        self._runs = 0

    def logs(self, files: int) -> Path:
        """The workload in so many files, written once."""
        root = self._directory / f"logs-{files}"
        if not root.exists():
            workload.write(root, self._lines, files)
        return root

    def environment(self, logs: Path, **extra: str) -> dict[str, str]:
        """Settings for a run with topics and a state of its own; the topics are made."""
        self._runs += 1
        name = f"bench-{self._runs}"
        made = {
            **self._stack.environment,
            "CRISP_LOGS_DIR": str(logs),
            "CRISP_STATE_DIR": str(self._directory / name),
            "CRISP_NODE_NAME": "node-1",
            "CRISP_TOPIC_RAW": f"{name}-raw",
            "CRISP_TOPIC_DEAD": f"{name}-dead",
            "CRISP_KAFKA_GROUP": name,
            "CRISP_WORKER_PORT": "0",
            **extra,
        }
        asyncio.run(setup.create_topics(load(made)))
        return made

    def kubeconfig(self) -> Path:
        """For an API server that is not there: the client is loaded and asks, as on a node."""
        path, (port,) = self._directory / "kubeconfig", free_ports(1)
        named = {"clusters": "cluster", "users": "user", "contexts": "context"}
        entries = {"cluster": {"server": f"http://127.0.0.1:{port}"}, "user": {}}
        entries["context"] = {"cluster": "cluster", "user": "user"}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "context",
                    **{many: [{"name": one, one: entries[one]}] for many, one in named.items()},
                }
            )
        )
        return path

    def ship(self, files: int = 10, **extra: str) -> Usage:
        """The shipper over the workload, with the Kubernetes client loaded."""
        pods = {"CRISP_KUBECONFIG": str(self.kubeconfig()), "CRISP_METADATA_WAIT_SECONDS": "0"}
        return _measure(RUN_SHIPPER, self.environment(self.logs(files), **pods, **extra), self._lines // files * files)

    def floor(self) -> Usage:
        """The floor: `tests.benchmarks.bare` over the same files."""
        made = self.environment(self.logs(10))
        brokers, topic = made["CRISP_KAFKA_BROKERS"], made["CRISP_TOPIC_RAW"]
        return _measure(["tests.benchmarks.bare", made["CRISP_LOGS_DIR"], brokers, topic], made, self._lines)

    def work(self) -> Usage:
        """A worker over what a shipper sent, to a sink."""
        with sink.running() as port:
            environment = self.environment(self.logs(10), CRISP_ES_URLS=f"http://127.0.0.1:{port}")
            _measure(RUN_SHIPPER, environment, self._lines)
            return _measure(RUN_WORKER, environment, self._lines)

    def idle(self, *, trickle: bool) -> Usage:
        """A shipper of many containers that write nothing, or a line a second each."""
        root = self._directory / f"quiet-{self._runs}"
        files = list(_create_idle_logs(root))
        shipper = ChildProcess("ship", self.environment(root, CRISP_SHIP_PORT="0"), self._directory)
        shipper.start()
        try:
            time.sleep(WARM_SECONDS)
            return _measure_idle(shipper, self.seconds, files if trickle else [])
        finally:
            shipper.stop()


def _measure(command: list[str], environment: dict[str, str], lines: int) -> Usage:
    """Run a module to its end; CPU as the kernel counts it for the child, and its peak memory while it ran."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the images hold compiled modules
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", *command], env=environment)
    peak = 0.0
    while not (ended := os.wait4(child.pid, os.WNOHANG))[0]:
        peak = max(
            peak, peak_rss_mib(child.pid)
        )  # what wait4 tells of memory counts the parent's too, from before the exec
        time.sleep(POLL_SECONDS)
    _, status, usage = ended
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} ended with code {child.returncode}")
    return Usage(usage.ru_utime + usage.ru_stime, time.monotonic() - started, peak, lines)


def _create_idle_logs(root: Path) -> Iterator[Path]:
    for number in range(CONTAINERS):
        directory = root / f"shop_app-{number}_{number:08d}-1111-2222-3333-444444444444" / "app"
        directory.mkdir(parents=True)
        _write_line(directory / "0.log")
        yield directory / "0.log"


def _write_line(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{timestamp.format_utc(time.time_ns())} stdout F {'a line of a quiet service ' * 6}\n")


def _measure_idle(shipper: ChildProcess, seconds: float, files: list[Path]) -> Usage:
    """What the shipper takes while every file gets a line a second."""
    shipper.measure()
    before, started = shipper.cpu_seconds, time.monotonic()
    while (now := time.monotonic()) < started + seconds:
        for path in files:
            _write_line(path)
        time.sleep(max(0.0, 1 - (time.monotonic() - now)))
    shipper.measure()
    return Usage(shipper.cpu_seconds - before, time.monotonic() - started, shipper.rss_mib)


CASES: dict[str, Callable[[Benchmark], Usage]] = {
    "shipper, 10 files, zstd": Benchmark.ship,
    "bare reader and producer, 10 files, zstd": Benchmark.floor,
    "shipper, 100 files, zstd": lambda scene: scene.ship(100),
    "shipper, 1000 files, zstd": lambda scene: scene.ship(1000),
    "shipper, 10 files, lz4": lambda scene: scene.ship(CRISP_COMPRESSION="lz4"),
    "shipper, 10 files, gzip": lambda scene: scene.ship(CRISP_COMPRESSION="gzip"),
    "shipper, 10 files, none": lambda scene: scene.ship(CRISP_COMPRESSION="none"),
    f"shipper, {CONTAINERS} containers, idle": lambda scene: scene.idle(trickle=False),
    f"shipper, {CONTAINERS} containers, a line a second each": lambda scene: scene.idle(trickle=True),
    "worker, 10 files": Benchmark.work,
}


def main() -> None:
    """Measure in turns, so that a slow moment of the machine hits all; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30, help="how long the quiet cases are watched")
    parser.add_argument("--only", default="", help="cases whose name holds this: " + "; ".join(CASES))
    args = parser.parse_args()
    chosen = {name: case for name, case in CASES.items() if args.only in name}
    if not chosen:
        parser.error(f"no case has {args.only!r} in its name")
    seen: dict[str, list[Usage]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary, temporary_stack() as stack:
        scene = Benchmark(stack, Path(temporary), args.lines, args.seconds)
        for _ in range(args.runs):
            for name, case in chosen.items():
                seen[name].append(case(scene))
    _write_results(seen, f"{args.lines:,} lines of 200 to 260 bytes, medians of {args.runs} runs in turns")


def _write_results(usages_by_case: dict[str, list[Usage]], title: str) -> None:
    rows = []
    for name, usages in usages_by_case.items():
        median = Usage(*(statistics.median(column) for column in zip(*usages, strict=True)))
        rows.append(median.row(name))
    table = "\n".join([title, "", HEAD, "|---|--:|--:|--:|--:|--:|", *rows])
    BUILD.mkdir(exist_ok=True)
    (BUILD / "bench.md").write_text(table + "\n")
    runs = {name: [usage._asdict() for usage in usages] for name, usages in usages_by_case.items()}
    (BUILD / "bench.json").write_text(json.dumps(runs, indent=1))
    print(table)


if __name__ == "__main__":
    main()
