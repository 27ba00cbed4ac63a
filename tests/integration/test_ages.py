"""Consumer lag and latencies, as measured by a running shipper and worker."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.child_process import ChildProcess
from pipeline.elasticsearch import index_template
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.support.http import get


def line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


def get_latency(port: int) -> dict[str, Any]:
    latency: dict[str, Any] = json.loads(get(port, "/status.json")[1])["history"]["latency"]
    return latency


def test_only_search_latency_depends_on_the_refresh_interval(stack: Stack, tmp_path: Path) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path, CRISP_SEARCH_PROBE_SECONDS="0.1")
    name = f"_index_template/{index_template.all_templates(flow.settings)[0].name}"
    template = flow.request(name)["index_templates"][0]["index_template"]
    template["template"]["settings"]["index"]["refresh_interval"] = "5s"
    flow.request(name, template, "PUT")
    flow.shipper.start()
    flow.worker.start()
    log = flow.make_container("pay-1") / "0.log"
    try:
        eventually(lambda: get(work, "/readyz")[0] == 200)
        log.write_text(line("the index is created"))
        eventually(lambda: flow.count() == 1)
        before = get_latency(work)
        for number in range(20):
            with log.open("a") as target:
                target.write(line(f"line {number}"))
            time.sleep(0.5)
        eventually(lambda: flow.count() == 21)
        # The worker learns later than this test that a document is searchable, and shows it after its next sample.
        eventually(lambda: get_latency(work)["searchable"]["count"] >= before["searchable"]["count"] + 2)
        shipper, worker = get_latency(ship), get_latency(work)

        assert worker["searchable"]["p99"] > 2
        assert worker["indexed"]["count"] >= 15
        assert worker["indexed"]["p50"] < 2
        assert shipper["read"]["p50"] <= shipper["acked"]["p50"] < 2
        assert 'crisp_worker_search_probes_total{result="found"}' in get(work, "/metrics")[1]
    finally:
        flow.stop()


@pytest.mark.faults
def test_lag_is_reported_while_elasticsearch_is_unavailable(stack: Stack, tmp_path: Path) -> None:
    work, unused_port = free_ports(2)
    ports = {"CRISP_WORKER_PORT": str(work), "CRISP_STATUS_HOST": "127.0.0.1", "CRISP_LAG_POLL_SECONDS": "0.5"}
    flow = Flow(stack, tmp_path, **ports)
    flow.set_up()
    before = time.time()
    lines = [line(f"of pod {number}") for number in range(5)]
    for number, text in enumerate(lines):
        (flow.make_container(f"pay-{number}") / "0.log").write_text(text)
    flow.run_once(flow.shipper)
    worker = ChildProcess("worker", {**flow.environment, "CRISP_ES_URLS": f"http://127.0.0.1:{unused_port}"}, tmp_path)
    worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == 200)
        eventually(lambda: sum(row["records"] for row in json.loads(get(work, "/status.json")[1])["lag"]) == 5)
        eventually(lambda: max(row["seconds"] or 0 for row in json.loads(get(work, "/status.json")[1])["lag"]) >= 2)
        status = json.loads(get(work, "/status.json")[1])
        # Kafka truncates the records' times to milliseconds.
        assert max(row["seconds"] for row in status["lag"]) <= time.time() - before + 0.001
        eventually(lambda: sum(row["bytes"] for row in json.loads(get(work, "/status.json")[1])["lag"]) > 0)
        assert status["elasticsearch"]["last_error"]
        metrics = get(work, "/metrics")[1].splitlines()
        lags = [float(row.split()[1]) for row in metrics if row.startswith("crisp_worker_consumer_lag_records{")]
        assert sum(lags) == 5
    finally:
        worker.stop()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == 200)
        eventually(lambda: flow.count() == 5)
        eventually(lambda: {row["records"] for row in json.loads(get(work, "/status.json")[1])["lag"]} == {0})
        assert {row["seconds"] for row in json.loads(get(work, "/status.json")[1])["lag"]} == {0.0}
    finally:
        flow.stop()
