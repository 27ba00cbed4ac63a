"""A state machine of one node: writers, the kubelet, logrotate, Kafka and a shipper that crashes at any step.

The model keeps every byte that was ever written, file by file. In the end each of them has arrived as it was written,
or a gap tells of it; and no gap tells of what arrived.
"""

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.state.checkpoint import State, decode, encode
from agents.tailing.container_tail import ContainerTail, PendingSlice
from pipeline.config.settings import Settings
from pipeline.contract import gap, record
from pipeline.contract.gap import Gap
from pipeline.contract.pod_metadata import Instance

SECOND = 10**9
KEPT_ROTATED_FILES = 3  # rotated files that the kubelet keeps


class Generation:
    """A file from its first byte until it is removed or cut; `looked`: how much of it a living shipper saw."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.data = bytearray()
        self.removed = self.truncated = self.listed = False
        self.polled_bytes = 0

    @property
    def identity(self) -> str:
        first = bytes(self.data).partition(b"\n")[0]
        return record.identity(self.instance.uid, self.instance.container, self.instance.restart, first)


class Node(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="crisp-machine-"))
        self.pods = 0
        self.now = 1_790_000_000 * SECOND
        self.clock = 1000.0
        self.number = self.restart = self.rotations = 0
        self.generations: list[Generation] = []
        self.on_disk: dict[str, Generation] = {}
        self.sent: list[record.LogSlice] = []
        self.arrived: list[record.LogSlice] = []  # those of them that Kafka acknowledged
        self.gaps: dict[tuple[str, int], Gap] = {}
        self.stored: bytes | None = None
        self.in_flight: list[tuple[ContainerTail, PendingSlice]] = []
        self.crashed = False
        self.previous_tag = b"F"
        self.containers: ContainerLogs | None = None
        self.start_pod()
        self.start_shipper()

    # --- the containers and what rotates their logs

    def start_pod(self) -> None:
        self.pods += 1
        self.restart = 0
        self.uid = f"0000-{self.pods}"
        self.directory = self.root / "logs" / f"shop_pay-1_{self.uid}" / "pay"
        self.directory.mkdir(parents=True)
        self.start_container()

    def start_container(self) -> None:
        self.live = f"{self.restart}.log"
        self.open_live()

    def open_live(self) -> None:
        """The runtime writes to a new file under the live name from now on."""
        self.writing = self.live
        (self.directory / self.live).touch()
        self.on_disk[self.live] = Generation(Instance("shop", "pay-1", self.uid, "pay", self.restart))
        self.generations.append(self.on_disk[self.live])

    def append(self, raw: bytes) -> None:
        with (self.directory / self.writing).open("ab") as file:
            file.write(raw)
        self.on_disk[self.writing].data += raw

    def has_live(self) -> bool:
        return self.writing == self.live

    @rule(
        stream=st.sampled_from([b"stdout", b"stderr"]),
        tag=st.sampled_from([b"F", b"F", b"P"]),
        size=st.integers(0, 300),
    )
    def write(self, stream: bytes, tag: bytes, size: int) -> None:
        self.number += 1
        self.now += 1000
        self.previous_tag = tag
        text = b"%d %b" % (self.number, b"x" * size)
        self.append(b"%b %b %b %b\n" % (cri_time(self.now), stream, tag, text))

    @precondition(lambda self: self.previous_tag == b"F")
    @rule(length=st.integers(36, 60))
    def write_incomplete(self, length: int) -> None:
        """Half a line; the rest comes with the next write, or never."""
        self.number += 1
        self.now += 1000
        self.append((b"%b stdout F torn %d" % (cri_time(self.now), self.number))[:length])

    @precondition(has_live)
    @rule()
    def rotate(self) -> None:
        """As the kubelet does: remove the oldest, pack the rotated ones, rename, reopen."""
        self.remove_oldest()
        self.rename()
        self.open_live()

    def remove_oldest(self) -> None:
        rotated = sorted(name for name in self.on_disk if name.startswith(f"{self.live}."))
        for name in rotated[: max(0, len(rotated) - KEPT_ROTATED_FILES + 1)]:
            self.remove(name)
        for name in self.rotated_names():
            self.compress(name)
            self.remove(name)

    @precondition(has_live)
    @rule()
    def rename(self) -> None:
        """The kubelet has renamed, the runtime has not reopened yet: there is no live name, and it writes on."""
        self.rotations += 1
        self.writing = f"{self.live}.20260101-{self.rotations:06d}"
        (self.directory / self.live).rename(self.directory / self.writing)
        self.on_disk[self.writing] = self.on_disk.pop(self.live)

    @precondition(lambda self: not self.has_live())
    @rule(failed=st.booleans())
    def reopen(self, failed: bool) -> None:  # noqa: FBT001
        """The runtime reopens; where it cannot, the kubelet renames back."""
        if not failed:
            self.open_live()
            return
        (self.directory / self.writing).rename(self.directory / self.live)
        self.on_disk[self.live] = self.on_disk.pop(self.writing)
        self.writing = self.live

    @precondition(lambda self: self.rotated_names())
    @rule()
    def compress_and_keep_original(self) -> None:
        """The packed file has its name, the plain one is not removed yet."""
        self.compress(self.rotated_names()[0])

    def rotated_names(self) -> list[str]:
        """Rotated files that are not written any more, and not packed."""
        return sorted(
            name
            for name in self.on_disk
            if name.startswith(f"{self.live}.") and not name.endswith(".gz") and name != self.writing
        )

    def compress(self, name: str) -> None:
        beside = self.directory / f"{name}.tmp"
        beside.write_bytes(gzip.compress((self.directory / name).read_bytes()))
        beside.rename(self.directory / f"{name}.gz")
        self.on_disk[f"{name}.gz"] = self.on_disk[name]

    def remove(self, name: str) -> None:
        (self.directory / name).unlink()
        generation = self.on_disk.pop(name)
        generation.removed = generation not in self.on_disk.values()

    @precondition(has_live)
    @rule()
    def replace(self) -> None:
        """As conmon does at its own limit: a new file is renamed over the old one, of which no name is left."""
        self.remove(self.live)
        beside = self.directory / f"{self.live}.tmp"
        beside.touch()
        beside.rename(self.directory / self.live)
        self.open_live()

    @rule()
    def delete_pod(self) -> None:
        """With all its logs; one of the same name comes after it."""
        for name in list(self.on_disk):
            self.remove(name)
        shutil.rmtree(self.directory.parent)
        self.start_pod()

    @precondition(lambda self: self.has_live() and self.on_disk[self.live].data)
    @rule(copied=st.booleans())
    def truncate(self, copied: bool) -> None:  # noqa: FBT001
        """Plainly, or as logrotate's copytruncate: a copy first."""
        old = self.on_disk[self.live]
        path = self.directory / self.live
        old.truncated = True
        if copied:
            self.rotations += 1
            name = f"{self.live}.20260101-{self.rotations:06d}"
            shutil.copyfile(path, self.directory / name)
            self.on_disk[name] = old
        with path.open("r+b") as file:
            file.truncate(0)
        self.on_disk[self.live] = Generation(old.instance)
        self.generations.append(self.on_disk[self.live])

    @rule(times=st.integers(1, 3))
    def restart_container(self, times: int) -> None:
        """It dies, and again at once: the kubelet keeps the newest dead one."""
        for _ in range(times):
            for name in [name for name in self.on_disk if not name.startswith(f"{self.restart}.")]:
                self.remove(name)
            self.restart += 1
            self.start_container()

    # --- the shipper and Kafka

    def start_shipper(self) -> None:
        settings = Settings(
            logs_dir=str(self.root / "logs"), state_dir=str(self.root), node_name="n", slice_max_bytes=16 * 1024
        )
        state = None if self.stored is None else decode(self.stored)
        self.containers = ContainerLogs(settings, state, clock=lambda: self.clock)
        self.discovery = Discovery([kubelet_layout(self.root / "logs")], DirectoryCache())

    def stop_shipper(self) -> None:
        if self.containers is not None:
            for tail in self.containers.tails.values():
                for file in tail.files:
                    file.close()
        self.containers = None
        self.in_flight.clear()

    @precondition(lambda self: self.containers is None)
    @rule()
    def restart_shipper(self) -> None:
        self.start_shipper()

    @precondition(lambda self: self.containers is not None)
    @rule()
    def crash(self) -> None:
        self.crashed = True
        self.stop_shipper()

    @precondition(lambda self: self.containers is not None)
    @rule()
    def store(self) -> None:
        assert self.containers is not None
        self.stored = encode(self.containers.state())

    @precondition(lambda self: self.containers is not None)
    @rule()
    def scan(self) -> None:
        assert self.containers is not None
        self.containers.update(self.discovery.scan(), self.now)
        for generation in self.on_disk.values():
            generation.listed = True

    @precondition(lambda self: self.containers is not None)
    @rule()
    def read(self) -> None:
        self.read_slices()

    def read_slices(self) -> bool:
        took = False
        for tail in self.tails():
            taken = tail.next_slice(self.now)
            if taken is not None:
                took = True
                self.sent.append(record.decode(*record.encode(taken.log_slice)))
                self.in_flight.append((tail, taken))
        return took

    def tails(self) -> Iterator[ContainerTail]:
        assert self.containers is not None
        for instance, tail in list(self.containers.tails.items()):
            self.containers.poll(instance, tail, self.clock)
            for file in tail.files:
                for generation in self.generations:
                    if file.identity and generation.data and generation.identity == file.identity:
                        generation.polled_bytes = max(generation.polled_bytes, file.last_size)
            yield tail

    @rule()
    def acknowledge(self) -> None:
        for tail, taken in self.in_flight:
            tail.acknowledge(taken.in_flight)
            self.arrived.append(taken.log_slice)
        self.in_flight.clear()

    @precondition(lambda self: self.containers is not None)
    @rule()
    def fail(self) -> None:
        assert self.containers is not None
        self.in_flight.clear()
        for tail in self.containers.tails.values():
            tail.rewind()
        self.containers.losses.report_again()

    @precondition(lambda self: self.containers is not None)
    @rule()
    def acknowledge_gaps(self) -> None:
        assert self.containers is not None
        for loss in list(self.containers.losses.reportable(self.containers.tails)):
            told = loss.to_gap()
            self.gaps[told.identity, told.offset] = told
            self.containers.gap_acknowledged(loss)

    @rule(seconds=st.sampled_from([0.3, 1.2, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)
        self.clock += seconds

    # --- what must hold

    def drain(self) -> None:
        if self.containers is None:
            self.start_shipper()
        if self.on_disk[self.writing].data[-1:] not in (b"", b"\n"):
            self.append(b"\n")
        self.acknowledge()
        for _ in range(8):
            self.wait(100)
            self.scan()
            while self.read_slices():
                self.acknowledge()
            self.acknowledge_gaps()

    def teardown(self) -> None:
        try:
            self.drain()
            self.check()
        finally:
            self.stop_shipper()
            shutil.rmtree(self.root)

    def check(self) -> None:
        by_identity = {generation.identity: generation for generation in self.generations if generation.data}
        received = {identity: bytearray(len(one.data)) for identity, one in by_identity.items()}
        for part in self.sent:
            position = 0
            for number, offset, length in part.segments:
                identity = part.files[number].identity
                data = part.value[position : position + length]
                assert data == by_identity[identity].data[offset : offset + length], "bytes that nobody wrote"
                position += length
        for part in self.arrived:
            for number, offset, length in part.segments:
                received[part.files[number].identity][offset : offset + length] = b"\1" * length
        for identity, generation in by_identity.items():
            self.check_generation(identity, generation, received[identity].count(0))

    def check_generation(self, identity: str, generation: Generation, missing: int) -> None:
        told = [one for one in self.gaps.values() if one.identity == identity]
        sizes = [one.size for one in told]
        if generation in self.on_disk.values():
            assert (missing, told) == (0, []), "a file that is there was not read"
        elif self.crashed:
            # an answer that came just before the crash is forgotten, and told as a loss
            unknown = [one for one in self.gaps.values() if one.reason in {gap.RESTART_JUMP, gap.VANISHED_FILE}]
            assert not missing or told or unknown or generation.truncated or not self.is_remembered(generation)
        elif not missing:
            assert not told, f"a gap tells of bytes that arrived: {told}"
        elif generation.listed:
            unseen = len(generation.data) - generation.polled_bytes if generation.truncated else 0
            unopened = [one for one in self.gaps.values() if one.reason == gap.VANISHED_FILE]
            assert missing <= unseen or sizes == [missing - unseen] or unopened

    def is_remembered(self, generation: Generation) -> bool:
        """Whether the shipper that came back could know of the file."""
        state = State() if self.stored is None else decode(self.stored)
        return any(entry.identity == generation.identity for entry in state.entries)


def cri_time(moment: int) -> bytes:
    text = datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment % SECOND:09d}Z".encode()


def test_every_byte_arrives_or_a_gap_tells_of_it() -> None:
    run_state_machine_as_test(
        Node,
        settings=settings(
            max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        ),
    )


def test_a_copy_is_read_when_what_it_was_copied_from_was_cut_and_written_anew() -> None:
    node = Node()
    node.write(stream=b"stdout", tag=b"F", size=0)
    node.scan()
    node.truncate(copied=True)
    node.write(stream=b"stdout", tag=b"F", size=0)
    node.rotate()

    node.teardown()


def test_what_a_copy_still_holds_is_not_told_as_lost() -> None:
    node = Node()
    node.scan()
    node.write(stream=b"stdout", tag=b"P", size=0)
    node.read()
    node.truncate(copied=True)
    node.wait(seconds=61.0)
    node.scan()
    node.read()
    node.wait(seconds=1.2)
    node.read()

    node.teardown()


def test_a_torn_first_line_is_not_told_as_lost_while_it_is_not_named() -> None:
    """Ended, it was named without its newline; the shipper that comes back must wait before it names it so again."""
    node = Node()
    node.write_incomplete(length=36)
    node.restart_container(times=1)
    node.scan()
    node.read()
    node.wait(seconds=1.2)
    node.read()
    node.store()
    node.crash()
    node.crashed = False

    node.teardown()


def test_an_empty_file_without_a_live_name_is_held_although_another_one_ended_empty() -> None:
    node = Node()
    node.rotate()
    for _ in range(2):
        node.scan()
        node.wait(seconds=61.0)
        node.read_slices()
    node.scan()
    node.delete_pod()
    node.rename()
    node.scan()
    node.write(stream=b"stdout", tag=b"F", size=0)
    node.delete_pod()

    node.teardown()


def test_a_new_log_in_the_inode_of_an_archive_that_was_unpacked_is_read() -> None:
    """The kubelet removes the oldest archive, and the file system gives its inode to the new log."""
    node = Node()
    node.write(stream=b"stdout", tag=b"F", size=0)
    node.rename()
    node.open_live()
    node.compress_and_keep_original()
    node.scan()
    node.read_slices()
    (archive,) = node.directory.glob("*.gz")
    inode = archive.stat().st_ino
    node.remove(archive.name)
    node.replace()
    if (node.directory / node.live).stat().st_ino != inode:
        pytest.skip("this file system does not use inodes again at once")
    node.scan()
    node.write(stream=b"stdout", tag=b"F", size=0)
    node.replace()

    node.teardown()
