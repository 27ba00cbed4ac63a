"""The cost of shipper and worker: files to a real Kafka, Kafka to a sink that accepts everything; also when idle.

Run by `make bench`; prints a table, and writes it to `build/bench.md`, with every run in `build/bench.json`. `--only`
selects cases by name. CPU-seconds are those of the process, including its start; medians of the runs.
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

from pipeline.config.environment import load_settings
from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports, peak_rss_mib
from pipeline.local.stack import Stack, temporary_stack
from pipeline.operations.setup import topics
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
    """The cost of one run. `lines`: the number processed."""

    cpu: float
    wall: float
    mib: float
    lines: int = 0

    def row(self, name: str) -> str:
        """Return the row of the table."""
        speed = f"{self.lines / self.cpu:,.0f} | {self.cpu * 1e6 / self.lines:.2f}" if self.lines else " | "
        share = "" if self.lines else f"{100 * self.cpu / self.wall:.2f}"
        return f"| {name} | {speed} | {self.wall:.1f} | {self.mib:.0f} | {share} |"


class Benchmark:
    """The servers, the log files written so far, and a new topic for each run."""

    def __init__(self, stack: Stack, directory: Path, lines: int, seconds: float) -> None:
        self.seconds = seconds
        self._stack = stack
        self._directory = directory
        self._lines = lines
        self._runs = 0

    def logs(self, files: int) -> Path:
        """Return the workload in this many files, written once."""
        root = self._directory / f"logs-{files}"
        if not root.exists():
            workload.write(root, self._lines, files)
        return root

    def environment(self, logs: Path, **extra: str) -> dict[str, str]:
        """Create topics for a run; return settings with its own topics and state directory."""
        self._runs += 1
        name = f"bench-{self._runs}"
        environment = {
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
        asyncio.run(topics.create_topics(load_settings(environment)))
        return environment

    def ship(self, files: int = 10, **extra: str) -> Usage:
        """Measure the shipper over the workload, as in a pod whose API server is unreachable."""
        (port,) = free_ports(1)
        pods = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(port)}
        pods["CRISP_METADATA_WAIT_SECONDS"] = "0"
        return _measure(RUN_SHIPPER, self.environment(self.logs(files), **pods, **extra), self._lines // files * files)

    def baseline(self) -> Usage:
        """Measure the baseline: `tests.benchmarks.bare` over the same files."""
        environment = self.environment(self.logs(10))
        brokers, topic = environment["CRISP_KAFKA_BROKERS"], environment["CRISP_TOPIC_RAW"]
        command = ["tests.benchmarks.bare", environment["CRISP_LOGS_DIR"], brokers, topic]
        return _measure(command, environment, self._lines)

    def work(self) -> Usage:
        """Measure a worker over the records of a shipper, with the sink."""
        with sink.running() as port:
            environment = self.environment(self.logs(10), CRISP_ES_URLS=f"http://127.0.0.1:{port}")
            _measure(RUN_SHIPPER, environment, self._lines)
            return _measure(RUN_WORKER, environment, self._lines)

    def idle(self, *, trickle: bool) -> Usage:
        """Measure a shipper of many containers that write nothing, or one line per second each."""
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
    """Run a module to its exit; return its CPU time from the kernel, and its sampled peak memory."""
    environment = {**os.environ, **environment}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # the images hold compiled modules
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", *command], env=environment)
    peak = 0.0
    while not (waited := os.wait4(child.pid, os.WNOHANG))[0]:
        # Sampled: the ru_maxrss of wait4 includes the parent's memory from before the exec.
        peak = max(peak, peak_rss_mib(child.pid))
        time.sleep(POLL_SECONDS)
    _, status, usage = waited
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{command} exited with code {child.returncode}")
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
    """Measure the shipper while every file gets one line per second."""
    shipper.measure()
    cpu_before, started = shipper.cpu_seconds, time.monotonic()
    while (now := time.monotonic()) < started + seconds:
        for path in files:
            _write_line(path)
        time.sleep(max(0.0, 1 - (time.monotonic() - now)))
    shipper.measure()
    return Usage(shipper.cpu_seconds - cpu_before, time.monotonic() - started, shipper.rss_mib)


CASES: dict[str, Callable[[Benchmark], Usage]] = {
    "shipper, 10 files, zstd": Benchmark.ship,
    "bare reader and producer, 10 files, zstd": Benchmark.baseline,
    "shipper, 100 files, zstd": lambda benchmark: benchmark.ship(100),
    "shipper, 1000 files, zstd": lambda benchmark: benchmark.ship(1000),
    "shipper, 10 files, lz4": lambda benchmark: benchmark.ship(CRISP_COMPRESSION="lz4"),
    "shipper, 10 files, gzip": lambda benchmark: benchmark.ship(CRISP_COMPRESSION="gzip"),
    "shipper, 10 files, none": lambda benchmark: benchmark.ship(CRISP_COMPRESSION="none"),
    f"shipper, {CONTAINERS} containers, idle": lambda benchmark: benchmark.idle(trickle=False),
    f"shipper, {CONTAINERS} containers, one line per second each": lambda benchmark: benchmark.idle(trickle=True),
    "worker, 10 files": Benchmark.work,
}


def main() -> None:
    """Interleave the runs, so that slow moments of the machine affect all; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30, help="duration of the idle cases")
    parser.add_argument("--only", default="", help="only cases whose name contains this: " + "; ".join(CASES))
    args = parser.parse_args()
    chosen = {name: case for name, case in CASES.items() if args.only in name}
    if not chosen:
        parser.error(f"no case has {args.only!r} in its name")
    usages: dict[str, list[Usage]] = {name: [] for name in chosen}
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary, temporary_stack() as stack:
        benchmark = Benchmark(stack, Path(temporary), args.lines, args.seconds)
        for _ in range(args.runs):
            for name, case in chosen.items():
                usages[name].append(case(benchmark))
    _write_results(usages, f"{args.lines:,} lines of 200 to 260 bytes, medians of {args.runs} interleaved runs")


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
