"""Which containers are read, and when: fair between containers, within the capacity of Kafka and its partitions."""

import asyncio
import math
import time
from pathlib import Path
from typing import Any, cast

import pytest

from agents.containers import ContainerLogs
from agents.delivery.in_flight import InFlightBytes
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, Scan, kubelet_layout
from agents.scheduler import OPEN_RETRY_SECONDS, ReadScheduler
from agents.tailing.container_tail import ContainerTail, MetadataState
from agents.tailing.pending_slice import PendingSlice
from pipeline.config.settings import Settings
from pipeline.parsing import timestamp

LINE_BYTES = 141
SLICE_BYTES = 16 * 1024


class FakeDelivery:
    """Records what is sent, by pod; nothing is acknowledged until `acknowledge`."""

    def __init__(self, in_flight: InFlightBytes) -> None:
        self._in_flight = in_flight
        self.sent: list[tuple[str, int]] = []
        self.paused: set[str] = set()
        self._unacknowledged: list[tuple[ContainerTail, PendingSlice]] = []

    def send(self, tail: ContainerTail, pending: PendingSlice) -> None:
        size = len(pending.log_slice.value)
        self.sent.append((pod_of(tail), size))
        self._unacknowledged.append((tail, pending))
        self._in_flight.add(tail.key, size)

    def flush(self) -> None:
        """Nothing waits: every slice is sent at once."""

    def is_paused(self, tail: ContainerTail, _: float) -> bool:
        return pod_of(tail) in self.paused

    def acknowledge(self) -> None:
        for tail, pending in self._unacknowledged:
            self._in_flight.release(tail.key, len(pending.log_slice.value))
            tail.acknowledge(pending.in_flight)
        self._unacknowledged.clear()


def pod_of(tail: ContainerTail) -> str:
    return tail.key.decode().split("/")[0]


class Node:
    """Containers with real log files, their scheduler, and a manual clock."""

    def __init__(self, root: Path, **changes: Any) -> None:
        self.root = root
        (root / "pods").mkdir()
        settings = Settings(
            logs_dir=str(root / "pods"),
            state_dir=str(root),
            node_name="n",
            kubernetes="off",
            slice_max_bytes=SLICE_BYTES,
            linger_seconds=0.2,
            **{"poll_seconds": 0.05, **changes},
        )
        self.buffer_max_bytes = settings.buffer_max_bytes
        self.now = 1000.0
        self.number = 0
        self.in_flight = InFlightBytes(settings.inflight_max_bytes, 2 * SLICE_BYTES)
        self.delivery = FakeDelivery(self.in_flight)
        self.containers = ContainerLogs(settings)
        self.discovery = Discovery([kubelet_layout(root / "pods")], DirectoryCache())
        self.scheduler = ReadScheduler(settings, self.containers, cast(Any, self.delivery), self.in_flight)

    def write(self, pod: str, lines: int = 1, tag: bytes = b"F") -> None:
        path = self.root / "pods" / f"shop_{pod}_{pod}" / "app" / "0.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            for _ in range(lines):
                self.number += 1
                time_ = timestamp.format_utc(time.time_ns() // 1000 * 1000 + self.number % 1000)
                line = b"%b stdout %b %b\n" % (time_.encode(), tag, b"x" * 100)
                assert log.write(line) == LINE_BYTES

    def scan(self) -> None:
        self.containers.update(Scan(self.discovery.scan(), time.time_ns(), self.now, {}))

    def read(self, seconds: float = 0.0) -> tuple[bool, list[tuple[str, int]]]:
        """Read at a later time; return whether there is more to read at once, and what was sent."""
        self.now += seconds
        self.delivery.sent.clear()
        busy = self.scheduler.read_all(self.now)
        return busy, list(self.delivery.sent)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_few_lines_linger_and_a_full_slice_does_not(node: Node) -> None:
    node.write("few")
    node.write("many", 2 * SLICE_BYTES // LINE_BYTES)
    node.scan()

    _, sent = node.read()
    assert [pod for pod, _ in sent] == ["many"]
    assert node.read(0.1)[1] == []
    assert node.read(0.1)[1] == [("few", LINE_BYTES)]


def test_each_container_sends_one_slice_in_a_turn(node: Node) -> None:
    for pod in ("a", "b", "c"):
        node.write(pod, 3 * SLICE_BYTES // LINE_BYTES)
    node.scan()

    busy, sent = node.read()

    assert sorted(pod for pod, _ in sent) == ["a", "b", "c"]
    assert max(size for _, size in sent) <= SLICE_BYTES
    assert busy


def test_container_at_which_capacity_ran_out_is_first_in_the_next_turn(tmp_path: Path) -> None:
    node = Node(tmp_path, inflight_max_bytes=SLICE_BYTES)
    for pod in ("a", "b", "c"):
        node.write(pod, 8 * SLICE_BYTES // LINE_BYTES)
    node.scan()
    order: list[str] = []
    for _ in range(6):
        order += [pod for pod, _ in node.read(0.01)[1]]
        node.delivery.acknowledge()

    assert {order.count(pod) for pod in ("a", "b", "c")} == {len(order) // 3}
    assert len(order) >= 6


def test_nothing_is_read_without_capacity(tmp_path: Path) -> None:
    node = Node(tmp_path, inflight_max_bytes=SLICE_BYTES)
    node.write("a", 8 * SLICE_BYTES // LINE_BYTES)
    node.scan()
    while node.in_flight.capacity.is_set():
        node.read(0.01)

    node.write("b", 100)
    node.scan()
    assert node.read(10.0) == (False, [])
    backlog = {pod_of(tail): tail.backlog_bytes() for tail in node.containers.tails.values()}
    assert backlog["b"] == 100 * LINE_BYTES  # polled nevertheless
    assert node.scheduler.stalled_since == math.inf


async def test_full_partition_waits_for_an_acknowledgement(tmp_path: Path) -> None:
    node = Node(tmp_path, poll_seconds=30.0)
    node.write("a", 8 * SLICE_BYTES // LINE_BYTES)
    node.scan()
    for _ in range(4):
        node.read(40.0)
    assert not node.in_flight.has_capacity(b"a/app/0")
    assert node.in_flight.capacity.is_set()

    waiting = asyncio.create_task(node.scheduler.wait(asyncio.Event(), busy=False))
    await asyncio.sleep(0)
    assert not waiting.done()
    node.delivery.acknowledge()
    await asyncio.wait_for(waiting, 5)
    assert [pod for pod, _ in node.read()[1]] == ["a"]


async def test_wait_ends_at_the_next_poll_or_when_the_shipper_stops(node: Node) -> None:
    stopping = asyncio.Event()
    started = time.monotonic()
    await node.scheduler.wait(stopping, busy=False)
    assert time.monotonic() - started >= 0.04  # the poll interval, 0.05 s

    waiting = asyncio.create_task(node.scheduler.wait(stopping, busy=False))
    await asyncio.sleep(0)
    stopping.set()
    await asyncio.wait_for(waiting, 5)
    await node.scheduler.wait(asyncio.Event(), busy=True)


def test_paused_container_and_one_without_metadata_are_not_read(node: Node) -> None:
    node.write("paused", 2 * SLICE_BYTES // LINE_BYTES)
    node.write("waiting", 2 * SLICE_BYTES // LINE_BYTES)
    node.write("other", 2 * SLICE_BYTES // LINE_BYTES)
    node.scan()
    node.delivery.paused.add("paused")
    (waiting,) = [tail for tail in node.containers.tails.values() if pod_of(tail) == "waiting"]
    waiting._metadata = MetadataState.WAITING

    assert {pod for pod, _ in node.read(1.0)[1]} == {"other"}
    node.delivery.paused.clear()
    waiting.stop_waiting(waiting.pod)
    assert {pod for pod, _ in node.read(1.0)[1]} >= {"paused", "waiting"}


def test_open_event_is_tried_again_after_a_pause(node: Node) -> None:
    node.write("a", tag=b"P")
    node.scan()
    tail = next(iter(node.containers.tails.values()))
    node.read()
    assert node.read(0.3)[1] == []
    assert tail.holds_lines or tail.backlog_bytes()

    node.write("a")
    assert node.read(OPEN_RETRY_SECONDS / 2)[1] == []
    assert [pod for pod, _ in node.read(OPEN_RETRY_SECONDS)[1]] == ["a"]


def test_backlog_that_gives_no_slice_is_a_stall_until_something_is_read(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.write("a", node.buffer_max_bytes // LINE_BYTES + 1)
    node.scan()
    tail = next(iter(node.containers.tails.values()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tail, "next_slice", lambda _: None)  # a defect
        node.read()
        since = node.now
        node.read(5.0)
        assert node.scheduler.stalled_since == since

    assert node.read(5.0)[1]
    assert node.scheduler.stalled_since == math.inf


def test_state_of_removed_containers_is_dropped(node: Node) -> None:
    node.write("a", tag=b"P")
    node.scan()
    node.read()
    node.read(0.3)
    assert node.scheduler._retry_at

    node.containers.tails.clear()
    node.scheduler.forget_removed()

    assert not node.scheduler._retry_at
    assert not node.scheduler._backlog_since
