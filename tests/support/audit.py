"""`crisp audit` on a flow, and lines to audit."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from pipeline.parsing import timestamp
from tests.integration.flow import Flow

PROBE = '10.0.0.1 - - [24/Nov/2026:00:00:00 +0000] "GET /healthz HTTP/1.1" 200 2'
"""A line that the rule for health probes drops."""


def audit(flow: Flow, source: str, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit code and tallies of `crisp audit --json`."""
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", source, "--json", *options]
    completed = subprocess.run(
        command, env={**os.environ, **flow.environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert completed.returncode in {0, 1}, completed.stderr
    return completed.returncode, json.loads(completed.stdout)


def delete_documents(flow: Flow, hits: list[dict[str, Any]]) -> None:
    """Delete the documents of these hits."""
    for hit in hits:
        flow.request(f"{hit['_index']}/_doc/{hit['_id']}?refresh=true", method="DELETE")


def line(content: str, *, at: int | None = None, stream: str = "stdout", tag: str = "F") -> str:
    """Return a CRI line; `at` in nanoseconds since the epoch, now by default."""
    return f"{timestamp.format_utc(at or time.time_ns())} {stream} {tag} {content}\n"
