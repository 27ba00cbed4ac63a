"""Duration and result of the audit of a million lines: `python -m tests.benchmarks.audit --lines 1000000`.

Lines are shipped and indexed into a real Elasticsearch, some documents are deleted, then the audit runs over the files
and over Kafka. Prints one JSON object.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from pipeline.config.environment import load_settings
from pipeline.local.stack import temporary_stack
from pipeline.operations.setup import setup
from tests.benchmarks import workload

DELETED = 7


def main() -> None:
    """Index lines, delete some documents, run both audits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="crisp-bench-") as temporary, temporary_stack() as stack:
        logs = Path(temporary, "pods")
        size = workload.write(logs, args.lines)
        environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(logs),
            "CRISP_STATE_DIR": f"{temporary}/state",
            "CRISP_NODE_NAME": "node-1",
        }
        asyncio.run(setup.create_all(load_settings(environment)))
        for name in ("ship", "worker"):
            _run(environment, name, "--once")
        url = stack.address.es_url
        _request(f"{url}/logs-*/_refresh", "POST")
        hits = _request(f"{url}/logs-*/_search?size=5000", "GET")["hits"]["hits"]
        for hit in random.Random(1).sample(hits, DELETED):
            _request(f"{url}/{hit['_index']}/_doc/{hit['_id']}?refresh=true", "DELETE")
        runs = {source: _run_audit(environment, source) for source in (str(logs), "kafka")}
    result = {"lines": args.lines, "mib": round(size / 2**20, 1), "deleted": DELETED}
    print(json.dumps({**result, "directory": runs[str(logs)], "kafka": runs["kafka"]}))


def _request(url: str, method: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=120) as response:
        return json.load(response)


def _run(environment: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    subprocess.run(command, env={**os.environ, **environment}, check=True)


def _run_audit(environment: dict[str, str], source: str) -> dict[str, Any]:
    started = time.monotonic()
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", source, "--json", "--min-age", "0"]
    child = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    result = json.loads(child.stdout.read())
    _, _, usage = os.wait4(child.pid, 0)
    return {
        "found": result["indexed"],
        "missing": result["missing"],
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "rss_mib": round(usage.ru_maxrss / 1024, 1),
    }


if __name__ == "__main__":
    main()
