"""`crisp demo`."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.demo import pod_replacer
from pipeline.demo.run import Plan, Run
from pipeline.local.stack import Stack


@pytest.mark.faults
def test_interrupted_demo_waits_until_every_line_is_indexed() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "demo", "--follow", "--rate", "500", "--json"]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, text=True)
    try:
        assert demo.stderr is not None
        for line in demo.stderr:
            if line.startswith("writing"):
                break
        time.sleep(5)
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does, to the whole process group
        output, _ = demo.communicate(timeout=90)
    finally:
        demo.kill()

    report = json.loads(output.splitlines()[-1])
    assert demo.returncode == 0
    assert report["written"] > 1000
    assert (report["missing"], report["doubled"]) == (0, 0)


@pytest.mark.faults  # not a fault, but slow
def test_following_demo_discards_compared_lines(stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pods are replaced; the lines of ended pods are compared and discarded, their logs deleted."""
    monkeypatch.setattr(pod_replacer, "LINES_PER_POD_SET", 1500)
    monkeypatch.setattr(pod_replacer, "RETRY_SECONDS", 1.0)
    peak = 0

    def update(task: str, *_: object) -> None:
        nonlocal peak
        peak = max(peak, sum(written.total() for written in demo.ledger._written.values()))
        if task == "writing" and demo._replacer.finalised >= 2 * len(demo.generator.logs()):
            raise KeyboardInterrupt

    demo = Run(stack, tmp_path, Plan(lines=0, rate=500.0, chaos=False, seed=1), update)
    try:
        demo.start()
        demo.write()
        pods = list((tmp_path / "pods").iterdir())
        report = demo.report(demo.wait_until_searchable())
    finally:
        demo.stop()

    assert report.good
    assert report.balance.written >= 3000
    assert peak < report.balance.written
    assert len(pods) <= 2 * len(demo.generator.logs())
