"""The status of shipper and worker."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.support import capabilities
from tests.support.http import get
from tests.support.page_reader import parse


def test_status_metrics_and_pages_show_the_totals(stack: Stack, tmp_path: Path) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    probe = '10.0.0.1 - - [24/Nov/2026:00:00:00 +0000] "GET /healthz HTTP/1.1" 200 2'
    lines = [
        f"{timestamp.format_utc(time.time_ns() + n)} stdout F {text}\n" for n, text in enumerate(["a", "b", "c", probe])
    ]
    (flow.make_container("pay-1") / "0.log").write_text("".join(lines))
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: flow.count() == 3)
        eventually(lambda: get(ship, "/readyz")[0] == get(work, "/readyz")[0] == 200)
        eventually(lambda: json.loads(get(ship, "/status.json")[1])["acked_bytes"] == len("".join(lines)))
        eventually(lambda: json.loads(get(work, "/status.json")[1])["totals"]["settled"] == 3)
        shipper, worker = (json.loads(get(port, "/status.json")[1]) for port in (ship, work))
        assert (shipper["tracked_containers"], shipper["backlog_bytes"], shipper["kafka_problem"]) == (1, 0, "")
        totals = worker["totals"]
        assert (totals["events"], totals["documents"]["created"], totals["dropped"]) == (4, 3, {"health probe": 1})
        assert len(worker["partitions"]) == 3
        assert worker["elasticsearch"]["failing_since"] is None
        assert 'crisp_worker_documents_total{result="created"} 3.0' in get(work, "/metrics")[1]
        assert f"crisp_shipper_acked_bytes_total {float(len(''.join(lines)))}" in get(ship, "/metrics")[1]
        page = parse(get(work, "/")[1])
        assert ["created", "3"] in page.rows
        assert ["dropped by the rule “health probe”", "1"] in page.rows
        assert ["events received", "4"] in page.rows
        page = parse(get(ship, "/")[1])
        assert f"{len(''.join(lines))} B since start" in page.text
        assert "of 1 containers" in page.text
        assert get(work, "/livez") == (200, "ok\n")
        assert get(ship, "/nothing")[0] == 404
    finally:
        flow.stop()


def test_shipper_without_kafka_is_alive_not_ready_and_reports_its_backlog(stack: Stack, tmp_path: Path) -> None:
    ship, unused_port = free_ports(2)
    ports = {"CRISP_SHIP_PORT": str(ship), "CRISP_STATUS_HOST": "127.0.0.1"}
    flow = Flow(stack, tmp_path, **ports, CRISP_KAFKA_BROKERS=f"127.0.0.1:{unused_port}")
    flow.shipper.start()
    try:
        eventually(lambda: "cannot use Kafka" in get(ship, "/readyz")[1])
        assert get(ship, "/readyz")[0] == 503
        assert get(ship, "/livez")[0] == 200
        log = flow.make_container("pay-1") / "0.log"
        for number in range(1, 3):  # existing lines, and appended ones
            with log.open("a") as file:
                file.write(f"{timestamp.format_utc(time.time_ns())} stdout F line {number}\n")
            eventually(lambda: json.loads(get(ship, "/status.json")[1])["backlog_bytes"] == log.stat().st_size)
        assert json.loads(get(ship, "/status.json")[1])["backlogs"][0]["pod"] == "pay-1"
    finally:
        flow.stop()


def test_shipper_that_can_read_nothing_reports_it_everywhere(stack: Stack, tmp_path: Path) -> None:
    flow, ship, _ = flow_with_pages(stack, tmp_path)
    log = flow.make_container("pay-1") / "0.log"
    log.write_text(f"{timestamp.format_utc(time.time_ns())} stdout F a\n")
    log.chmod(0)
    flow.configure(CRISP_STATUS_URLS=f"http://127.0.0.1:{ship}")
    flow.shipper.prefix = tuple(capabilities.drop_command())
    problem = f"1 log file cannot be opened: shop/pay-1/app ({log}): Permission denied."
    flow.shipper.start()
    try:
        eventually(lambda: get(ship, "/readyz") == (503, f"{problem}\n"))
        status = json.loads(get(ship, "/status.json")[1])
        assert (status["state"], status["problems"][0]["message"]) == ("critical", problem)
        assert problem in parse(get(ship, "/")[1]).text
        assert "crisp_shipper_unreadable_files 1.0" in get(ship, "/metrics")[1]
        assert get(ship, "/livez")[0] == 200
        printed = run_crisp(flow, "status", "--once")
        assert printed.returncode == 1
        assert "cannot be opened" in printed.stdout
        flow.shipper.stop()
        flow.shipper.start("--once")
        assert flow.shipper.wait(30) == 1
        assert flow.shipper.output.read_text().endswith(f"crisp ship: {problem}\n")
        log.chmod(0o640)
        flow.run_once(flow.shipper)
    finally:
        flow.stop()


def run_crisp(flow: Flow, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = {**os.environ, **flow.environment}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_started_and_stopped_parts_say_with_what(stack: Stack, tmp_path: Path) -> None:
    flow, _, work = flow_with_pages(stack, tmp_path, CRISP_LOG_LEVEL="info")
    flow.shipper.start()
    flow.worker.start()
    eventually(lambda: get(work, "/readyz")[0] == 200)
    flow.stop()

    shipper, worker = (
        [json.loads(line) for line in process.output.read_text().splitlines() if line.startswith("{")]
        for process in (flow.shipper, flow.worker)
    )
    first, last = shipper[0]["message"], shipper[-1]["message"]
    for part in (str(flow.logs), flow.settings.topic_raw, flow.settings.kafka_address, "node-1"):
        assert part in first
    assert last == "shipper stopped: 0 bytes acknowledged since start"
    messages = [line["message"] for line in worker]
    for part in (flow.settings.kafka_group, flow.settings.topic_raw, flow.settings.es_address):
        assert part in messages[0]
    topic = flow.settings.topic_raw
    assert f"partitions assigned: {topic}/0, {topic}/1, {topic}/2" in messages
    assert messages[-1] == "worker stopped"
