"""crisp compared with other shippers in one run: log files to a real Kafka, and to a bulk endpoint.

Run by `make bench-peers`. A peer that is not installed is reported and skipped: rsyslog with its modules for Kafka and
Elasticsearch (in Debian: rsyslog, rsyslog-kafka, rsyslog-elasticsearch), the OpenTelemetry Collector (built once with
Go, cached). They do less: rsyslog joins no partials and maps no fields, the collector forwards raw lines.
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

from pipeline.config.environment import load_settings
from pipeline.local.artifacts import cache_directory
from pipeline.local.stack import Stack, temporary_stack
from pipeline.operations.setup import topics
from pipeline.worker.process import total_lag
from tests.benchmarks import sink, workload

LIMIT_SECONDS = 900.0
_OTELCOL = Path(__file__).parent / "otelcol"
_RSYSLOG_MODULES = ("omkafka.so", "omelasticsearch.so", "imfile.so", "mmjsonparse.so")


class Usage(NamedTuple):
    """The cost of a program: CPU-seconds and peak memory in MiB, including its start."""

    cpu: float
    rss: float


class Measurement(NamedTuple):
    """The environment of one measurement."""

    stack: Stack
    logs: Path
    directory: Path
    topic: str
    lines: int
    sink: int

    @property
    def environment(self) -> dict[str, str]:
        """The settings of crisp."""
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


def count_records(measurement: Measurement) -> int:
    """Return the number of records in the topic."""
    # The lag of a group without commits is the whole topic.
    return asyncio.run(
        total_lag(load_settings({**measurement.environment, "CRISP_KAFKA_GROUP": f"{measurement.topic}-none"}))
    )


def count_received(measurement: Measurement) -> int:
    """Return the number of documents that the bulk endpoint has received."""
    with urllib.request.urlopen(f"http://127.0.0.1:{measurement.sink}/received", timeout=60) as response:
        return int(response.read())


def run_until(measurement: Measurement, command: list[str], done: Callable[[], bool]) -> Usage:
    """Run a program until the work is done, then terminate it; return its usage."""
    output = measurement.directory / "output"
    with output.open("wb") as file:
        child = subprocess.Popen(command, stdout=file, stderr=file)
    deadline = time.monotonic() + LIMIT_SECONDS
    try:
        while not done():
            if child.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not finish:\n{output.read_text()[-2000:]}")
            time.sleep(0.5)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
    return _wait(child)


def run_once(*command: str, environment: dict[str, str]) -> Usage:
    """Run a command of crisp with `--once`; return its usage."""
    child = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", *command, "--once"], env={**os.environ, **environment}
    )
    return _wait(child)


def _wait(child: subprocess.Popen[bytes]) -> Usage:
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def crisp_ship(measurement: Measurement) -> Usage:
    """The shipper: slices that end between events, pod metadata from paths."""
    return run_once("ship", environment=measurement.environment)


def crisp_both(measurement: Measurement) -> Usage:
    """Shipper and worker: complete documents."""
    shipper = run_once("ship", environment=measurement.environment)
    worker = run_once("worker", environment=measurement.environment)
    return Usage(shipper.cpu + worker.cpu, max(shipper.rss, worker.rss))


def rsyslog_kafka(measurement: Measurement) -> Usage:
    """Raw lines by librdkafka, zstd, acks=all."""
    brokers, topic = measurement.stack.address.brokers, measurement.topic
    action = f"""action(type="omkafka" broker="{brokers}" topic="{topic}" template="raw"
  confParam=["compression.codec=zstd","acks=all","linger.ms=50","queue.buffering.max.messages=200000"]
  partitions.auto="on" queue.type="LinkedList" queue.size="200000" queue.dequeueBatchSize="4096"
  action.resumeInterval="1")"""  # its pause, 30 s by default, when the producer's queue is full
    return run_until(
        measurement, _rsyslog(measurement, action), lambda: count_records(measurement) >= measurement.lines
    )


def rsyslog_sink(measurement: Measurement) -> Usage:
    """CRI fields by position, parsed JSON, bulk requests; no joined lines, no mapped fields, no ids."""
    action = f"""set $!time = field($msg, 32, 1);
set $!stream = field($msg, 32, 2);
set $!log = substring($msg, 40, 100000);
if $!log startswith "{{" then set $.parsed = parse_json($!log, "\\$!body");
action(type="omelasticsearch" server="127.0.0.1" serverport="{measurement.sink}" template="all" bulkmode="on"
  searchIndex="logs" searchType="" maxbytes="4m" queue.type="LinkedList" queue.size="200000"
  queue.dequeueBatchSize="4096")"""
    return run_until(
        measurement, _rsyslog(measurement, action), lambda: count_received(measurement) >= measurement.lines
    )


def _rsyslog(measurement: Measurement, action: str) -> list[str]:
    path = measurement.directory / "rsyslog.conf"
    path.write_text(f"""global(workDirectory="{measurement.directory}" maxMessageSize="1m")
module(load="imfile") module(load="omkafka") module(load="omelasticsearch")
template(name="raw" type="string" string="%msg%")
template(name="all" type="string" string="%$!all-json%")
input(type="imfile" file="{measurement.logs}/*/app/0.log" tag="x" freshStartTail="off" ruleset="out")
ruleset(name="out") {{
{action}
}}
""")
    return ["rsyslogd", "-n", "-f", str(path), "-i", str(measurement.directory / "rsyslog.pid")]


def collector_kafka(measurement: Measurement) -> Usage:
    """Raw lines, one per record, by franz-go, zstd, acks=all."""
    path = measurement.directory / "otelcol.yaml"
    path.write_text(f"""receivers:
  filelog: {{include: ["{measurement.logs}/*/app/0.log"], start_at: beginning}}
processors:
  batch: {{}}
exporters:
  kafka:
    brokers: ["{measurement.stack.address.brokers}"]
    logs: {{topic: {measurement.topic}, encoding: raw}}
    producer: {{required_acks: -1, compression: zstd}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    logs: {{receivers: [filelog], processors: [batch], exporters: [kafka]}}
""")
    return run_until(
        measurement,
        [str(collector()), "--config", f"file:{path}"],
        lambda: count_records(measurement) >= measurement.lines,
    )


def collector() -> Path:
    """Return the path of the collector, built first if it is missing (about three minutes)."""
    path = cache_directory() / "otelcol-0.155.0"
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=".otelcol-") as temporary:
            directory = Path(temporary)
            shutil.copytree(_OTELCOL, directory, dirs_exist_ok=True)
            environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
            for arguments in (("mod", "tidy", "-e"), ("build", "-trimpath", "-ldflags", "-s -w", "-o", "otelcol", ".")):
                subprocess.run(["go", *arguments], cwd=directory, env=environment, check=True, capture_output=True)
            (directory / "otelcol").rename(path)
    return path


def missing_requirement(name: str) -> str:
    """Return the missing requirement of a contestant; empty if there is none."""
    if name.startswith("rsyslog"):
        directories = [Path("/usr/lib", machine, "rsyslog") for machine in ("x86_64-linux-gnu", "aarch64-linux-gnu")]
        installed = {file.name for directory in directories if directory.is_dir() for file in directory.iterdir()}
        missing = [module for module in _RSYSLOG_MODULES if module not in installed]
        if shutil.which("rsyslogd") is None or missing:
            return "rsyslog, rsyslog-kafka and rsyslog-elasticsearch are not installed"
    if (
        name.startswith("collector")
        and not (cache_directory() / "otelcol-0.155.0").exists()
        and shutil.which("go") is None
    ):
        return "Go is required to build it once"
    return ""


COMPARISONS: dict[str, tuple[Callable[[Measurement], Usage], ...]] = {
    "files to Kafka": (crisp_ship, rsyslog_kafka, collector_kafka),
    "files to bulk requests": (crisp_both, rsyslog_sink),
}


def main() -> None:
    """Interleave the runs, so that slow moments of the machine affect all; print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", help="only contestants whose name contains this")
    args = parser.parse_args()
    table = Table(
        "work", "contestant", "lines per CPU-second", "CPU-seconds per million lines", "peak MiB", "relative to crisp"
    )
    console = Console(width=140)
    with tempfile.TemporaryDirectory(prefix="crisp-peers-") as temporary, temporary_stack() as stack:
        logs = Path(temporary, "pods")
        size = workload.write(logs, args.lines)
        for work, contestants in COMPARISONS.items():
            selected = []
            for contestant in contestants:
                if requirement := missing_requirement(contestant.__name__):
                    console.print(f"{contestant.__name__} skipped: {requirement}")
                elif not args.only or args.only in contestant.__name__:
                    selected.append(contestant)
            usages = _run_in_turns(selected, stack, logs, Path(temporary), args)
            baseline = next(iter(usages.values()), None)
            for name, usage in usages.items():
                per_million = usage.cpu * 1e6 / args.lines
                ratio = f"{usage.cpu / baseline.cpu:.1f} x" if baseline else ""
                row = (f"{args.lines / usage.cpu:,.0f}", f"{per_million:.2f}", f"{usage.rss:.0f}", ratio)
                table.add_row(work, name, *row)
    console.print(f"{args.lines:,} lines, {size / 2**20:.0f} MiB, medians of {args.runs} interleaved runs")
    console.print(table)


def _run_in_turns(
    contestants: list[Callable[[Measurement], Usage]],
    stack: Stack,
    logs: Path,
    directory: Path,
    args: argparse.Namespace,
) -> dict[str, Usage]:
    usages_by_name: dict[str, list[Usage]] = {contestant.__name__: [] for contestant in contestants}
    for run in range(args.runs):
        for contestant in contestants:
            name = contestant.__name__
            run_directory = directory / f"{name}-{run}"
            run_directory.mkdir()
            with sink.running() as port:
                measurement = Measurement(
                    stack, logs, run_directory, f"{name.replace('_', '-')}-{run}", args.lines, port
                )
                asyncio.run(topics.create_topics(load_settings(measurement.environment)))
                usages_by_name[name].append(contestant(measurement))
            shutil.rmtree(run_directory)
    return {
        name: Usage(statistics.median(usage.cpu for usage in usages), statistics.median(usage.rss for usage in usages))
        for name, usages in usages_by_name.items()
    }


if __name__ == "__main__":
    main()
