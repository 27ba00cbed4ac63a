"""Lines per CPU-second and peak memory of shipper and worker: files to a real Kafka, Kafka to a sink.

Run by `make bench`; prints one JSON object. CPU-seconds are of the process itself, its start included.
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
from pathlib import Path
from typing import Any

from pipeline import setup
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack, running
from pipeline.settings import load
from tests.benchmarks import workload


def main() -> None:
    """Measure as often as asked, print the medians and every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary, running() as stack:
        logs = Path(temporary, "pods")
        size = workload.write(logs, args.lines)
        runs = [_run(stack, Path(temporary), logs, number, args.lines) for number in range(args.runs)]
    median = {name: round(statistics.median(run[name] for run in runs), 1) for name in runs[0]}
    print(json.dumps({"lines": args.lines, "mib": round(size / 2**20, 1), "median": median, "runs": runs}))


def _run(stack: Stack, directory: Path, logs: Path, number: int, lines: int) -> dict[str, float]:
    (port,) = free_ports(1)
    environment = {
        **stack.environment,
        "CRISP_LOGS_DIR": str(logs),
        "CRISP_STATE_DIR": str(directory / f"state-{number}"),
        "CRISP_NODE_NAME": "node-1",
        "CRISP_TOPIC_RAW": f"bench-{number}-raw",
        "CRISP_TOPIC_DEAD": f"bench-{number}-dead",
        "CRISP_GROUP": f"bench-{number}",
        "CRISP_ES_URLS": f"http://127.0.0.1:{port}",
        "CRISP_WORKER_PORT": "0",
    }
    asyncio.run(setup.topics(load(environment)))
    sink = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sink", str(port)])
    try:
        time.sleep(1)
        shipper = _measure("ship", environment)
        worker = _measure("worker", environment)
    finally:
        sink.kill()
        sink.wait()
    return {
        "shipper_lines_per_cpu_s": round(lines / shipper["cpu_s"]),
        "shipper_cpu_s": shipper["cpu_s"],
        "shipper_wall_s": shipper["wall_s"],
        "shipper_rss_mib": shipper["rss_mib"],
        "worker_lines_per_cpu_s": round(lines / worker["cpu_s"]),
        "worker_cpu_s": worker["cpu_s"],
        "worker_wall_s": worker["wall_s"],
        "worker_rss_mib": worker["rss_mib"],
        "both_cpu_s_per_million_lines": round((shipper["cpu_s"] + worker["cpu_s"]) * 1e6 / lines, 2),
    }


def _measure(name: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run `crisp NAME --once` to its end; CPU and peak memory as the kernel counts them for the child."""
    started = time.monotonic()
    child = subprocess.Popen([sys.executable, "-m", "pipeline.cli", name, "--once"], env={**os.environ, **environment})
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"crisp {name} ended with code {child.returncode}")
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.monotonic() - started, 2),
        "rss_mib": round(usage.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
