"""Partitions whose leader changes repeatedly, or that have none for a while, in a cluster of three brokers."""

import asyncio
import functools
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.delivery.partitioner import choose_partition
from pipeline.contract import bundle, record
from pipeline.local.process import peak_rss_mib
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from tests.faults import cluster
from tests.faults.cluster import BROKERS, Cluster
from tests.faults.node import Node
from tests.faults.rotated import RotatedLog
from tests.integration.flow import eventually
from tests.support.http import get

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

RESTARTS = 10
ROUNDS = 25
SHIPPER_MIB = 64
PARTITIONS = 6


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster.running(tmp_path_factory.mktemp("cluster")) as cluster_:
        yield cluster_


@pytest.fixture
def node(stack: Stack, brokers: Cluster, tmp_path: Path) -> Iterator[Node]:
    node = Node(stack, tmp_path, CRISP_TOPIC_PARTITIONS=str(PARTITIONS), **brokers.environment)
    yield node
    node.stop()
    for number in BROKERS:
        if brokers.processes[number]._child.poll() is not None:
            brokers.start(number)
            brokers.wait_until_ready(number)


def all_have_leaders(brokers: Cluster, node: Node) -> bool:
    return all(leader >= 0 for leader in brokers.leaders(node.flow.settings).values())


def test_partition_leaders_change_ten_times(node: Node, brokers: Cluster) -> None:
    """The brokers are killed or stopped one by one, and restarted: every byte arrives soon."""
    node.flow.configure(CRISP_TOPIC_REPLICATION="3")
    asyncio.run(topics.create_topics(node.flow.settings))
    logs = [node.container(f"shop-{number}") for number in range(12)]
    node.flow.shipper.start()
    written, longest = 0, 0.0
    for restart in range(RESTARTS):
        number = BROKERS[restart % len(BROKERS)]
        before = brokers.leaders(node.flow.settings)
        if restart % 2:
            brokers.processes[number].stop()
        else:
            brokers.processes[number].kill()
        started = time.monotonic()
        for _ in range(100):
            written += 1
            for log in logs:
                log.write("stdout", b"line %d, written while broker %d is down" % (written, number))
            time.sleep(0.02)
        eventually(node.is_complete, 60, every=0.5)
        longest = max(longest, time.monotonic() - started)
        assert number not in brokers.leaders(node.flow.settings).values(), before
        brokers.start(number)
        brokers.wait_until_ready(number)
    node.assert_complete()
    assert node.flow.shipper.poll() is None
    assert get(node.port, "/livez")[0] == 200
    print(f"{written * len(logs):,} lines, {RESTARTS} restarts; complete at most {longest:.1f} s after a stop")


def test_partitions_have_no_leader(node: Node, brokers: Cluster) -> None:
    """Their records wait, within the memory limit, and are reported; other partitions work, also after a restart."""
    asyncio.run(topics.create_topics(node.flow.settings))
    eventually(lambda: all_have_leaders(brokers, node), 30)
    leaders = brokers.leaders(node.flow.settings)
    victim = leaders[0]
    leaderless: list[RotatedLog] = []
    led: dict[int, list[RotatedLog]] = {}  # by partition
    for number in range(60):
        log = node.container(f"shop-{number}")
        partition = choose_partition(container_key(log), sorted(leaders), [])
        (leaderless if leaders[partition] == victim else led.setdefault(partition, [])).append(log)
        log.write("stdout", b"before")
    assert leaderless
    assert led
    node.flow.shipper.start()
    node.assert_complete()

    brokers.processes[victim].kill()
    slowest = 0.0
    for number in range(ROUNDS):
        for log in leaderless:
            for _ in range(8):
                log.write("stdout", b"x" * 16_000)
        marker = b"round %d of the other containers" % number
        started = time.monotonic()
        for log in itertools.chain(*led.values()):
            log.write("stdout", marker)
        eventually(functools.partial(all_contain, node, led, marker), 10)
        slowest = max(slowest, time.monotonic() - started)
        time.sleep(1)
    assert f"no leader in {node.reader.topic_raw} for partition" in get(node.port, "/readyz")[1]
    assert get(node.port, "/livez")[0] == 200
    assert peak_rss_mib(node.flow.shipper.pid) < SHIPPER_MIB
    assert node.snapshot()["records_sent"]["failed"] == 0

    node.flow.shipper.kill()  # the next shipper starts while partitions have no leader
    node.flow.shipper.start()
    for log in itertools.chain(*led.values()):
        log.write("stdout", b"after a restart")
    eventually(lambda: all_contain(node, led, b"after a restart"), 30)

    brokers.start(victim)
    brokers.wait_until_ready(victim)
    node.assert_complete(90)
    eventually(lambda: get(node.port, "/readyz")[0] == 200, 30)
    print(f"{len(leaderless)} containers waited; lines of the others were in Kafka after at most {slowest:.1f} s")


def container_key(log: RotatedLog) -> bytes:
    return record.container_key(log.uid, "app", 0)


def all_contain(node: Node, logs: dict[int, list[RotatedLog]], content: bytes) -> bool:
    """Return whether each of these containers, given by partition, has a record with this content."""
    records = node.flow.records(
        node.reader.topic_raw, lambda entry: content in entry.value, reader_settings=node.reader, partitions=list(logs)
    )
    parts = [
        part
        for entry in records
        if bundle.is_bundle(entry.headers)
        for part in bundle.split(entry.value, entry.headers)
    ]
    keys = {entry.key for entry in records} | {part.key for part in parts if content in part.value}
    return {container_key(log) for group in logs.values() for log in group} <= keys
