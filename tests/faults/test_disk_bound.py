"""One container writes about 50 MB/s next to a hundred quiet ones: these lose nothing and are not delayed, and every
byte is counted, with and without Kafka."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.contract import cri
from pipeline.kafka import client, topic_config
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.faults.results import Row
from tests.integration.flow import Flow, eventually
from tests.support.http import get

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]
QUIET, SECONDS, STEP_SECONDS, ROTATE_SECONDS = 100, 20, 0.2, 2.0
MIB = 1024 * 1024
STEP_BYTES = 10 * MIB
DISK_LIMIT = 32 * MIB


def line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


class Flood:
    """One container that writes much faster than its log is rotated, and many that write a line per second."""

    def __init__(self, flow: Flow, max_rotated: int) -> None:
        self._quiet = [flow.make_container(f"quiet-{number}") / "0.log" for number in range(QUIET)]
        self._live = flow.make_container("noisy") / "0.log"
        self._max_rotated = max_rotated
        self._block = (line("x" * 200) * (STEP_BYTES // 245)).encode()
        self.written = {"quiet": 0, "noisy": 0}
        self.lines = 0
        self.write_quiet_lines(self._quiet)

    def write_quiet_lines(self, paths: list[Path]) -> None:
        """Write one line to each."""
        for path in paths:
            self.lines += 1
            with path.open("a") as file:
                self.written["quiet"] += file.write(line(f"quiet {self.lines}"))

    def run(self) -> float:
        """Write; return the rate in MiB per second."""
        started = rotated = time.monotonic()
        steps = int(SECONDS / STEP_SECONDS)
        for step in range(steps):
            with self._live.open("ab") as file:
                first = b"" if file.tell() else line("start of a file").encode()
                self.written["noisy"] += file.write(first + self._block)
            self.write_quiet_lines(self._quiet[step % 5 :: 5])
            if time.monotonic() - rotated > ROTATE_SECONDS:
                rotated = time.monotonic()
                self._rotate()
            time.sleep(max(0.0, started + (step + 1) * STEP_SECONDS - time.monotonic()))
        return self.written["noisy"] / MIB / (time.monotonic() - started)

    def _rotate(self) -> None:
        old = sorted(self._live.parent.glob("0.log.*"))
        for path in old[: max(0, len(old) + 1 - self._max_rotated)]:
            path.unlink()
        self._live.rename(self._live.with_name(time.strftime("0.log.%Y%m%d-%H%M%S", time.gmtime())))

    def remove(self) -> None:
        """Remove the noisy container and half of the quiet ones."""
        for path in [*self._live.parent.iterdir(), *self._quiet[: QUIET // 2]]:
            path.unlink()


@pytest.fixture
def flow(stack: Stack, tmp_path: Path) -> Iterator[Flow]:
    (port,) = free_ports(1)
    flow = Flow(
        stack,
        tmp_path,
        CRISP_DELETED_MAX_BYTES=str(DISK_LIMIT),
        CRISP_SHIP_PORT=str(port),
        CRISP_STATUS_HOST="127.0.0.1",
    )
    yield flow
    flow.stop()


def test_read_lost_and_unread_bytes_equal_written_bytes(flow: Flow, row: Row) -> None:
    flow.set_up()
    flood, kafka = Flood(flow, 1), flow.stack.kafka
    flow.shipper.start()
    eventually(lambda: is_ready(flow) and snapshot(flow)["acked_bytes"] >= flood.written["quiet"])
    kafka.pause()
    try:
        rate = flood.run()
        flood.remove()
        eventually(lambda: snapshot(flow)["deleted_bytes"] <= DISK_LIMIT)
        assert snapshot(flow)["losses"]["bytes_by_reason"]["disk bound"] > DISK_LIMIT
        assert get(flow.settings.ship_port, "/livez")[0] == 200
    finally:
        kafka.resume()
    eventually(lambda: all_acked(flow), seconds=120)

    status = snapshot(flow)
    lost = status["losses"]["bytes_by_reason"]["disk bound"]
    row.note = f"{rate:.0f} MiB/s; {flood.written['noisy']:,} bytes of it, {lost:,} lost and reported"
    assert status["acked_bytes"] + lost == sum(flood.written.values()), row.note
    assert [container["pod"] for container in status["losses"]["containers"]] == ["noisy"]
    flow.run_once(flow.worker, 240)
    quiet = flow.request(f"{flow.prefix}-*/_count", {"query": {"prefix": {"kubernetes.pod.name": "quiet"}}})["count"]
    row.lines, row.missing, row.doubled, row.disordered = flood.lines, flood.lines - quiet, 0, 0
    assert quiet == flood.lines
    gaps = flow.request(f"{flow.prefix}-*/_search", {"size": 100, "query": {"term": {"log.flags": "gap"}}})
    assert sum(hit["_source"]["crisp.gap.bytes"] for hit in gaps["hits"]["hits"]) == lost
    row.passed = True


def test_noisy_container_does_not_delay_quiet_ones(flow: Flow, row: Row) -> None:
    asyncio.run(create_log_append_time_topic(flow))
    flood = Flood(flow, 4)
    flow.shipper.start()
    eventually(lambda: is_ready(flow) and all_acked(flow))
    rate = flood.run()
    eventually(lambda: all_acked(flow), seconds=120)

    status = snapshot(flow)
    assert status["losses"]["bytes_by_reason"] == {}
    assert status["acked_bytes"] == sum(flood.written.values())
    records = flow.records(flow.settings.topic_raw, lambda entry: "quiet" in dict(entry.headers)["pod"].decode())
    ages = sorted(
        entry.timestamp / 1e3 - (cri.first_time(raw) or 0) / 1e9
        for entry in records
        for raw in entry.value.splitlines()
    )[:-QUIET]  # without the lines from before the start of the shipper
    row.lines, row.missing, row.doubled, row.disordered = flood.lines, flood.lines - len(ages) - QUIET, 0, 0
    p99 = ages[int(len(ages) * 0.99)]
    row.note = (
        f"{rate:.0f} MiB/s of one; lines of the others in Kafka after {ages[len(ages) // 2]:.2f} s, p99 {p99:.2f} s"
    )
    assert row.missing == 0
    row.passed = True


async def create_log_append_time_topic(flow: Flow) -> None:
    """Create the raw topic with `LogAppendTime`: a record has the time of its append."""
    admin = AIOKafkaAdminClient(**client.connection(flow.settings))
    configs = {
        topic_config.MAX_MESSAGE_BYTES: str(flow.settings.record_max_bytes),
        "message.timestamp.type": "LogAppendTime",
    }
    await admin.start()
    try:
        await admin.create_topics([NewTopic(flow.settings.topic_raw, 3, 1, topic_configs=configs)])
    finally:
        await admin.close()


def is_ready(flow: Flow) -> bool:
    return get(flow.settings.ship_port, "/readyz")[0] == 200


def snapshot(flow: Flow) -> dict[str, Any]:
    status: dict[str, Any] = json.loads(get(flow.settings.ship_port, "/status.json")[1])
    return status


def all_acked(flow: Flow) -> bool:
    status = snapshot(flow)
    return not (status["backlog_bytes"] or status["in_flight_bytes"] or status["losses"]["unreported"])
