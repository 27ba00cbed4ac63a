"""Losses: bytes that vanished unread are counted exactly and reported once, in their place; nothing else is."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from agents.containers import HOLD_SECONDS, ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, Scan, kubelet_layout
from agents.state.checkpoint import State, decode, encode
from agents.tailing import file_handles
from agents.tailing.container_tail import ContainerTail
from agents.tailing.pending_slice import PendingSlice
from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.gap import Gap

UID = "11111111-2222-3333-4444-555555555555"
BASE = 1_790_000_000 * 10**9


class Node:
    """The shipper's parts on a directory of logs, with a manual clock."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root / "pods"
        self.root.mkdir(exist_ok=True)
        self.state_dir = root / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.settings = settings
        self.clock, self.number = 1000.0, 0
        self.read: dict[str, int] = {}
        self.texts: dict[str, list[bytes]] = {}
        self.in_flight: list[tuple[ContainerTail, PendingSlice]] = []
        self.start(None)

    def start(self, state: State | None) -> None:
        settings = Settings(logs_dir=str(self.root), state_dir=str(self.state_dir), node_name="n", **self.settings)
        self.logs = ContainerLogs(settings)
        self.logs.restore(state)
        self.discovery = Discovery([kubelet_layout(self.root)], DirectoryCache())

    def restart(self) -> None:
        state = decode(encode(self.logs.state()))
        for tail in self.logs.tails.values():
            for file in tail.files:
                file.close()
        self.start(state)

    def path(self, pod: str = "pay", name: str = "0.log") -> Path:
        path = self.root / f"shop_{pod}_{UID}" / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, pod: str = "pay", lines: int = 1, name: str = "0.log", size: int = 100) -> int:
        """Append lines; return the number of bytes."""
        written = 0
        with self.path(pod, name).open("ab") as file:
            for _ in range(lines):
                self.number += 1
                written += file.write(b"2026-09-21T13:33:20.%09dZ stdout F %b\n" % (self.number, b"x" * size))
        return written

    def scan(self, scans: int = 2) -> None:
        """Scan; a missing file counts as lost after a while, so the second scan reports it."""
        for _ in range(scans):
            self.clock += 2.0
            files = self.discovery.scan()
            self.logs.update(Scan(files, BASE, self.clock, self.discovery.unreadable))

    def poll(self) -> None:
        for instance, tail in self.logs.tails.items():
            self.logs.poll(instance, tail, self.clock)

    def read_slices(self) -> bool:
        self.poll()
        before = len(self.in_flight)
        for instance, tail in self.logs.tails.items():
            pending = self.logs.next_slice(instance, tail, BASE + 100 * 10**9)
            if pending is not None:
                self.in_flight.append((tail, pending))
        return len(self.in_flight) > before

    def acknowledge(self) -> None:
        for tail, pending in self.in_flight:
            tail.acknowledge(pending.in_flight)
            pod = tail.key.decode()
            self.read[pod] = self.read.get(pod, 0) + len(pending.log_slice.value)
        self.in_flight.clear()

    def drain(self) -> None:
        for _ in range(4):
            self.scan()
            while self.read_slices():
                self.acknowledge()
            self.acknowledge()

    def gaps(self) -> list[Gap]:
        """Return the reported gaps, and acknowledge them."""
        gaps = []
        for loss in list(self.logs.losses.reportable(self.logs.tails)):
            gaps.append(loss.to_gap())
            self.logs.gap_acknowledged(loss)
        return gaps

    def metric(self, name: str, **labels: str) -> float:
        return self.logs.losses._metrics.get(name, **labels)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_file_that_vanished_during_downtime_is_reported_from_the_checkpoint(node: Node) -> None:
    first = node.write(lines=3)
    node.scan()
    node.read_slices()
    node.acknowledge()
    second = node.write(lines=5)
    node.poll()
    identity = next(iter(node.logs.tails.values())).files[0].identity
    node.restart()
    node.path().unlink()
    node.write(lines=2)
    node.scan()

    (lost,) = node.gaps()
    assert lost[:5] == (identity, first, str(node.path()), second, gap.VANISHED_FILE)
    assert lost.since or lost.until
    node.drain()
    assert node.gaps() == []
    assert node.metric("crisp_shipper_lost_bytes", reason=gap.VANISHED_FILE) == second


def test_vanished_file_that_was_read_to_its_known_size_has_a_gap_of_unknown_size(node: Node) -> None:
    size = node.write()
    node.drain()
    node.restart()
    node.path().unlink()
    node.write()
    node.scan()

    assert [(entry.offset, entry.size) for entry in node.gaps()] == [(size, None)]


def test_unacknowledged_gap_is_reported_again_after_a_restart(node: Node) -> None:
    node.write()
    node.scan()
    node.poll()
    node.restart()
    node.path().unlink()
    node.scan()
    gaps = [loss.to_gap() for loss in node.logs.losses.reportable(node.logs.tails)]
    node.restart()
    node.scan()

    assert node.gaps() == gaps
    node.restart()
    node.scan()
    assert node.gaps() == []


@pytest.mark.parametrize("change", ["renamed", "compressed"])
def test_renamed_or_compressed_file_is_not_lost(node: Node, change: str) -> None:
    size = node.write(lines=4)
    node.scan()
    node.poll()
    node.restart()
    rotated = node.path(name="0.log.20260101-000000")
    node.path().rename(rotated)
    if change == "compressed":
        rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    size += node.write()
    node.drain()

    assert node.gaps() == []
    assert node.read == {f"{UID}/app/0": size}


def test_archive_that_is_compressed_again_is_neither_lost_nor_read_twice(node: Node) -> None:
    size = node.write(lines=4)
    archive = node.path(name="0.log.20260101-000000.gz")
    archive.write_bytes(gzip.compress(node.path().read_bytes(), 1))
    node.path().unlink()
    size += node.write()
    node.drain()
    node.restart()
    recompressed = gzip.compress(gzip.decompress(archive.read_bytes()), 9)
    assert recompressed != archive.read_bytes()

    archive.unlink()
    archive.write_bytes(recompressed)
    node.drain()

    assert node.gaps() == []
    assert node.read == {f"{UID}/app/0": size}


def test_file_in_an_unreadable_directory_is_not_lost(node: Node) -> None:
    size = node.write(lines=4)
    node.scan()
    node.poll()
    node.restart()
    away = node.root.with_name("away")
    node.root.rename(away)
    node.scan()
    node.scan()
    assert node.gaps() == []
    away.rename(node.root)
    node.drain()

    assert node.gaps() == []
    assert node.read == {f"{UID}/app/0": size}


def test_jump_in_restart_numbers_is_reported_once_and_not_by_the_first_shipper(node: Node) -> None:
    node.write(name="7.log")
    node.drain()
    assert node.gaps() == []
    node.path(name="7.log").unlink()
    node.write(name="10.log")
    node.scan()
    gaps = node.gaps()
    assert [(entry.size, entry.reason, entry.path[-5:]) for entry in gaps] == [(None, gap.RESTART_JUMP, "8.log")]
    node.restart()
    node.scan()
    assert node.gaps() == []
    node.write("new", name="1.log")
    node.scan()
    assert [entry.path[-5:] for entry in node.gaps()] == ["0.log"]


@pytest.mark.parametrize("deleted", [False, True])
def test_log_of_lower_restart_number_is_live_when_numbers_go_back(node: Node, deleted: bool) -> None:  # noqa: FBT001
    node.write(name="3.log")
    os.utime(node.path(name="3.log"), (1, 1))
    node.drain()
    if deleted:
        node.path(name="3.log").unlink()
    node.write(name="0.log")
    node.drain()

    live = next(tail for instance, tail in node.logs.tails.items() if instance.restart == 0)
    assert not live.ended
    assert node.gaps() == []
    node.write(name="4.log")
    node.drain()
    assert live.ended
    assert node.gaps() == []


def test_later_restart_number_in_cleaned_directory_is_no_jump(node: Node) -> None:
    for restart in range(6):
        node.write(name=f"{restart}.log")
        node.drain()
        for path in node.path().parent.iterdir():
            path.unlink()
        node.scan(1)
        node.clock += HOLD_SECONDS
        node.drain()
        if restart == 3:
            node.restart()

    assert node.gaps() == []
    node.write(name="8.log")
    node.drain()
    assert [(entry.reason, entry.path[-5:]) for entry in node.gaps()] == [(gap.RESTART_JUMP, "6.log")]


def test_silent_container_is_not_lost_after_a_restart(node: Node) -> None:
    node.path(name="4.log").touch()
    node.scan()
    node.restart()
    node.scan()

    assert node.gaps() == []


def test_pod_deleted_during_reading_loses_nothing(node: Node) -> None:
    size = node.write(lines=50)
    node.scan()
    node.path().unlink()
    node.path().parent.rmdir()
    node.drain()
    node.scan(1)
    node.clock += HOLD_SECONDS
    node.drain()

    assert node.read == {f"{UID}/app/0": size}
    assert node.gaps() == []
    assert node.logs.tails == {}


def test_vanished_file_that_could_not_be_opened_is_reported(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    size = node.write()
    monkeypatch.setattr(file_handles, "open_log", lambda *_: (_ for _ in ()).throw(PermissionError(13, "denied")))
    node.scan()
    assert node.gaps() == []
    node.path().rename(node.path(name="0.log.20260101-000000"))
    node.scan()
    assert node.gaps() == []
    node.path(name="0.log.20260101-000000").unlink()
    node.scan()

    assert [(entry.size, entry.reason) for entry in node.gaps()] == [(size, gap.VANISHED_FILE)]


def test_truncated_file_loses_its_unread_bytes_unless_a_copy_exists(node: Node) -> None:
    for copied in (False, True):
        node.scan()
        size = node.write(lines=2)
        node.scan()
        node.poll()
        if copied:
            node.path(name="0.log.20260101-000000").write_bytes(node.path().read_bytes())
        os.truncate(node.path(), 0)
        node.write()
        node.poll()
        node.scan()
        assert [(entry.offset, entry.size) for entry in node.gaps()] == ([] if copied else [(0, size)])
        node.drain()
        assert node.gaps() == []


def test_file_truncated_and_written_to_its_old_size_gets_a_new_identity(node: Node) -> None:
    node.write()
    node.drain()
    identity = next(iter(node.logs.tails.values())).files[0].identity
    os.truncate(node.path(), 0)
    node.write()
    os.utime(node.path(), (1, 1))
    node.drain()

    assert next(iter(node.logs.tails.values())).files[0].identity != identity
    assert node.read == {f"{UID}/app/0": 2 * node.path().stat().st_size}


def test_corrupt_archive_is_read_up_to_the_error(node: Node) -> None:
    node.write(lines=2000, size=300)
    whole = node.path().read_bytes()
    compressed = gzip.compress(os.urandom(0) + whole + os.urandom(200_000))
    node.path(name="0.log.20260101-000000.gz").write_bytes(compressed[: len(compressed) - 100_000])
    node.path(name="0.log.20260101-000001.gz").write_bytes(b"no archive at all")
    node.path().unlink()
    node.write("pay")
    node.drain()

    gaps = node.gaps()
    assert [(entry.size, entry.reason) for entry in gaps] == [(None, gap.CORRUPT_ARCHIVE)] * 2
    assert max(entry.offset for entry in gaps) >= len(whole)
    assert node.read[f"{UID}/app/0"] >= len(whole)
    node.drain()
    assert node.gaps() == []


@pytest.mark.parametrize("position", [12, 2000, 30_000, 200_000, -4])
def test_damaged_archive_has_one_gap_and_does_not_block_the_live_log(node: Node, position: int) -> None:
    with node.path().open("wb") as log:
        for number in range(6000):
            log.write(b"2026-09-21T13:33:19.%09dZ stdout F %b\n" % (number, os.urandom(30).hex().encode()))
    damaged = bytearray(gzip.compress(node.path().read_bytes()))
    damaged[position : position + 3 if position > 0 else None] = b"\x55\xaa\x55"
    node.path(name="0.log.20260101-000000.gz").write_bytes(damaged)
    node.path().unlink()
    live = node.write(lines=10)
    node.drain()

    gaps = node.gaps()
    assert [(entry.size, entry.reason) for entry in gaps] == [(None, gap.CORRUPT_ARCHIVE)]
    assert node.read[f"{UID}/app/0"] == gaps[0].offset + live
    for _ in range(3):
        node.drain()
    assert node.gaps() == []
    node.restart()
    node.drain()
    assert {(entry.identity, entry.offset) for entry in node.gaps()} <= {(gaps[0].identity, gaps[0].offset)}


def test_file_without_name_is_held_until_its_slow_writer_reopens_the_log(node: Node) -> None:
    size = node.write()
    node.drain()
    with node.path().open("ab") as writer:
        node.path().unlink()
        for number in range(2):
            node.drain()
            size += writer.write(b"2026-09-21T13:33:21.%09dZ stdout F late\n" % number)
            writer.flush()
            node.clock += 3
        size += node.write()
    node.drain()

    assert node.read == {f"{UID}/app/0": size}
    node.path().unlink()
    node.scan(1)
    node.clock += HOLD_SECONDS
    node.drain()
    node.drain()
    assert node.logs.tails == {}
    assert node.gaps() == []


def rotate(node: Node, number: int, kept: int, *, compress: bool = False) -> None:
    """Rotate as the kubelet does, and write a line to the new log; `compress` the rotated file."""
    rotated = node.path(name=f"0.log.20260101-00000{number}")
    node.path().rename(rotated)
    if compress:
        rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
        rotated.unlink()
    node.write()
    for path in sorted(node.path().parent.glob("0.log.*"))[:-kept]:
        path.unlink()


@pytest.mark.parametrize("seconds", [0, 20])
def test_files_that_came_and_went_while_the_shipper_was_frozen_are_one_gap_of_unknown_size(
    node: Node, seconds: int
) -> None:
    node.write()
    node.drain()
    node.write(lines=5)
    own = node.path().stat().st_size
    node.clock += seconds
    for number in range(4):
        rotate(node, number, kept=2)
    node.drain()

    expected = [(0, None, gap.VANISHED_FILE)] if seconds else []
    assert [(entry.offset, entry.size, entry.reason) for entry in node.gaps()] == expected
    line = node.path().stat().st_size
    assert node.read == {f"{UID}/app/0": own + 3 * line}
    node.restart()
    node.drain()
    assert node.gaps() == []


@pytest.mark.parametrize("change", ["rotated", "compressed", "removed, no new log", "pod deleted", "nothing"])
def test_frozen_shipper_reports_no_gap_when_the_files_show_that_nothing_is_missing(node: Node, change: str) -> None:
    size = node.write()
    rotate(node, 0, kept=5)
    node.drain()
    node.write(lines=5)
    node.clock += 20
    if change in {"rotated", "compressed"}:
        for number in range(1, 4):
            rotate(node, number, kept=3, compress=change == "compressed")
    elif change == "removed, no new log":
        node.path().unlink()
    elif change == "pod deleted":
        for path in node.path().parent.iterdir():
            path.unlink()
    node.scan(1)
    if change.startswith("removed"):
        node.write()
    node.drain()

    assert node.gaps() == []
    lines = {"rotated": 10, "compressed": 10, "removed, no new log": 8}.get(change, 7)
    assert node.read == {f"{UID}/app/0": size * lines}


def test_log_that_was_renamed_during_the_first_listing_after_a_freeze_leaves_no_gap(node: Node) -> None:
    node.write()
    node.drain()
    node.clock += 20
    node.path().rename(node.path(name="0.log.20260101-000000"))
    node.write()
    discovered = [file for file in node.discovery.scan() if not file.rotated]
    node.logs.update(Scan(discovered, BASE, node.clock))
    node.clock -= 1
    node.drain()

    assert node.gaps() == []


def test_freeze_during_a_scan_is_noticed_by_the_next_one(node: Node) -> None:
    node.write()
    node.drain()
    begun_at = node.clock
    discovered = node.discovery.scan()
    for number in range(4):
        rotate(node, number, kept=2)
    node.clock += 20
    node.logs.update(Scan(discovered, BASE, node.clock, (), begun_at))
    node.drain()

    assert [entry.size for entry in node.gaps()] == [None]


@pytest.mark.parametrize("change", ["removed", "renamed", "rotated", "rotated twice"])
def test_file_with_a_successor_is_held_for_its_slow_writer_and_does_not_delay_the_live_log(
    node: Node, change: str
) -> None:
    size = node.write()
    node.drain()
    node.clock += 10 * HOLD_SECONDS
    node.scan(1)
    with node.path().open("ab") as writer:
        if change == "removed":
            node.path().unlink()
        else:
            away = node.path(name="elsewhere" if change == "renamed" else "0.log.20260101-000000")
            node.path().rename(away)
        if change == "rotated twice":
            node.path().touch()
            node.scan()
            node.path().rename(node.path(name="0.log.20260101-000001"))
        size += node.write()
        node.drain()
        assert node.read == {f"{UID}/app/0": size}
        if change.startswith("rotated"):
            away.unlink()
        for number in range(3):
            node.clock += HOLD_SECONDS - 20
            size += writer.write(b"2026-09-21T13:33:21.%09dZ stdout F late\n" % number)
            writer.flush()
            live = node.write()
            node.scan(1)
            node.read_slices()
            node.acknowledge()
            size += live
            node.drain()
            assert node.read == {f"{UID}/app/0": size}
    for file in next(iter(node.logs.tails.values())).files:
        assert not file.closed
    node.clock += HOLD_SECONDS
    node.drain()

    assert [len(tail.files) for tail in node.logs.tails.values()] == [1]
    assert node.gaps() == []


def test_held_finished_file_leaves_no_gap_after_a_restart(node: Node) -> None:
    node.write()
    node.drain()
    node.path().unlink()
    node.write()
    node.drain()
    assert [len(tail.files) for tail in node.logs.tails.values()] == [2]
    node.restart()
    node.drain()

    assert node.gaps() == []


def test_held_finished_file_is_closed_without_loss_above_the_disk_limit(tmp_path: Path) -> None:
    node = Node(tmp_path, deleted_max_bytes=30_000)
    size = node.write(lines=200)
    node.drain()
    node.path().unlink()
    size += node.write()
    unread = node.write("other", lines=20)
    node.drain()
    assert sorted(len(tail.files) for tail in node.logs.tails.values()) == [1, 2]
    node.path("other").unlink()
    node.drain()

    assert sorted(len(tail.files) for tail in node.logs.tails.values()) == [1, 1]
    assert node.gaps() == []
    assert sum(node.read.values()) == size + unread
    assert node.metric("crisp_shipper_lost_files", reason=gap.DISK_LIMIT) == 0


def test_biggest_backlog_is_abandoned_first_above_the_disk_limit(tmp_path: Path) -> None:
    node = Node(tmp_path, deleted_max_bytes=300_000)
    written: dict[str, int] = {}
    for pod in ("quiet-1", "quiet-2", "noisy"):
        written[pod] = node.write(pod, lines=100)
        node.scan()
    sizes = []
    for number in range(10):
        node.write("noisy", lines=1000)
        node.path("noisy").rename(node.path("noisy", name=f"0.log.20260101-00000{number}"))
        sizes.append(node.path("noisy", name=f"0.log.20260101-00000{number}").stat().st_size)
        node.write("noisy")
        node.scan()
        node.poll()
        node.path("noisy", name=f"0.log.20260101-00000{number}").unlink()
    for pod in ("quiet-1", "quiet-2"):
        node.path(pod).unlink()
    node.scan(scans=1)
    assert node.logs.deleted_bytes > 300_000
    node.scan()
    assert node.logs.deleted_bytes <= 300_000

    gaps = node.gaps()
    assert [entry.size for entry in gaps] == sizes[: len(gaps)]
    assert {entry.reason for entry in gaps} == {gap.DISK_LIMIT}
    assert all("noisy" in entry.path for entry in gaps)
    node.drain()
    assert node.gaps() == []
    assert sum(node.read.values()) + sum(entry.size or 0 for entry in gaps) == (
        sum(sizes) + node.path("noisy").stat().st_size + written["quiet-1"] + written["quiet-2"]
    )
    assert node.metric("crisp_shipper_lost_bytes", reason=gap.DISK_LIMIT) == sum(entry.size or 0 for entry in gaps)


def test_slices_in_flight_of_an_abandoned_file_are_counted_once_answered(tmp_path: Path) -> None:
    for acked in (True, False):
        root = tmp_path / str(acked)
        root.mkdir()
        node = Node(root, deleted_max_bytes=0, slice_max_bytes=16384)
        size = node.write(lines=1000)
        node.scan()
        node.read_slices()
        node.path().unlink()
        node.scan()
        assert node.gaps() == []
        (sent,) = [len(pending.log_slice.value) for _, pending in node.in_flight]
        if acked:
            node.acknowledge()
        else:
            node.in_flight[0][0].rewind()
        (lost,) = node.gaps()
        assert (lost.offset, lost.size) == ((sent, size - sent) if acked else (0, size))
        assert node.metric("crisp_shipper_lost_bytes", reason=gap.DISK_LIMIT) == lost.size


def test_idle_files_are_suspended_and_unread_renamed_files_are_not(node: Node) -> None:
    node.logs._file_handles._limit = 4
    written = {}
    for number in range(15):
        written[f"p-{number}"] = node.write(f"p-{number}", lines=3)
        node.drain()
    held = [file for tail in node.logs.tails.values() for file in tail.files]
    assert len(held) == 15
    assert sum(not file.suspended for file in held) <= 4
    for number in range(15):
        written[f"p-{number}"] += node.write(f"p-{number}")
    for number in range(0, 15, 3):
        node.path(f"p-{number}").rename(node.path(f"p-{number}", name="0.log.20260101-000000"))
        written[f"p-{number}"] += node.write(f"p-{number}")
    for _ in range(20):
        node.drain()
    assert sum(node.read.values()) == sum(written.values())
    assert node.gaps() == []


def test_unread_renamed_file_keeps_its_descriptor_at_the_open_file_limit(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.logs._file_handles._limit = 2
    written = node.write("a") + node.write("b")
    node.scan()
    node.poll()
    for pod in ("a", "b"):
        node.path(pod).unlink()
    written += node.write("c")
    node.scan()
    assert "raise RLIMIT_NOFILE" in caplog.text
    for _ in range(4):
        node.drain()
    assert sum(node.read.values()) == written
    assert node.gaps() == []


def test_random_identities_survive_a_restart(node: Node) -> None:
    node.path().write_bytes(b"no time here\n" * 100)
    node.drain()
    node.restart()
    with node.path().open("ab") as file:
        file.write(b"nor here\n")
    node.drain()

    assert node.read == {f"{UID}/app/0": node.path().stat().st_size}
    assert record.IDENTITY.fullmatch(next(iter(node.logs.tails.values())).files[0].identity)


def test_file_renamed_during_the_first_scan_is_not_lost(node: Node) -> None:
    """A directory is listed, then its files are opened: a file renamed in between is under neither name."""
    written = node.write(lines=10)
    node.drain()
    written += node.write(lines=10)
    node.path().rename(node.path(name="0.log.20260921-133320"))
    written += node.write(lines=5)
    node.restart()
    discovered = [file for file in node.discovery.scan() if not file.rotated]

    node.logs.update(Scan(discovered, BASE, node.clock))
    node.clock += 0.1
    assert node.gaps() == []
    node.drain()

    assert node.gaps() == []
    assert sum(node.read.values()) == written
