"""Others at the same work, side by side in one run: log files to a real Kafka, and straight to a bulk endpoint.

Run by `make bench-peers`. A peer that is not on this machine is named and left out: rsyslog with its modules for Kafka
and Elasticsearch (in Debian: rsyslog, rsyslog-kafka, rsyslog-elasticsearch), the OpenTelemetry Collector (built once
with Go, cached). What they are spared: rsyslog joins no partials and maps nothing, the collector passes raw lines on.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from pipeline.cli.worker import total_lag
from pipeline.config.settings import load
from pipeline.local.artifacts import cache_directory
from pipeline.local.stack import Stack, temporary_stack
from pipeline.operations.setup import setup
from tests.benchmarks import sink, workload

LIMIT_SECONDS = 900.0
_OTELCOL = Path(__file__).parent / "otelcol"
_RSYSLOG_MODULES = ("omkafka.so", "omelasticsearch.so", "imfile.so", "mmjsonparse.so")


class Usage(NamedTuple):
    """What a program cost: CPU-seconds and peak memory in MiB, its start included."""

    cpu: float
    rss: float


class Measurement(NamedTuple):
    """One measurement's surroundings."""

    stack: Stack
    logs: Path
    directory: Path
    topic: str
    lines: int
    sink: int

    @property
    def environment(self) -> dict[str, str]:
        """The settings of crisp's own parts."""
        return {
            **self.stack.environment,
            "CRISP_LOGS_DIR": str(self.logs),
            "CRISP_STATE_DIR": str(self.directory / "state"),
            "CRISP_NODE_NAME": "node-1",
            "CRISP_TOPIC_RAW": self.topic,
            "CRISP_TOPIC_DEAD": f"{self.topic}-dead",
            "CRISP_KAFKA_GROUP": self.topic,
            "CRISP_ES_URLS": f"http://127.0.0.1:{self.sink}",
            "CRISP_WORKER_PORT": "0",
        }


def count_records(scene: Measurement) -> int:
    """How many records the topic holds."""
    # A group that never committed: its lag is all there is.
    return asyncio.run(total_lag(load({**scene.environment, "CRISP_KAFKA_GROUP": f"{scene.topic}-none"})))


def count_received(scene: Measurement) -> int:
    """How many documents the bulk endpoint has taken."""
    with urllib.request.urlopen(f"http://127.0.0.1:{scene.sink}/received", timeout=60) as answer:
        return int(answer.read())


def run_until(scene: Measurement, command: list[str], done: Callable[[], bool]) -> Usage:
    """Run a program that does not end by itself until the work is done, then end it."""
    output = scene.directory / "output"
    with output.open("wb") as file:
        child = subprocess.Popen(command, stdout=file, stderr=file)
    limit = time.monotonic() + LIMIT_SECONDS
    try:
        while not done():
            if child.poll() is not None or time.monotonic() > limit:
                raise SystemExit(f"{command[0]} did not do its work:\n{output.read_text()[-2000:]}")
            time.sleep(0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
    return _wait(child)


def run_once(*command: str, environment: dict[str, str]) -> Usage:
    """Run one of crisp's parts with `--once`."""
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *command, "--once"], env={**os.environ, **environment}
    )
    return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> Usage:
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def crisp_ship(scene: Measurement) -> Usage:
    """The shipper: slices cut between events, pod metadata from paths."""
    return run_once("ship", environment=scene.environment)


def crisp_both(scene: Measurement) -> Usage:
    """Shipper and worker: everything that a document has."""
    shipper = run_once("ship", environment=scene.environment)
    worker = run_once("worker", environment=scene.environment)
    return Usage(shipper.cpu + worker.cpu, max(shipper.rss, worker.rss))


def rsyslog_kafka(scene: Measurement) -> Usage:
    """Raw lines by librdkafka, zstd, acks=all."""
    action = f"""action(type="omkafka" broker="{scene.stack.address.brokers}" topic="{scene.topic}" template="raw"
  confParam=["compression.codec=zstd","acks=all","linger.ms=50","queue.buffering.max.messages=200000"]
  partitions.auto="on" queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="4096"
  action.resumeInterval="1")"""  # it sleeps so long, 30 s by default, whenever its producer's queue is full
    return run_until(scene, _rsyslog(scene, action), lambda: count_records(scene) >= scene.lines)


def rsyslog_sink(scene: Measurement) -> Usage:
    """CRI fields by position, JSON parsed, bulk requests; no joining, no mapping, no ids."""
    action = f"""set $!time = field($msg, 32, 1);
set $!stream = field($msg, 32, 2);
set $!log = substring($msg, 40, 100000);
if $!log startswith "{{" then set $.parsed = parse_json($!log, "\\$!body");
action(type="omelasticsearch" server="127.0.0.1" serverport="{scene.sink}" template="all" bulkmode="on"
  searchIndex="logs" searchType="" maxbytes="4m" queue.type="LinkedList" queue.size="200000"
  queue.dequeueBatchSize="4096")"""
    return run_until(scene, _rsyslog(scene, action), lambda: count_received(scene) >= scene.lines)


def _rsyslog(scene: Measurement, action: str) -> list[str]:
    path = scene.directory / "rsyslog.conf"
    path.write_text(f"""global(workDirectory="{scene.directory}" maxMessageSize="1m")
module(load="imfile") module(load="omkafka") module(load="omelasticsearch")
template(name="raw" type="string" string="%msg%")
template(name="all" type="string" string="%$!all-json%")
input(type="imfile" file="{scene.logs}/*/app/0.log" tag="x" freshStartTail="off" ruleset="out")
ruleset(name="out") {{
{action}
}}
""")
    return ["rsyslogd", "-n", "-f", str(path), "-i", str(scene.directory / "rsyslog.pid")]


def collector_kafka(scene: Measurement) -> Usage:
    """Raw lines, one a record, by franz-go, zstd, acks=all."""
    path = scene.directory / "otelcol.yaml"
    path.write_text(f"""receivers:
  filelog: {{include: ["{scene.logs}/*/app/0.log"], start_at: beginning}}
processors:
  batch: {{}}
exporters:
  kafka:
    brokers: ["{scene.stack.address.brokers}"]
    logs: {{topic: {scene.topic}, encoding: raw}}
    producer: {{required_acks: -1, compression: zstd}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [filelog], processors: [batch], exporters: [kafka]}}
""")
    return run_until(scene, [str(collector()), "--config", f"file:{path}"], lambda: count_records(scene) >= scene.lines)


def collector() -> Path:
    """The collector, built first if it is not there (some three minutes)."""
    path = cache_directory() / "otelcol-0.155.0"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".otelcol-") as temporary:
            here = Path(temporary)
            shutil.copytree(_OTELCOL, here, dirs_exist_ok=True)
            environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
            for arguments in (("mod", "tidy", "-e"), ("build", "-trimpath", "-ldflags", "-s -w", "-o", "made", ".")):
                subprocess.run(["go", *arguments], cwd=here, env=environment, check=True, capture_output=True)
            (here / "made").rename(path)
    return path


def missing_requirement(name: str) -> str:
    """Why a contestant cannot take part here; empty if it can."""
    if name.startswith("rsyslog"):
        places = [Path("/usr/lib", machine, "rsyslog") for machine in ("x86_64-linux-gnu", "aarch64-linux-gnu")]
        have = {file.name for place in places if place.is_dir() for file in place.iterdir()}
        absent = [module for module in _RSYSLOG_MODULES if module not in have]
        if shutil.which("rsyslogd") is None or absent:
            return "rsyslog, rsyslog-kafka and rsyslog-elasticsearch are not installed"
    if (
        name.startswith("collector")
        and not (cache_directory() / "otelcol-0.155.0").exists()
        and shutil.which("go") is None
    ):
        return "Go is needed to build it once"
    return ""


COMPARISONS: dict[str, tuple[Callable[[Measurement], Usage], ...]] = {
    "files to Kafka": (crisp_ship, rsyslog_kafka, collector_kafka),
    "files to bulk requests": (crisp_both, rsyslog_sink),
}


def main() -> None:
    """Measure in turns, so that a slow moment of the machine hits all; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="contestants whose name holds this")
    args = parser.parse_args()
    table = Table("work", "who", "lines per CPU-second", "CPU-seconds per million lines", "peak MiB", "against crisp")
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="crisp-peers-") as temporary, temporary_stack() as stack:
        logs = Path(temporary, "pods")
        size = workload.write(logs, args.lines)
        for work, contestants in COMPARISONS.items():
            taking_part = []
            for contestant in contestants:
                if why := missing_requirement(contestant.__name__):
                    console.print(f"{contestant.__name__} takes no part: {why}")
                elif not args.only or args.only in contestant.__name__:
                    taking_part.append(contestant)
            usages = _run_in_turns(taking_part, stack, logs, Path(temporary), args)
            ours = next(iter(usages.values()), None)
            for name, usage in usages.items():
                per_million = usage.cpu * 1e6 / args.lines
                ratio = f"{usage.cpu / ours.cpu:.1f} x" if ours else ""
                row = (f"{args.lines / usage.cpu:,.0f}", f"{per_million:.2f}", f"{usage.rss:.0f}", ratio)
                table.add_row(work, name, *row)
    console.print(f"{args.lines:,} lines, {size / 2**20:.0f} MiB, medians of {args.runs} runs in turns")
    console.print(table)


def _run_in_turns(
    contestants: list[Callable[[Measurement], Usage]],
    stack: Stack,
    logs: Path,
    directory: Path,
    args: argparse.Namespace,
) -> dict[str, Usage]:
    seen: dict[str, list[Usage]] = {contestant.__name__: [] for contestant in contestants}
    for run in range(args.runs):
        for contestant in contestants:
            name = contestant.__name__
            home = directory / f"{name}-{run}"
            home.mkdir()
            with sink.running() as port:
                scene = Measurement(stack, logs, home, f"{name.replace('_', '-')}-{run}", args.lines, port)
                asyncio.run(setup.create_topics(load(scene.environment)))
                seen[name].append(contestant(scene))
            shutil.rmtree(home)
    return {
        name: Usage(statistics.median(one.cpu for one in usages), statistics.median(one.rss for one in usages))
        for name, usages in seen.items()
    }


if __name__ == "__main__":
    main()
