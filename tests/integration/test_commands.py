"""`crisp status`, `crisp tail`, `crisp trace` as a user runs them, on a running shipper and worker."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.integration.test_status import get


def line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


class Running:
    """A flow with status pages, and `crisp` to be called on it."""

    def __init__(self, flow: Flow, ship: int, work: int) -> None:
        self.flow = flow
        self.ship = ship
        self.work = work
        urls = {"CRISP_STATUS_URLS": f"http://127.0.0.1:{ship} http://localhost:{work}"}
        self.environment = {**os.environ, **flow.environment, **urls}

    def crisp(self, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        environment = {**self.environment, **changed}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline.cli", "tail", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def running(stack: Stack, tmp_path: Path) -> Iterator[Running]:
    """Shipper and worker, one line indexed."""
    flow, ship, work = flow_with_pages(stack, tmp_path)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        yield Running(flow, ship, work)
    finally:
        flow.stop()


def test_they_tell_of_a_line_on_its_way(running: Running) -> None:
    flow = running.flow
    log = flow.make_container("pay-1") / "0.log"
    log.write_text(line("first") + line('{"level":"error","message":"late \\u001b[31mred"}'))
    eventually(lambda: flow.count() == 2)
    _check_status(running)
    _check_trace(running)
    _check_tail(running, log)


def _check_status(running: Running) -> None:
    eventually(lambda: json.loads(get(running.work, "/status.json")[1])["accounts"]["settled"] == 2)
    said = running.crisp("status", "--json")
    found: dict[str, Any] = json.loads(said.stdout)
    assert [part["kind"] for part in found["parts"]] == ["shipper", "worker"]
    assert found["parts"][1]["events"] == 2
    assert found["elasticsearch"]["status"] in {"green", "yellow"}
    assert found["kafka"]["lag"] is not None
    assert said.returncode == (1 if found["state"] == "critical" else 0)

    shown = running.crisp("status", COLUMNS="140").stdout
    assert "shippers" in shown
    assert "node-1" in shown

    (nobody,) = free_ports(1)
    alone = running.crisp("status", "--once", CRISP_STATUS_URLS=f"http://127.0.0.1:{nobody}", COLUMNS="140")
    assert alone.returncode == 1
    assert "Cannot be asked" in alone.stdout
    wrong = running.crisp("status", CRISP_STATUS_URLS="https://127.0.0.1")
    assert (wrong.returncode, "CRISP_STATUS_URLS" in wrong.stderr) == (2, True)


def _check_trace(running: Running) -> None:
    hit = next(hit for hit in running.flow.documents() if hit["_source"]["message"] == "first")
    said = running.crisp("trace", hit["_id"], "--json")
    steps = {step["name"]: step for step in json.loads(said.stdout)["steps"]}
    assert said.returncode == 0
    assert list(steps) == ["written", "read", "in Kafka", "indexed", "searchable"]
    assert steps["written"]["words"].endswith(f"0.log at byte 0, {hit['_source']['log.length']} bytes")
    assert f"{running.flow.settings.topic_raw}/" in steps["in Kafka"]["words"]
    assert "a slice of 2 lines" in steps["in Kafka"]["words"]
    times = [step["time"] for name, step in steps.items() if name != "indexed"]
    assert times == sorted(times)

    lost = running.crisp("trace", "A" * 16 + "-0000000000")
    assert lost.returncode == 1
    assert "No document" in lost.stdout
    running.flow.request(f"{hit['_index']}/_doc/{hit['_id']}?refresh=true", method="DELETE")
    gone = running.crisp("trace", hit["_id"], "--json")
    assert gone.returncode == 1
    assert [step["name"] for step in json.loads(gone.stdout)["steps"]] == ["in Kafka"]


def _check_tail(running: Running, log: Path) -> None:
    shown = running.crisp("tail", "level>=error", "--no-follow").stdout
    assert "late \\x1b[31mred" in shown
    assert "\x1b" not in shown
    follower = running.follow("pod=pay-*", "ping", "-n", "0", "--json")
    try:
        time.sleep(4)
        for number in range(3):
            with log.open("a") as target:
                target.write(line(f"ping {number}") + line(f"pong {number}"))
            time.sleep(0.7)
        assert follower.stdout is not None
        found = [json.loads(follower.stdout.readline())["_source"]["message"] for _ in range(3)]
    finally:
        follower.terminate()
        follower.wait(10)
        for stream in (follower.stdout, follower.stderr):
            assert stream is not None
            stream.close()
    assert found == ["ping 0", "ping 1", "ping 2"]
