"""What vanished unread: counted to the byte, told once, in its place; and what did not vanish is not told."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.state.checkpoint import State, decode, encode
from agents.tailing import file_handles
from agents.tailing.container_tail import ContainerTail, PendingSlice
from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.gap import Gap

UID = "11111111-2222-3333-4444-555555555555"
BASE = 1_790_000_000 * 10**9


class Scene:
    """A shipper's parts on a directory of logs; time is moved by hand."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root / "pods"
        self.root.mkdir(exist_ok=True)
        self.state_dir = root / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.settings = settings
        self.clock, self.number = 1000.0, 0
        self.read: dict[str, int] = {}
        self.texts: dict[str, list[bytes]] = {}
        self.waiting: list[tuple[ContainerTail, PendingSlice]] = []
        self.start(None)

    def start(self, state: State | None) -> None:
        made = Settings(logs_dir=str(self.root), state_dir=str(self.state_dir), node_name="n", **self.settings)
        self.fleet = ContainerLogs(made, state, clock=lambda: self.clock)
        self.discovery = Discovery([kubelet_layout(self.root)], DirectoryCache())

    def restart(self) -> None:
        state = decode(encode(self.fleet.state()))
        for tail in self.fleet.tails.values():
            for file in tail.files:
                file.close()
        self.start(state)

    def path(self, pod: str = "pay", name: str = "0.log") -> Path:
        made = self.root / f"shop_{pod}_{UID}" / "app" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        return made

    def write(self, pod: str = "pay", lines: int = 1, name: str = "0.log", size: int = 100) -> int:
        """Append lines; returns how many bytes."""
        written = 0
        with self.path(pod, name).open("ab") as file:
            for _ in range(lines):
                self.number += 1
                written += file.write(b"2026-09-21T13:33:20.%09dZ stdout F %b\n" % (self.number, b"x" * size))
        return written

    def scan(self, looks: int = 2) -> None:
        """What is not found is judged after a while, so the second look says that it is lost."""
        for _ in range(looks):
            self.clock += 2.0
            self.fleet.update(self.discovery.scan(), BASE, self.discovery.unreadable)

    def look(self) -> None:
        for instance, tail in self.fleet.tails.items():
            self.fleet.poll(instance, tail, self.clock)

    def take(self) -> bool:
        self.look()
        before = len(self.waiting)
        for tail in self.fleet.tails.values():
            taken = tail.next_slice(BASE + 100 * 10**9)
            if taken is not None:
                self.waiting.append((tail, taken))
        return len(self.waiting) > before

    def acknowledge(self) -> None:
        for tail, taken in self.waiting:
            tail.acknowledge(taken.in_flight)
            pod = tail.key.decode()
            self.read[pod] = self.read.get(pod, 0) + len(taken.log_slice.value)
        self.waiting.clear()

    def drain(self) -> None:
        for _ in range(4):
            self.scan()
            while self.take():
                self.acknowledge()
            self.acknowledge()

    def gaps(self) -> list[Gap]:
        """What is told, as if Kafka had taken it."""
        told = []
        for loss in list(self.fleet.losses.reportable(self.fleet.tails)):
            told.append(loss.to_gap())
            self.fleet.gap_acknowledged(loss)
        return told

    def metric(self, name: str, **labels: str) -> float:
        return self.fleet.losses._metrics.get(name, **labels)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_file_that_vanished_while_nobody_looked_is_told_by_what_was_known_of_it(scene: Scene) -> None:
    first = scene.write(lines=3)
    scene.scan()
    scene.take()
    scene.acknowledge()
    second = scene.write(lines=5)
    scene.look()
    identity = next(iter(scene.fleet.tails.values())).files[0].identity
    scene.restart()
    scene.path().unlink()
    scene.write(lines=2)
    scene.scan()

    (told,) = scene.gaps()
    assert told[:5] == (identity, first, str(scene.path()), second, gap.VANISHED_FILE)
    assert told.since or told.until
    scene.drain()
    assert scene.gaps() == []
    assert scene.metric("crisp_shipper_lost_bytes", reason=gap.VANISHED_FILE) == second


def test_one_that_was_read_as_far_as_was_known_may_have_lost_something(scene: Scene) -> None:
    size = scene.write()
    scene.drain()
    scene.restart()
    scene.path().unlink()
    scene.write()
    scene.scan()

    assert [(one.offset, one.size) for one in scene.gaps()] == [(size, None)]


def test_a_gap_that_kafka_does_not_have_is_told_after_a_restart(scene: Scene) -> None:
    scene.write()
    scene.scan()
    scene.look()
    scene.restart()
    scene.path().unlink()
    scene.scan()
    told = [loss.to_gap() for loss in scene.fleet.losses.reportable(scene.fleet.tails)]
    scene.restart()
    scene.scan()

    assert scene.gaps() == told
    scene.restart()
    scene.scan()
    assert scene.gaps() == []


@pytest.mark.parametrize("how", ["renamed", "packed", "packed twice"])
def test_what_was_only_renamed_or_packed_is_not_lost(scene: Scene, how: str) -> None:
    size = scene.write(lines=4)
    scene.scan()
    scene.look()
    scene.restart()
    rotated = scene.path(name="0.log.20260101-000000")
    scene.path().rename(rotated)
    if how != "renamed":
        rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    size += scene.write()
    scene.drain()

    assert scene.gaps() == []
    assert scene.read == {f"{UID}/app/0": size}


def test_nothing_is_missed_that_cannot_be_looked_at(scene: Scene) -> None:
    size = scene.write(lines=4)
    scene.scan()
    scene.look()
    scene.restart()
    away = scene.root.with_name("away")
    scene.root.rename(away)
    scene.scan()
    scene.scan()
    assert scene.gaps() == []
    away.rename(scene.root)
    scene.drain()

    assert scene.gaps() == []
    assert scene.read == {f"{UID}/app/0": size}


def test_a_jump_in_restart_numbers_is_told_once_and_none_on_the_first_day(scene: Scene) -> None:
    scene.write(name="7.log")
    scene.drain()
    assert scene.gaps() == []
    scene.path(name="7.log").unlink()
    scene.write(name="10.log")
    scene.scan()
    told = scene.gaps()
    assert [(one.size, one.reason, one.path[-5:]) for one in told] == [(None, gap.RESTART_JUMP, "8.log")]
    scene.restart()
    scene.scan()
    assert scene.gaps() == []
    scene.write("new", name="1.log")
    scene.scan()
    assert [one.path[-5:] for one in scene.gaps()] == ["0.log"]


def test_a_silent_container_is_not_missed_after_a_restart(scene: Scene) -> None:
    scene.path(name="4.log").touch()
    scene.scan()
    scene.restart()
    scene.scan()

    assert scene.gaps() == []


def test_a_pod_that_is_deleted_while_it_is_read_loses_nothing(scene: Scene) -> None:
    size = scene.write(lines=50)
    scene.scan()
    scene.path().unlink()
    scene.path().parent.rmdir()
    scene.drain()

    assert scene.read == {f"{UID}/app/0": size}
    assert scene.gaps() == []
    assert scene.fleet.tails == {}


def test_one_that_could_not_be_opened_before_it_vanished_is_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    size = scene.write()
    monkeypatch.setattr(file_handles, "open_log", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    scene.scan()
    assert scene.gaps() == []
    scene.path().rename(scene.path(name="0.log.20260101-000000"))
    scene.scan()
    assert scene.gaps() == []
    scene.path(name="0.log.20260101-000000").unlink()
    scene.scan()

    assert [(one.size, one.reason) for one in scene.gaps()] == [(size, gap.VANISHED_FILE)]


def test_a_truncated_file_loses_what_was_seen_of_it_unless_a_copy_turns_up(scene: Scene) -> None:
    for copied in (False, True):
        scene.scan()
        size = scene.write(lines=2)
        scene.scan()
        scene.look()
        if copied:
            scene.path(name="0.log.20260101-000000").write_bytes(scene.path().read_bytes())
        os.truncate(scene.path(), 0)
        scene.write()
        scene.look()
        scene.scan()
        assert [(one.offset, one.size) for one in scene.gaps()] == ([] if copied else [(0, size)])
        scene.drain()
        assert scene.gaps() == []


def test_a_file_written_anew_to_its_old_size_is_another_one(scene: Scene) -> None:
    scene.write()
    scene.drain()
    identity = next(iter(scene.fleet.tails.values())).files[0].identity
    os.truncate(scene.path(), 0)
    scene.write()
    os.utime(scene.path(), (1, 1))
    scene.drain()

    assert next(iter(scene.fleet.tails.values())).files[0].identity != identity
    assert scene.read == {f"{UID}/app/0": 2 * scene.path().stat().st_size}


def test_a_broken_archive_is_read_up_to_the_fault(scene: Scene) -> None:
    scene.write(lines=2000, size=300)
    whole = scene.path().read_bytes()
    packed = gzip.compress(os.urandom(0) + whole + os.urandom(200_000))
    scene.path(name="0.log.20260101-000000.gz").write_bytes(packed[: len(packed) - 100_000])
    scene.path(name="0.log.20260101-000001.gz").write_bytes(b"no archive at all")
    scene.path().unlink()
    scene.write("pay")
    scene.drain()

    told = scene.gaps()
    assert [(one.size, one.reason) for one in told] == [(None, gap.CORRUPT_ARCHIVE)] * 2
    assert max(one.offset for one in told) >= len(whole)
    assert scene.read[f"{UID}/app/0"] >= len(whole)
    scene.drain()
    assert scene.gaps() == []


def test_beyond_the_bound_of_disk_the_biggest_backlog_goes_first(tmp_path: Path) -> None:
    scene = Scene(tmp_path, deleted_max_bytes=300_000)
    written: dict[str, int] = {}
    for pod in ("quiet-1", "quiet-2", "noisy"):
        written[pod] = scene.write(pod, lines=100)
        scene.scan()
    sizes = []
    for number in range(10):
        scene.write("noisy", lines=1000)
        scene.path("noisy").rename(scene.path("noisy", name=f"0.log.20260101-00000{number}"))
        sizes.append(scene.path("noisy", name=f"0.log.20260101-00000{number}").stat().st_size)
        scene.write("noisy")
        scene.scan()
        scene.look()
        scene.path("noisy", name=f"0.log.20260101-00000{number}").unlink()
    for pod in ("quiet-1", "quiet-2"):
        scene.path(pod).unlink()
    scene.scan(looks=1)
    assert scene.fleet.deleted_bytes > 300_000
    scene.scan()
    assert scene.fleet.deleted_bytes <= 300_000

    told = scene.gaps()
    assert [one.size for one in told] == sizes[: len(told)]
    assert {one.reason for one in told} == {gap.DISK_LIMIT}
    assert all("noisy" in one.path for one in told)
    scene.drain()
    assert scene.gaps() == []
    assert sum(scene.read.values()) + sum(one.size or 0 for one in told) == (
        sum(sizes) + scene.path("noisy").stat().st_size + written["quiet-1"] + written["quiet-2"]
    )
    assert scene.metric("crisp_shipper_lost_bytes", reason=gap.DISK_LIMIT) == sum(one.size or 0 for one in told)


def test_what_is_on_its_way_when_a_file_is_given_up_is_counted_when_its_answer_comes(tmp_path: Path) -> None:
    for arrives in (True, False):
        root = tmp_path / str(arrives)
        root.mkdir()
        scene = Scene(root, deleted_max_bytes=0, slice_max_bytes=16384)
        size = scene.write(lines=1000)
        scene.scan()
        scene.take()
        scene.path().unlink()
        scene.scan()
        assert scene.gaps() == []
        (under_way,) = [len(taken.log_slice.value) for _, taken in scene.waiting]
        if arrives:
            scene.acknowledge()
        else:
            scene.waiting[0][0].rewind()
        (told,) = scene.gaps()
        assert (told.offset, told.size) == ((under_way, size - under_way) if arrives else (0, size))
        assert scene.metric("crisp_shipper_lost_bytes", reason=gap.DISK_LIMIT) == told.size


def test_quiet_files_are_parked_and_renamed_unread_ones_never(scene: Scene) -> None:
    scene.fleet._file_handles._limit = 8
    written = {}
    for number in range(30):
        written[f"p-{number}"] = scene.write(f"p-{number}", lines=3)
        scene.drain()
    held = [file for tail in scene.fleet.tails.values() for file in tail.files]
    assert len(held) == 30
    assert sum(not file.suspended for file in held) <= 8
    for number in range(30):
        written[f"p-{number}"] += scene.write(f"p-{number}")
    for number in range(0, 30, 3):
        scene.path(f"p-{number}").rename(scene.path(f"p-{number}", name="0.log.20260101-000000"))
        written[f"p-{number}"] += scene.write(f"p-{number}")
    for _ in range(40):
        scene.drain()
    assert sum(scene.read.values()) == sum(written.values())
    assert scene.gaps() == []


def test_an_unread_renamed_file_keeps_its_descriptor_when_there_is_none_left(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.fleet._file_handles._limit = 2
    written = scene.write("a") + scene.write("b")
    scene.scan()
    scene.look()
    for pod in ("a", "b"):
        scene.path(pod).unlink()
    written += scene.write("c")
    scene.scan()
    assert "raise the limit of open files" in caplog.text
    for _ in range(4):
        scene.drain()
    assert sum(scene.read.values()) == written
    assert scene.gaps() == []


def test_identities_of_files_without_a_time_outlive_a_restart(scene: Scene) -> None:
    scene.path().write_bytes(b"no time here\n" * 100)
    scene.drain()
    scene.restart()
    with scene.path().open("ab") as file:
        file.write(b"nor here\n")
    scene.drain()

    assert scene.read == {f"{UID}/app/0": scene.path().stat().st_size}
    assert record.IDENTITY.fullmatch(next(iter(scene.fleet.tails.values())).files[0].identity)


def test_a_file_that_is_renamed_during_the_first_look_is_not_lost(scene: Scene) -> None:
    """A directory is listed, then its files are opened: what is renamed in between is found under neither name."""
    written = scene.write(lines=10)
    scene.drain()
    written += scene.write(lines=10)
    scene.path().rename(scene.path(name="0.log.20260921-133320"))
    written += scene.write(lines=5)
    scene.restart()
    found = [file for file in scene.discovery.scan() if not file.rotated]

    scene.fleet.update(found, BASE)
    scene.clock += 0.1
    assert scene.gaps() == []
    scene.drain()

    assert scene.gaps() == []
    assert sum(scene.read.values()) == written
