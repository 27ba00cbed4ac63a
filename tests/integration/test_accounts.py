"""The event totals of shipper and worker add up, for every result, and after kills and outages."""

import json
import time
from pathlib import Path
from typing import Any

from pipeline.demo.child_process import ChildProcess
from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import LogGenerator
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.support.audit import PROBE, line
from tests.support.http import get


def get_status(port: int) -> dict[str, Any]:
    code, text = get(port, "/status.json")
    status: dict[str, Any] = json.loads(text) if code == 200 else {}
    return status


def is_balanced(status: dict[str, Any]) -> bool:
    """Whether nothing is in flight and every event has a result."""
    totals = status.get("totals")
    if not totals or totals["slices_in_flight"]:
        return False
    documents = totals["documents"]
    extended = documents["extended"]
    return bool(totals["events"] == sum(documents.values()) - extended + sum(totals["dropped"].values()))


def test_lines_are_created_rejected_dropped_or_dead_lettered(stack: Stack, tmp_path: Path) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    start = time.time_ns()
    texts = [
        line("java.lang.Error: boom", at=start),
        line("\tat a.B.c(B.java:1)", at=start + 1),
        line(PROBE, at=start + 2),
        line('{"a":{"b":1}}', at=start + 3_000_000_000),
        line('{"a.b":[{"c":1}]}', at=start + 3_000_000_001),
        line("plain", at=start + 3_000_000_002),
    ]
    (flow.make_container("pay-1") / "0.log").write_text("".join(texts))
    try:
        flow.shipper.start()
        eventually(lambda: get_status(ship).get("acked_bytes") == len("".join(texts)))
        flow.produce(b"x\n", headers=[("crisp", b"1")])
        flow.produce(b"a line of another shipper\n")
        flow.worker.start()
        eventually(lambda: flow.count() == 5 and is_balanced(get_status(work)))
        shipper, totals = get_status(ship), get_status(work)["totals"]
    finally:
        flow.stop()

    assert shipper["read_bytes"] == shipper["acked_bytes"] + shipper["in_flight_bytes"] + shipper["retried_bytes"]
    assert (totals["lines"], totals["events"]) == (len(texts) + 2, 6)
    assert totals["dropped"] == {"health probe": 1}
    assert sum(totals["documents"].values()) == 5
    assert (totals["records"]["third_party"], totals["records"]["invalid"], totals["records"]["gap"]) == (1, 1, 0)


def test_totals_add_up_after_kills_rebalances_and_an_outage(stack: Stack, tmp_path: Path) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    (other_port,) = free_ports(1)
    other = ChildProcess("worker", {**flow.environment, "CRISP_WORKER_PORT": str(other_port)}, tmp_path / "state")
    ledger = Ledger()
    generator = LogGenerator(flow.logs, ledger, seed=9)
    try:
        flow.shipper.start()
        flow.worker.start()
        generator.write(1000)
        eventually(lambda: flow.count() > 200)
        other.start()
        generator.write(1000)
        flow.shipper.kill()
        flow.shipper.start()
        eventually(lambda: bool(get_status(other_port).get("partitions")))
        flow.worker.kill()
        stack.kafka.pause()
        generator.write(1000)
        time.sleep(3)
        stack.kafka.resume()
        flow.worker.start()
        eventually(lambda: _count_indexed_lines(flow) == ledger.lines, seconds=90)
        eventually(lambda: is_balanced(get_status(work)) and is_balanced(get_status(other_port)))
        eventually(lambda: get_status(ship).get("in_flight_bytes") == 0)
        shipper, workers = get_status(ship), [get_status(work), get_status(other_port)]
    finally:
        other.stop()
        flow.stop()
        generator.close()

    assert shipper["read_bytes"] == shipper["acked_bytes"] + shipper["retried_bytes"]
    for worker in workers:
        assert worker["totals"]["in_flight"] == 0
        assert worker["totals"]["lines"] >= worker["totals"]["events"]


def _count_indexed_lines(flow: Flow) -> int:
    return sum(message.count("\n") + 1 for message in flow.messages())
