"""Delivery of slices and gaps over a producer in memory: acknowledgements, rejections, too large slices."""

import asyncio
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from aiokafka.errors import OutOfOrderSequenceNumber

from agents.delivery import link
from agents.delivery.delivery import BUNDLE_PAUSE_SECONDS, MIN_SLICE_BYTES, Delivery
from agents.delivery.link import KafkaLink, LinkState
from agents.state.losses import LossTracker
from agents.tailing.container_tail import ContainerTail, Limits
from agents.tailing.log_file import LogFile
from pipeline.config.settings import KIB, MIB, KafkaSettings, Settings
from pipeline.contract import bundle, gap, record
from pipeline.contract.gap import Gap, GapRecord
from pipeline.monitoring.metric_table import SHIPPER
from pipeline.monitoring.metrics import Metrics
from tests.support.fake_producer import FakeTopic, Record

LINE = b"2026-11-24T09:42:30.%09dZ stdout F %b\n"
SLICE_BYTES = 64 * KIB
SETTINGS = Settings(ship_grace_seconds=0.1, slice_max_bytes=SLICE_BYTES)
NOW = 1_790_000_000 * 10**9


class Scene:
    """A connected delivery with a producer in memory, and one container."""

    def __init__(self, directory: Path) -> None:
        self.topic = FakeTopic()
        self.metrics = Metrics(SHIPPER)
        self.losses = LossTracker(self.metrics)
        self.link = KafkaLink(SETTINGS, asyncio.Event(), self.topic.create_producer, self.check)
        self.delivery = Delivery(SETTINGS, self.metrics, self.link)
        self.path = directory / "0.log"
        self.number = 0

    async def check(self, _settings: KafkaSettings, _topic: str) -> str:
        return ""

    def create_tails(self, count: int, partitions: int = 1) -> list[ContainerTail]:
        """Write a line for each of several containers, and open them."""
        self.topic.partitions = partitions
        directory, tails = self.path.parent, []
        for number in range(count):
            self.path = directory / f"{number}.log"
            tails.append(self.create_tail(1, 50, b"uid/app-%d/0" % number))
        return tails

    def send_all(self, tails: list[ContainerTail]) -> None:
        """Send the next slices of containers as in one pass."""
        for tail in tails:
            pending = tail.next_slice(NOW)
            assert pending is not None
            self.delivery.send(tail, pending)
        self.delivery.flush()

    def records(self) -> list[Record]:
        """The acknowledged records of all partitions."""
        return [entry for partition in self.topic.records.values() for entry in partition]

    def create_tail(self, lines: int, size: int, key: bytes = b"uid/app/0") -> ContainerTail:
        """Write lines, and open them."""
        with self.path.open("ab") as log:
            for _ in range(lines):
                self.number += 1
                log.write(LINE % (self.number, b"x" * size))
        descriptor = os.open(self.path, os.O_RDONLY)
        self.file = LogFile(self.path, descriptor, os.fstat(descriptor), str(self.path.parent))
        self.file.identify("uid", "app", 0)
        self.file.observe(*self.file.status(), 0.0)
        limits = Limits(SLICE_BYTES, SETTINGS.event_max_bytes)
        tail = ContainerTail(key, b"{}", "node", SETTINGS.grouping, limits)
        tail.insert(self.file)
        tail.finish_scan(NOW, ended=True)
        return tail

    def send(self, tail: ContainerTail) -> int:
        """Send the next slice; return its size."""
        pending = tail.next_slice(NOW)
        assert pending is not None
        self.delivery.send(tail, pending)
        self.delivery.flush()
        return len(pending.log_slice.value)

    async def recover(self, tail: ContainerTail) -> None:
        await self.delivery.recover([tail], self.losses)

    def values(self) -> list[bytes]:
        return [entry.value for entry in self.topic.records.get(0, [])]


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(link, "RETRY_SECONDS", 0.0)
    scene = Scene(tmp_path)
    await scene.link.connect()
    return scene


def is_acknowledged(tail: ContainerTail) -> bool:
    (file,) = tail.files
    return file.acked.low == file.last_size and not tail.in_flight_count


def lines_of(records: list[Record]) -> list[tuple[bytes, bytes]]:
    """The key of the container, and its lines, of each slice."""
    return [
        (part.key, part.value)
        for entry in records
        for part in (
            bundle.split(entry.value, entry.headers)
            if bundle.is_bundle(entry.headers)
            else [bundle.Part(entry.key, entry.value, entry.headers)]
        )
    ]


def large_metadata(size: int) -> bytes:
    return orjson.dumps({"namespace": "shop", "pod": "pay-1", "labels": {"big": "x" * size, "team": "a"}})


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_acknowledged_slice_moves_the_checkpoint_and_is_counted(scene: Scene) -> None:
    tail = scene.create_tail(lines=3, size=10)
    size = scene.send(tail)
    assert (scene.file.acked.low, tail.in_flight_count) == (0, 1)
    await settle()

    assert (scene.file.acked.low, tail.in_flight_count) == (size, 0)
    assert scene.metrics.get("crisp_shipper_acked_bytes") == size == scene.metrics.get("crisp_shipper_read_bytes")
    assert scene.metrics.get("crisp_shipper_records_sent", result="acked") == 1


async def test_rejected_slice_is_read_again_and_arrives_once(scene: Scene) -> None:
    tail = scene.create_tail(lines=3, size=10)
    scene.topic.error = OutOfOrderSequenceNumber()
    size = scene.send(tail)
    await settle()
    assert scene.link.state is LinkState.FAILED
    assert scene.delivery.problem.startswith("Kafka rejects records: ")
    assert scene.file.acked.low == 0

    scene.topic.error = None
    await scene.recover(tail)
    scene.send(tail)
    await settle()

    assert scene.values() == [scene.path.read_bytes()]
    assert (scene.delivery.problem, scene.file.acked.low) == ("", size)
    assert scene.metrics.get("crisp_shipper_retried_bytes") == size
    assert scene.metrics.get("crisp_shipper_records_sent", result="failed") == 1


async def test_unanswered_slice_is_counted_and_read_again_after_recovery(scene: Scene) -> None:
    tail = scene.create_tail(lines=3, size=10)
    scene.topic.holding = True
    size = scene.send(tail)
    await settle()
    await scene.recover(tail)
    scene.topic.release()
    scene.send(tail)
    await settle()

    assert scene.values() == [scene.path.read_bytes()]
    assert scene.metrics.get("crisp_shipper_retried_bytes") == size
    assert scene.delivery.problem == ""


async def test_too_large_slice_halves_the_slice_size_once_per_connection(scene: Scene) -> None:
    tail = scene.create_tail(lines=2000, size=100)
    scene.topic.max_bytes = 40 * KIB
    for _ in range(2):
        assert scene.send(tail) > 40 * KIB
    await settle()
    assert scene.link.state is LinkState.FAILED
    await scene.recover(tail)

    assert tail.slice_bytes == SLICE_BYTES // 2
    while tail.backlog_bytes():
        scene.send(tail)
        await settle()
    assert b"".join(scene.values()) == scene.path.read_bytes()


async def test_slice_sent_before_the_reduction_does_not_reduce_again(scene: Scene) -> None:
    tail = scene.create_tail(lines=2000, size=100)
    scene.topic.max_bytes = 1
    scene.send(tail)
    await settle()
    scene.send(tail)  # of the old size, before the recovery
    await settle()
    await scene.recover(tail)

    assert tail.slice_bytes == SLICE_BYTES // 2


async def test_too_large_event_pauses_only_its_container(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = scene.create_tail(lines=1, size=100 * KIB)
    other = ContainerTail(b"other", b"{}", "node", SETTINGS.grouping, Limits(SLICE_BYTES, 1 << 20))
    scene.topic.max_bytes = 50 * KIB
    for _ in range(2):  # first the container's slices are reduced, then it is paused
        scene.send(tail)
        await settle()
        await scene.recover(tail)
    assert tail.slice_bytes == MIN_SLICE_BYTES
    assert "is too large" in scene.delivery.problem
    now = asyncio.get_running_loop().time()
    assert scene.delivery.is_paused(tail, now)
    assert not scene.delivery.is_paused(tail, now + 60)
    assert not scene.delivery.is_paused(other, now)

    scene.topic.max_bytes = None
    scene.send(tail)
    await settle()

    assert scene.delivery.problem == ""
    assert scene.file.acked.low == scene.file.last_size


async def test_event_of_maximum_size_is_sent_whatever_metadata_its_checkpoint_has(scene: Scene) -> None:
    tail = scene.create_tail(lines=1, size=MIB - 100)
    tail.describe(large_metadata(1300 * KIB), SETTINGS.grouping)
    scene.send(tail)
    await settle()

    (sent,) = scene.topic.records[0]
    pod = orjson.loads(dict(sent.headers)["pod"])
    assert sent.value == scene.path.read_bytes()
    assert (pod["truncated"], pod["pod"], pod["labels"]) == (True, "pay-1", {"team": "a"})


async def test_gap_is_sent_whatever_metadata_its_checkpoint_has(scene: Scene) -> None:
    acked = asyncio.Event()
    large = GapRecord(gap_record().gap, "node", NOW, large_metadata(3 * MIB))
    scene.delivery.send_gap(b"key", large, acked.set)
    await settle()

    assert acked.is_set()


async def test_too_large_event_is_sent_again_with_less_metadata(scene: Scene) -> None:
    tail = scene.create_tail(lines=2, size=40 * KIB)
    labels = {f"label-{number:03}": "x" * 63 for number in range(150)}
    metadata = orjson.dumps({"namespace": "shop", "pod": "pay-1", "labels": labels})
    tail.describe(metadata, SETTINGS.grouping)
    scene.topic.max_bytes = 44 * KIB
    for _ in range(4):  # the size of slices is reduced twice, then the container is paused, then the metadata is cut
        scene.send(tail)
        await settle()
        await scene.recover(tail)

    (sent,) = scene.topic.records[0]
    pod = orjson.loads(dict(sent.headers)["pod"])
    assert pod["truncated"] is True
    assert 0 < len(orjson.dumps(pod["labels"])) <= KIB
    assert scene.delivery.problem == ""
    scene.topic.max_bytes = None
    scene.send(tail)
    await settle()
    assert dict(scene.topic.records[0][1].headers)["pod"] == metadata


async def test_paused_container_that_was_removed_is_no_problem(scene: Scene) -> None:
    tail = scene.create_tail(lines=1, size=100 * KIB)
    scene.topic.max_bytes = 50 * KIB
    for _ in range(2):
        scene.send(tail)
        await settle()
        await scene.recover(tail)
    await scene.delivery.recover([], scene.losses)

    assert scene.delivery.problem == ""


def gap_record() -> GapRecord:
    return GapRecord(Gap("A" * 16, 5, "/0.log", 7, gap.VANISHED_FILE), "node", NOW, b"{}")


async def test_acknowledged_gap_is_reported_to_its_caller(scene: Scene) -> None:
    acked: list[bool] = []
    scene.delivery.send_gap(b"key", gap_record(), lambda: acked.append(True))
    await settle()

    assert acked == [True]
    (entry,) = scene.topic.records[0]
    assert (entry.key, entry.value, dict(entry.headers)["crisp"]) == (b"key", b"", b"1")
    assert not record.is_crisp_record([])


@pytest.mark.parametrize("max_bytes", [None, -1], ids=["rejected", "too large"])
async def test_rejected_gap_fails_the_link_and_pauses_nothing(scene: Scene, max_bytes: int | None) -> None:
    unexpected: Callable[[], None] = lambda: pytest.fail("it was not acknowledged")  # noqa: E731
    scene.topic.error, scene.topic.max_bytes = OutOfOrderSequenceNumber(), max_bytes
    scene.delivery.send_gap(b"key", gap_record(), unexpected)
    await settle()

    assert scene.link.state is LinkState.FAILED
    assert scene.delivery.problem.startswith("Kafka rejects records: ")
    assert scene.metrics.get("crisp_shipper_records_sent", result="failed") == 0


async def test_small_slices_of_one_pass_are_one_record_whose_acknowledgement_is_theirs(scene: Scene) -> None:
    tails = scene.create_tails(5)
    scene.send_all(tails)
    assert not any(map(is_acknowledged, tails))
    assert scene.link.in_flight.total > 0
    await settle()

    (entry,) = scene.records()
    assert bundle.is_bundle(entry.headers)
    expected = [(tail.key, tail.files[0].path.read_bytes()) for tail in tails]
    assert lines_of([entry]) == expected
    assert all(map(is_acknowledged, tails))
    assert scene.link.in_flight.total == 0
    assert scene.metrics.get("crisp_shipper_records_sent", result="acked") == 1
    size = len(entry.value)
    assert scene.metrics.get("crisp_shipper_acked_bytes") == size == scene.metrics.get("crisp_shipper_read_bytes")


async def test_large_slice_and_single_slice_are_records_of_their_own(scene: Scene) -> None:
    tails = scene.create_tails(3)
    scene.path = scene.path.parent / "large.log"
    large = scene.create_tail(400, 100, b"uid/large/0")
    scene.send_all([tails[0], large, tails[1]])
    scene.send_all([tails[2]])
    await settle()

    by_key = {entry.key: dict(entry.headers)["crisp"] for entry in scene.records()}
    assert by_key[b"uid/large/0"] == b"1"
    assert by_key[b"uid/app-2/0"] == b"1"
    assert sorted(by_key.values()) == [b"1", b"1", b"2"]


async def test_slices_that_do_not_fit_into_one_bundle_go_into_several(scene: Scene) -> None:
    tails = scene.create_tails(5)
    for number, tail in enumerate(tails):
        tail.describe(large_metadata(20 * KIB + number), SETTINGS.grouping)
    scene.send_all(tails)
    await settle()

    assert sorted(len(lines_of([entry])) for entry in scene.records()) == [1, 2, 2]
    assert all(map(is_acknowledged, tails))


@pytest.mark.parametrize("max_bytes", [None, 600], ids=["rejected", "too large"])
async def test_slices_of_a_rejected_bundle_are_records_of_their_own_afterwards(
    scene: Scene, max_bytes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tails = scene.create_tails(5)
    scene.topic.max_bytes = max_bytes
    if max_bytes is None:
        scene.topic.error = OutOfOrderSequenceNumber()
    scene.send_all(tails)
    await settle()
    assert scene.link.state is LinkState.FAILED
    assert scene.metrics.get("crisp_shipper_records_sent", result="failed") == 1

    scene.topic.error = None
    await scene.delivery.recover(tails, scene.losses)
    scene.send_all(tails)
    await settle()

    assert lines_of(scene.records()) == [(tail.key, tail.files[0].path.read_bytes()) for tail in tails]
    assert {dict(entry.headers)["crisp"] for entry in scene.records()} == {b"1"}
    assert all(map(is_acknowledged, tails))
    assert scene.delivery.problem == ""

    later = time.monotonic() + 2 * BUNDLE_PAUSE_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    scene.topic.max_bytes = None
    scene.topic.records.clear()
    scene.path = scene.path.parent / "more.log"
    scene.send_all([scene.create_tail(1, 50, b"uid/more-%d/0" % number) for number in range(2)])
    await settle()
    assert [dict(entry.headers)["crisp"] for entry in scene.records()] == [b"2"]


async def test_without_bundles_every_slice_is_a_record_of_its_own(scene: Scene) -> None:
    scene.delivery = Delivery(dataclasses.replace(SETTINGS, bundles=False), scene.metrics, scene.link)
    scene.send_all(scene.create_tails(3))
    await settle()

    assert [dict(entry.headers)["crisp"] for entry in scene.records()] == [b"1"] * 3


async def test_bundle_whose_partition_has_no_leader_is_read_again_into_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path)
    scene.topic.partitions = 3
    await scene.link.connect()
    tails = scene.create_tails(4, partitions=3)
    scene.topic.holding = True
    scene.send_all(tails)
    (held,) = scene.link.in_flight.waiting_partitions()
    scene.topic.leaderless = {held}
    scene.topic.release()
    later = time.monotonic() + 30
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await scene.link.check()
    assert scene.link.held_partitions() == {held}
    assert not any(map(is_acknowledged, tails))

    scene.delivery.resend_held_bundles()
    scene.delivery.resend_held_bundles()  # nothing is held now
    scene.send_all(tails)
    await settle()

    assert all(map(is_acknowledged, tails))
    assert held not in scene.topic.records
    expected = [(tail.key, tail.files[0].path.read_bytes()) for tail in tails]
    assert lines_of(scene.records()) == expected
    scene.topic.leaderless = set()
    scene.topic.release()
    await settle()
    assert lines_of(scene.topic.records[held]) == expected  # late, with the same ids
    assert all(map(is_acknowledged, tails))
    assert scene.link.in_flight.total == 0
    await scene.link.check()
    assert scene.link.held_partitions() == set()


async def test_bundle_whose_partition_does_not_respond_is_read_again_only_while_others_respond(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    scene.topic.partitions = 3
    scene.link.in_flight.assign([0, 1, 2])
    tails = scene.create_tails(4, partitions=3)
    scene.topic.holding = True
    scene.send_all(tails[:2])
    (held,) = scene.link.in_flight.waiting_partitions()
    now += 60
    scene.delivery.resend_held_bundles()
    assert [tail.backlog_bytes() for tail in tails[:2]] == [0, 0]  # Kafka does not respond at all

    scene.topic.leaderless = {held}
    scene.topic.release()
    scene.send_all(tails[2:])
    await settle()
    assert list(map(is_acknowledged, tails)) == [False, False, True, True]
    scene.delivery.resend_held_bundles()
    scene.send_all(tails[:2])
    await settle()

    assert all(map(is_acknowledged, tails))
    assert held not in scene.topic.records
