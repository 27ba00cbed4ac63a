"""The shipper is killed every second or two for two minutes while files rotate: every byte arrives in Kafka."""

import random
import time
from pathlib import Path

import pytest

from pipeline.local.stack import Stack
from tests.faults.rawtopic import RawTopic
from tests.faults.results import Row
from tests.faults.rotated import Containers
from tests.integration.flow import Flow

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

SECONDS = 120.0
OUTAGE = (30.0, 90.0)
CONTAINERS, RATE, ROTATE_BYTES = 6, 400, 80_000
KEPT_FILES, MANY_KEPT_FILES = (
    40,
    100,
)  # files rotate every 2 s: keep them until Kafka is back


@pytest.mark.parametrize("kafka_down", [False, True], ids=["kafka_up", "kafka_stopped_for_a_minute"])
def test_shipper_is_killed_every_second_or_two(stack: Stack, tmp_path: Path, row: Row, kafka_down: bool) -> None:  # noqa: FBT001
    flow = Flow(stack, tmp_path)
    flow.set_up()
    random_ = random.Random(3)
    containers = Containers(flow.logs, CONTAINERS, RATE, ROTATE_BYTES, MANY_KEPT_FILES if kafka_down else KEPT_FILES)
    containers.start()
    killed: list[float] = []
    started, stopped = time.monotonic(), 0
    try:
        while (passed := time.monotonic() - started) < SECONDS:
            if kafka_down and not stopped and passed > OUTAGE[0]:
                stack.kafka.kill()
                stopped = 1
            if stopped == 1 and passed > OUTAGE[1]:
                stack.start_kafka()
                stopped = 2
            flow.shipper.start()
            time.sleep(random_.uniform(1.0, 2.0))
            assert flow.shipper.poll() is None, flow.shipper.output.read_text()[-2000:]
            killed.append(time.time())
            flow.shipper.kill()
        stack.wait_kafka()
    finally:
        written = containers.stop()
        if stopped == 1:
            stack.start_kafka()
            stack.wait_kafka()
    flow.run_once(flow.shipper, 120)

    topic = RawTopic(flow.records(flow.settings.topic_raw))
    lost = topic.count_missing(written)
    counted = sum(topic.was_outstanding(moment) for moment in killed)
    total = sum(map(len, written.values()))
    row.lines, row.missing, row.doubled, row.disordered = containers.lines, lost, 0, 0
    row.kills = counted, 0
    row.note = (
        f"{len(killed)} kills, {counted} with outstanding lines; {containers.rotations} rotations of {CONTAINERS} "
        f"containers; {total:,} bytes written, {lost} lost, {topic.duplicate_bytes:,} resent"
    )
    assert (lost, topic.gaps) == (0, set()), row.note
    assert counted >= len(killed) // 2, row.note
    row.passed = True
