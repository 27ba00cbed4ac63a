"""Kafka and the consumer group: workers join, leave and are killed; deleted logs; invalid records."""

import asyncio
import random
import subprocess
import time
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from pipeline.config.settings import MIB
from pipeline.kafka import client
from pipeline.local import artifacts, java
from pipeline.local.process import free_ports, peak_rss_mib
from tests.faults.conftest import SceneFactory
from tests.faults.scene import Scene
from tests.integration.flow import eventually

pytestmark = pytest.mark.faults
short = pytest.mark.short

WORKER_MIB = 256
END_OF_LOG = -1  # in Kafka's protocol


def test_workers_scale_from_one_to_four_to_two(make_scene: SceneFactory) -> None:
    scene = make_scene(CRISP_TOPIC_PARTITIONS="6")
    scene.start()
    scene.write(6)
    others = [scene.add_worker() for _ in range(3)]
    for other in others:
        other.start()
    scene.write(15)
    scene.flow.worker.stop()
    others[0].kill()
    scene.write(10)

    scene.assert_exactly_once()


def test_spare_workers_take_over_from_killed_ones(make_scene: SceneFactory) -> None:
    """There are more workers than partitions."""
    scene = make_scene(CRISP_TOPIC_PARTITIONS="1")
    scene.start()
    spare = [scene.add_worker() for _ in range(2)]
    for worker in spare:
        worker.start()
    scene.write(12)
    for worker in scene.workers[:2]:
        worker.kill()
    scene.write(5)

    scene.assert_exactly_once()


@short
def test_shipper_and_worker_are_killed_for_half_a_minute(scene: Scene) -> None:
    _kill_repeatedly(scene, 30)


@pytest.mark.timeout(900)
def test_shipper_and_worker_are_killed_for_five_minutes(scene: Scene) -> None:
    _kill_repeatedly(scene, 300)


def _kill_repeatedly(scene: Scene, seconds: float) -> None:
    """Kill the worker every 8 to 15 s, the shipper every 1 to 3 s; only kills with outstanding lines count."""
    random_ = random.Random(3)
    for log in scene.generator.logs():
        log._rotate_bytes = 100_000  # rotates every few seconds
    scene.start()
    counted = {"shipper": 0, "worker": 0}
    due = {"shipper": 3.0, "worker": 8.0}
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        for name, process, interval in (
            ("shipper", scene.flow.shipper, (1, 3)),
            ("worker", scene.flow.worker, (8, 15)),
        ):
            if now >= due[name]:
                counted[name] += scene.has_outstanding()
                process.kill()
                process.start()
                due[name] = now + random_.uniform(*interval)
        scene.write(0.25)
    scene.row.note = (
        f"{counted['shipper']} and {counted['worker']} with outstanding lines, {scene.generator.rotations()} rotations"
    )

    scene.assert_exactly_once(300)
    assert counted["shipper"] >= seconds / 6
    assert counted["worker"] >= seconds / 20
    assert scene.generator.rotations() > 8


def test_invalid_records_are_dead_lettered(scene: Scene) -> None:
    """Each becomes a dead letter with its reason; later records of the partition are indexed."""
    scene.start()
    scene.write(3)
    asyncio.run(_produce_invalid_records(scene))
    scene.write(3)

    scene.assert_exactly_once()
    assert scene.count_dead_letters() == 5


def test_dead_letter_topic_is_missing(make_scene: SceneFactory) -> None:
    """The dead letter is retried until the topic exists; the worker reports it, stays live, and loses nothing."""
    [port] = free_ports(1)
    scene = make_scene(CRISP_WORKER_PORT=str(port))
    scene.start()
    scene.write(3)
    asyncio.run(_delete_topic(scene, scene.flow.settings.topic_dead))
    asyncio.run(_produce_invalid_records(scene))
    scene.write(3)
    scene.wait_for_worker_log("cannot write to dead-letter topic", 90)
    assert scene.status(port)["dead_letter_problem"]
    assert scene.flow.worker.poll() is None
    scene.flow.set_up()
    scene.write(2)

    scene.assert_exactly_once()
    eventually(lambda: scene.count_dead_letters() == 5, 90, 1.0)
    eventually(lambda: not scene.status(port)["dead_letter_problem"])
    assert scene.flow.worker.poll() is None


INVALID_RECORDS: tuple[tuple[bytes | None, list[tuple[str, bytes]]], ...] = (
    (b"x\n", [("crisp", b"2")]),
    (b"x\n", [("crisp", b"1")]),
    (None, [("crisp", b"1"), ("files", b"[")]),
    (
        b"no newline",
        [
            ("crisp", b"1"),
            ("files", b"[[1,2]]"),
            ("segments", b"0:0+9"),
            ("node", b""),
            ("read", b"x"),
            ("grouping", b"{}"),
            ("pod", b"{}"),
        ],
    ),
    (b"", [("crisp", b"1"), ("gap", b"{}"), ("node", b""), ("read", b"1"), ("pod", b"[]")]),
)


async def _produce_invalid_records(scene: Scene) -> None:
    producer = AIOKafkaProducer(**client.connection(scene.flow.settings))
    await producer.start()
    try:
        for value, headers in INVALID_RECORDS:
            await producer.send_and_wait(scene.flow.settings.topic_raw, value, key=b"k", headers=headers)
    finally:
        await producer.stop()


def test_raw_topic_is_deleted_and_recreated(scene: Scene) -> None:
    scene.start()
    scene.write(5)
    eventually(lambda: not scene.balance().missing, 60)
    asyncio.run(_delete_topic(scene, scene.flow.settings.topic_raw))
    eventually(lambda: "created" in scene.flow.set_up()[0], 30)
    scene.write(5)

    scene.assert_exactly_once()


def test_committed_offsets_are_beyond_the_end(scene: Scene) -> None:
    """As after a recreated topic or a broker's disk loss: the partitions are read from the beginning."""
    asyncio.run(_commit_offset(scene, 1_000_000))
    scene.start()
    scene.write(6)

    scene.assert_exactly_once()


async def _commit_offset(scene: Scene, offset: int) -> None:
    consumer = AIOKafkaConsumer(
        **client.connection(scene.flow.settings), group_id=scene.flow.settings.kafka_group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        numbers = await client.partitions(scene.flow.settings, scene.flow.settings.topic_raw)
        partitions = [TopicPartition(scene.flow.settings.topic_raw, number) for number in numbers]
        consumer.assign(partitions)
        await consumer.commit(dict.fromkeys(partitions, offset))
    finally:
        await consumer.stop()


async def _delete_topic(scene: Scene, topic: str) -> None:
    admin = AIOKafkaAdminClient(**client.connection(scene.flow.settings))
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()


async def _delete_records(scene: Scene) -> int:
    """Delete every record so far, as Kafka's retention does; return the sum of the new first offsets."""
    admin = AIOKafkaAdminClient(**client.connection(scene.flow.settings))
    await admin.start()
    try:
        numbers = await client.partitions(scene.flow.settings, scene.flow.settings.topic_raw)
        partitions = [TopicPartition(scene.flow.settings.topic_raw, number) for number in numbers]
        marks = await admin.delete_records({tp: RecordsToDelete(before_offset=END_OF_LOG) for tp in partitions})
        return sum(int(mark) for mark in marks.values())
    finally:
        await admin.close()


def _gap_documents(scene: Scene) -> list[dict[str, Any]]:
    return [hit["_source"] for hit in scene.flow.documents() if hit["_id"].endswith("-gap")]


def test_retention_expires_records_of_a_stopped_group(make_scene: SceneFactory) -> None:
    """Three million expired records are counted and reported in a document, without using memory for them."""
    scene = make_scene(CRISP_TOPIC_PARTITIONS="1")
    scene.start()
    scene.write(3)
    eventually(lambda: not scene.balance().missing, 60)
    scene.flow.worker.stop()
    _produce_records(scene, 3_000_000)
    asyncio.run(_delete_records(scene))
    scene.write(3)
    scene.flow.worker.start()

    scene.assert_exactly_once()
    assert [gap["crisp.gap.records"] for gap in _gap_documents(scene)] == [3_000_000]
    assert scene.flow.worker._child is not None
    mib = peak_rss_mib(scene.flow.worker._child.pid)
    assert mib < WORKER_MIB
    scene.row.note = f"3,000,000 records expired, worker at most {mib:.0f} MiB"


def _produce_records(scene: Scene, records: int) -> None:
    """Produce this many small records with Kafka's performance tool."""
    command = [str(java.home() / "bin" / "java"), "-Xmx256m", "-cp", f"{artifacts.kafka()}/*"]
    command += ["org.apache.kafka.tools.ProducerPerformance", "--topic", scene.flow.settings.topic_raw]
    command += ["--num-records", str(records), "--record-size", "4", "--throughput", "-1"]
    command += [
        "--producer-props",
        f"bootstrap.servers={scene.stack.address.brokers}",
        "batch.size=200000",
        "linger.ms=20",
    ]
    subprocess.run(command, check=True, capture_output=True)


def test_retention_expires_records_of_a_blocked_worker(make_scene: SceneFactory) -> None:
    """Elasticsearch hangs until records expire unfetched: they are logged, counted and reported in a document."""
    scene = make_scene(
        CRISP_WORKER_MEMORY_BUDGET_BYTES=str(2 * MIB), CRISP_COMPRESSION="none", CRISP_TOPIC_PARTITIONS="1"
    )
    scene.flow.shipper.start()
    scene.stack.elasticsearch.pause()
    try:
        scene.flow.worker.start()
        scene.write(12, rate=6000)
        asyncio.run(_delete_records(scene))
    finally:
        scene.stack.elasticsearch.resume()
    log = scene.container("later")
    for number in range(100):
        scene.write_line(log, f"later {number}".encode())

    def later() -> int:
        return sum(hit["_source"]["kubernetes.pod.uid"] == log.uid for hit in scene.hits())

    eventually(lambda: later() == 100, 120, 1.0)
    lost = sum(gap["crisp.gap.records"] for gap in _gap_documents(scene))
    log_text = scene.flow.worker.output.read_text()
    balance = scene.balance()
    scene.row.lines, scene.row.missing, scene.row.doubled = balance.written, 0, balance.duplicated
    scene.row.disordered = scene.ledger.count_out_of_order(scene.hits())
    scene.row.note = f"{lost} records deleted on purpose, all of them reported"
    scene.row.fresh = scene._measure_fresh_lines()
    assert balance.duplicated == 0
    assert lost > 0
    assert balance.missing > 0
    assert "expired by retention" in log_text
    scene.row.passed = True


def test_second_worker_joins_and_the_first_is_killed(scene: Scene) -> None:
    scene.start()
    other = scene.add_worker()
    scene.write(5)
    other.start()
    scene.write(8)
    scene.flow.worker.kill()
    scene.write(5)

    scene.assert_exactly_once()


def test_kafka_restarts_repeatedly(scene: Scene) -> None:
    scene.start()
    for _ in range(3):
        scene.write(4)
        scene.stack.kafka.stop()
        scene.write(2)
        scene.stack.start_kafka()
        scene.stack.wait_kafka()
    scene.write(3)

    scene.assert_exactly_once()
    assert scene.flow.worker.poll() is None
