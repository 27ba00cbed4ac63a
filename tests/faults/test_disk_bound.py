"""Kafka is away and one pod floods the disk beside a hundred quiet ones: those lose nothing, and all is counted."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.message import apptime
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
QUIET, FILES, LINES = 100, 25, 40_000
BOUND = 32 * 1024 * 1024


def lines(number: int, size: int) -> str:
    """So many lines of one moment; each has its number."""
    head, now = "x" * size, time.time_ns()
    return "".join(f"{apptime.text(now + one)} stdout F {head} {one}\n" for one in range(number))


def test_read_given_up_and_unread_add_up_to_what_was_written(stack: Stack, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    flow = Flow(
        stack,
        tmp_path,
        CRISP_DELETED_MAX_BYTES=str(BOUND),
        CRISP_SHIP_PORT=str(port),
        CRISP_STATUS_HOST="127.0.0.1",
    )
    flow.set_up()
    quiet = [flow.container(f"quiet-{number}") / "0.log" for number in range(QUIET)]
    noisy = flow.container("noisy") / "0.log"
    written = {"quiet": 0, "noisy": 0}
    for path in quiet:
        written["quiet"] += path.write_text(lines(1, 100))
    flow.shipper.start()
    try:
        eventually(lambda: get(port, "/readyz")[0] == 200)
        eventually(lambda: facts(port)["acknowledged_bytes"] >= written["quiet"])
        stack.kafka.pause()
        for number in range(FILES):  # some 10 MiB each, five a second: what the kubelet keeps is long gone
            written["noisy"] += noisy.write_text(lines(LINES, 200))
            for path in quiet[number::FILES]:
                with path.open("a") as file:
                    written["quiet"] += file.write(lines(1, 100))
            time.sleep(1.0)
            noisy.unlink()
        for path in quiet[: QUIET // 2]:
            path.unlink()
        eventually(lambda: facts(port)["deleted_bytes"] <= BOUND)
        assert facts(port)["lost"]["bytes"]["disk bound"] > BOUND
        assert get(port, "/livez")[0] == 200
        stack.kafka.resume()
        eventually(lambda: all_settled(port), seconds=120)

        told = facts(port)
        lost = told["lost"]["bytes"]["disk bound"]
        assert told["acknowledged_bytes"] + lost == written["quiet"] + written["noisy"]
        assert [row["pod"] for row in told["lost"]["containers"]] == ["noisy"]
        flow.once(flow.worker, 240)
        assert len(quiet_hits(flow)) == 2 * QUIET
        gaps = flow.ask(f"{flow.prefix}-*/_search", {"size": 100, "query": {"term": {"log.flags": "gap"}}})
        sizes = [hit["_source"]["crisp.gap.bytes"] for hit in gaps["hits"]["hits"]]
        assert sum(sizes) == lost
    finally:
        stack.kafka.resume()
        flow.end()


def facts(port: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(port, "/status.json")[1])
    return found


def all_settled(port: int) -> bool:
    now = facts(port)
    return not (now["unread_bytes"] or now["in_flight_bytes"] or now["lost"]["untold"])


def quiet_hits(flow: Flow) -> list[dict[str, Any]]:
    flow.ask(f"{flow.prefix}-*/_refresh")
    body = {"size": 1000, "query": {"prefix": {"kubernetes.pod.name": "quiet"}}}
    hits: list[dict[str, Any]] = flow.ask(f"{flow.prefix}-*/_search", body)["hits"]["hits"]
    return hits
