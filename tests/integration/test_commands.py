"""`crisp status`, `crisp tail` and `crisp trace` on a running shipper and worker."""

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
from tests.support.http import get


def line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


class Running:
    """A running flow with status pages, and crisp's commands for it."""

    def __init__(self, flow: Flow, ship: int, work: int) -> None:
        self.flow = flow
        self.ship = ship
        self.work = work
        urls = {"CRISP_STATUS_URLS": f"http://127.0.0.1:{ship} http://localhost:{work}"}
        self.environment = {**os.environ, **flow.environment, **urls}

    def crisp(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline.cli", *arguments]
        environment = {**self.environment, **changes}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    def follow(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "pipeline.cli", "tail", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.environment, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def running(stack: Stack, tmp_path: Path) -> Iterator[Running]:
    """A running shipper and worker, both ready."""
    flow, ship, work = flow_with_pages(stack, tmp_path)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        yield Running(flow, ship, work)
    finally:
        flow.stop()


def test_status_trace_and_tail_report_two_lines(running: Running) -> None:
    flow = running.flow
    log = flow.make_container("pay-1") / "0.log"
    log.write_text(line("first") + line('{"level":"error","message":"late \\u001b[31mred"}'))
    eventually(lambda: flow.count() == 2)
    _check_status(running)
    _check_trace(running)
    _check_tail(running, log)


def _check_status(running: Running) -> None:
    eventually(lambda: json.loads(get(running.work, "/status.json")[1])["totals"]["settled"] == 2)
    completed = running.crisp("status", "--json")
    status: dict[str, Any] = json.loads(completed.stdout)
    statuses = [process["status"] for process in status["processes"]]
    assert [process["kind"] for process in statuses] == ["shipper", "worker"]
    assert statuses[1]["totals"]["events"] == 2
    assert status["elasticsearch"]["status"] in {"green", "yellow"}
    assert status["kafka"]["lag_records"] is not None
    assert completed.returncode == (1 if status["state"] == "critical" else 0)

    table = running.crisp("status", COLUMNS="140").stdout
    assert "shippers" in table
    assert "node-1" in table

    (unused_port,) = free_ports(1)
    unreachable = running.crisp("status", "--once", CRISP_STATUS_URLS=f"http://127.0.0.1:{unused_port}", COLUMNS="140")
    assert unreachable.returncode == 1
    assert "Unreachable: " in unreachable.stdout
    invalid = running.crisp("status", CRISP_STATUS_URLS="https://127.0.0.1")
    assert (invalid.returncode, "CRISP_STATUS_URLS" in invalid.stderr) == (2, True)


def _check_trace(running: Running) -> None:
    hit = next(hit for hit in running.flow.documents() if hit["_source"]["message"] == "first")
    completed = running.crisp("trace", hit["_id"], "--json")
    steps = {step["name"]: step for step in json.loads(completed.stdout)["steps"]}
    assert completed.returncode == 0
    assert list(steps) == ["written", "read", "in Kafka", "indexed", "searchable"]
    assert steps["written"]["message"].endswith(f"0.log at byte 0, {hit['_source']['log.length']} bytes")
    assert f"{running.flow.settings.topic_raw}/" in steps["in Kafka"]["message"]
    assert "a slice of 2 lines" in steps["in Kafka"]["message"]
    # Kafka's times are truncated to milliseconds: at a finer resolution "in Kafka" may be before "read".
    assert steps["searchable"]["time"] is None, "the time of the question is not that of the search"
    times = [step["time"] // 10**6 for name, step in steps.items() if name not in {"indexed", "searchable"}]
    assert times == sorted(times)

    unknown = running.crisp("trace", "A" * 16 + "-0000000000")
    assert unknown.returncode == 1
    assert "No document" in unknown.stdout
    running.flow.request(f"{hit['_index']}/_doc/{hit['_id']}?refresh=true", method="DELETE")
    deleted = running.crisp("trace", hit["_id"], "--json")
    assert deleted.returncode == 1
    assert [step["name"] for step in json.loads(deleted.stdout)["steps"]] == ["in Kafka"]


def _check_tail(running: Running, log: Path) -> None:
    printed = running.crisp("tail", "level>=error", "--no-follow").stdout
    assert "late \\x1b[31mred" in printed
    assert "\x1b" not in printed
    with log.open("a") as target:
        target.write(line("ping before"))
    eventually(lambda: running.flow.count({"match_phrase": {"message": "ping before"}}) == 1)
    follower = running.follow("pod=pay-*", "ping", "-n", "1", "--json")
    try:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["_source"]["message"] == "ping before"  # it follows from here on
        for number in range(3):
            with log.open("a") as target:
                target.write(line(f"ping {number}") + line(f"pong {number}"))
            time.sleep(0.7)  # several polls
        messages = [json.loads(follower.stdout.readline())["_source"]["message"] for _ in range(3)]
    finally:
        follower.terminate()
        follower.wait(10)
        for stream in (follower.stdout, follower.stderr):
            assert stream is not None
            stream.close()
    assert messages == ["ping 0", "ping 1", "ping 2"]


def test_fields_names_the_workload_whose_values_do_not_fit(stack: Stack, tmp_path: Path) -> None:
    """The first workload decided the type; what Elasticsearch ignored of the other is listed with a document."""
    flow = Flow(stack, tmp_path)
    flow.set_up()
    (flow.make_container("first-1", "first") / "0.log").write_text(line('{"code":200,"same":1}'))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    (flow.make_container("second-1", "second") / "0.log").write_text(line('{"code":"ok","same":2}'))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    flow.documents()

    command = [sys.executable, "-m", "pipeline.cli", "fields"]
    environment = {**os.environ, **flow.environment}
    as_json = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=True)
    as_table = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    rows = {(row["field"], row["workload"].rpartition("/")[2]): row for row in json.loads(as_json.stdout)["fields"]}
    assert {name for name, _ in rows} == {"code", "same"}
    codes = [row for (name, _), row in rows.items() if name == "code"]
    assert [(list(row["types"]), row["mapped"], row["ignored"]) for row in codes] == [
        (["long"], ["double"], 0),
        (["text"], ["double"], 1),
    ]
    assert codes[1]["problems"] == ["text in a field of type double", "value ignored in 1 documents"]
    assert "2 fields of 2 workloads in 2 documents: 1 with a problem" in as_table.stdout
    assert "same" not in as_table.stdout
