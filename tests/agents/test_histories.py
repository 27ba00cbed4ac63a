"""Every history between file and Kafka gives the same events: a model of writer, kubelet and crashes.

The writer keeps all it wrote. The shipper's parts run step by step on real files; Kafka accepts or loses slices, and
acknowledges late, in part, out of order or never; the shipper crashes at any step, with its last checkpoint. In the
end every history must give the events that one grouping of all bytes in order gives: the same ids, the same content,
flags and part numbers, nothing missing, nothing more. So any two histories agree.
"""

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, Scan, kubelet_layout
from agents.state.checkpoint import State, decode, encode
from agents.tailing.container_tail import ContainerTail
from agents.tailing.pending_slice import PendingSlice
from pipeline.config.settings import Settings
from pipeline.contract import bundle, record
from pipeline.contract.bundle import Bundle
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping
from pipeline.grouping.event import SPLIT, Event
from pipeline.grouping.grouper import Grouper, group_slice

KINDS = {
    "plain": (b"F", b"all is well"),
    "start": (b"F", b"java.lang.IllegalStateException: boom"),
    "frame": (b"F", b"\tat com.example.Foo.bar(Foo.java:1)"),
    "empty": (b"F", b""),
    "part": (b"P", b"a piece of a long line, "),
    "json": (b"F", b'{"message":"hello"}'),
    "long": (b"F", b"x" * 900),
    "longer": (b"P", b"y" * 2000),
}
SECOND = 1_000_000_000
BASE = 1_790_000_000 * SECOND
EVENT_BYTES = 700
GROUPINGS = (
    Grouping(max_bytes=EVENT_BYTES),
    Grouping(max_bytes=EVENT_BYTES, max_lines=3, max_places=2),
    Grouping("off", max_bytes=EVENT_BYTES),
    Grouping("pattern", max_bytes=EVENT_BYTES, max_lines=5, pattern="^(all|java)"),
)
EventsById = dict[str, tuple[bytes, int, int]]
"""Content, flags and part of the events, by document id."""


def cri_time(moment: int) -> bytes:
    from datetime import UTC, datetime

    text = datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment % SECOND:09d}Z".encode()


class Node:
    """The writer and the kubelet: one container, its files, and all written bytes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.directory = self.logs / "shop_pay-1_0000-1111" / "pay"
        self.directory.mkdir(parents=True)
        self.now = BASE
        self.number = 0
        self.generations: list[bytearray] = [bytearray()]
        self.live = self.directory / "0.log"
        self.live.touch()
        self.unwritten = b""  # the rest of an incomplete line

    def write(self, stream: str, kind: str, *, incomplete_bytes: int = 0) -> None:
        """Write the rest of the last line, and a line; of an incomplete line only its first bytes."""
        self.number += 1
        self.now += 1000
        tag, content = KINDS[kind]
        content = content + b" %d" % self.number if kind not in {"frame", "empty", "json"} else content
        raw = b"%b %b %b %b\n" % (cri_time(self.now), stream.encode(), tag, content)
        stop = min(incomplete_bytes, len(raw) - 1) if incomplete_bytes else len(raw)
        rest, self.unwritten = self.unwritten, raw[stop:]
        self.append(rest + raw[:stop])

    def append(self, raw: bytes) -> None:
        with self.live.open("ab") as file:
            file.write(raw)
        self.generations[-1] += raw

    def rotate(self) -> None:
        self.unwritten = b""
        for old in sorted(self.directory.glob("0.log.*")):
            if old.suffix != ".gz":
                archive = old.with_name(old.name + ".gz")
                archive.write_bytes(gzip.compress(old.read_bytes()))
                old.unlink()
        self.live.rename(self.directory / f"0.log.20260101-{len(self.generations):06d}")
        self.live.touch()
        self.generations.append(bytearray())

    def restart(self) -> None:
        """Restart the container; in the same instance, its first line would continue a stack trace."""
        self.now += 1000
        self.live = self.directory / "1.log"
        self.unwritten = b""
        with self.live.open("wb") as file:
            file.write(cri_time(self.now) + b" stderr F \tat com.example.Foo.bar(Foo.java:1)\n")

    def expected(self, grouping: Grouping) -> EventsById:
        files = [bytes(generation) for generation in self.generations if generation]
        grouper = Grouper(grouping)
        grouper.add_runs((number, 0, data) for number, data in enumerate(files))
        return _events_by_id(grouper.finish(), [_identity(data, 0) for data in files]) | self._expected_after_restart(
            grouping
        )

    def _expected_after_restart(self, grouping: Grouping) -> EventsById:
        if self.live.name == "0.log":
            return {}
        data = self.live.read_bytes()
        grouper = Grouper(grouping)
        grouper.add_runs([(0, 0, data)])
        return _events_by_id(grouper.finish(), [_identity(data, 1)])


def _identity(data: bytes, restart: int) -> str:
    return record.identity("0000-1111", "pay", restart, data.split(b"\n", 1)[0])


def _events_by_id(events: list[Event], files: list[str]) -> EventsById:
    return {record.document_id(files[event[0]], event[1]): (event[5], event[6], event[7]) for event in events}


class ManualShipper:
    """The shipper's parts, run step by step: slices are acknowledged, stored or lost only by steps of the history."""

    def __init__(self, node: Node, grouping: Grouping) -> None:
        self.node = node
        self.grouping = grouping
        self.settings = Settings(
            logs_dir=str(node.logs),
            state_dir=str(node.root),
            node_name="n",
            slice_max_bytes=500,
            event_max_bytes=EVENT_BYTES,
        )
        self.stored = encode(State())
        self.arrived: list[record.LogSlice] = []
        self.building: Bundle | None = None  # of the slices that were delivered last
        self.clock = 0.0
        self.containers = ContainerLogs(self.settings)
        self.start()

    def start(self) -> None:
        for tail in self.containers.tails.values():
            for file in tail.files:
                file.close()
        self.containers = ContainerLogs(self.settings)
        self.containers.restore(decode(self.stored))
        self.containers._policy._grouping = self.grouping
        self.discovery = Discovery([kubelet_layout(self.node.logs)], DirectoryCache())
        self.in_flight: list[tuple[ContainerTail, PendingSlice]] = []

    def scan(self) -> None:
        self.containers.update(Scan(self.discovery.scan(), self.node.now, self.clock))

    def read_slices(self) -> bool:
        progress = False
        for instance, tail in list(self.containers.tails.items()):
            self.containers.poll(instance, tail, self.clock)
            pending = tail.next_slice(self.node.now)
            if pending is not None:
                progress = True
                self.in_flight.append((tail, pending))
                self.check(tail, pending)
        return progress

    def check(self, tail: ContainerTail, pending: PendingSlice) -> None:
        """Check the invariants of every slice."""
        assert len(pending.log_slice.segments) <= record.MAX_SEGMENTS
        assert all(len(file.acked.above) <= 64 for file in tail.files)

    def deliver(self, pending: PendingSlice) -> None:
        self.arrived.append(record.decode(*record.encode(pending.log_slice)))
        if self.building is None or not self.building.add(b"uid/pay/0", pending.log_slice):
            self.building = Bundle(1 << 14)  # full, or read earlier than the bundle's first slice
            assert self.building.add(b"uid/pay/0", pending.log_slice)
        parts = bundle.split(*self.building.encode())
        assert self.arrived[-1] == record.decode(parts[-1].value, parts[-1].headers)

    def acknowledge(self, number: int) -> None:
        tail, pending = self.in_flight.pop(number % len(self.in_flight))
        self.deliver(pending)
        tail.acknowledge(pending.in_flight)

    def lose_responses(self, arrived: int) -> None:
        """Deliver some of the slices in flight (bits of `arrived`), but no response."""
        for number, (_, pending) in enumerate(self.in_flight):
            if arrived >> number & 1:
                self.deliver(pending)
        self.in_flight.clear()

    def fail(self, arrived: int) -> None:
        self.lose_responses(arrived)
        for tail in self.containers.tails.values():
            tail.rewind()

    def crash(self, arrived: int) -> None:
        self.lose_responses(arrived)
        self.start()

    def store(self) -> None:
        self.stored = encode(self.containers.state())

    def drain(self) -> None:
        self.node.now += 100 * SECOND
        for _ in range(6):
            self.clock += 5
            self.scan()
            while self.read_slices() or self.in_flight:
                while self.in_flight:
                    self.acknowledge(0)

    def received(self) -> EventsById:
        events: EventsById = {}
        for log_slice in self.arrived:
            identities = [file.identity for file in log_slice.files]
            for key, event in _events_by_id(group_slice(log_slice), identities).items():
                assert events.setdefault(key, event) == event, "one id, two contents"
        return events


class Histories(RuleBasedStateMachine):
    """All steps of writer, kubelet, shipper and Kafka, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.node = Node(self.directory)
        self.optional_shipper: ManualShipper | None = None

    @property
    def shipper(self) -> ManualShipper:
        assert self.optional_shipper is not None
        return self.optional_shipper

    @precondition(lambda self: self.optional_shipper is None)
    @rule(grouping=st.sampled_from(GROUPINGS))
    def start_shipper(self, grouping: Grouping) -> None:
        self.optional_shipper = ManualShipper(self.node, grouping)

    @rule(
        lines=st.lists(
            st.tuples(st.sampled_from(["stdout", "stderr"]), st.sampled_from(sorted(KINDS))), min_size=1, max_size=8
        )
    )
    def write(self, lines: list[tuple[str, str]]) -> None:
        for stream, kind in lines:
            self.node.write(stream, kind)

    @precondition(lambda self: b"\n" in self.node.generations[-1])
    @rule(
        stream=st.sampled_from(["stdout", "stderr"]),
        kind=st.sampled_from(sorted(KINDS)),
        incomplete_bytes=st.integers(32, 1500),
    )
    def write_incomplete(self, stream: str, kind: str, incomplete_bytes: int) -> None:
        self.node.write(stream, kind, incomplete_bytes=incomplete_bytes)

    @precondition(lambda self: bool(self.node.generations[-1]) and not self.node.unwritten)
    @rule(raw=st.sampled_from([b"\0" * 40 + b"\n", b"no CRI line\n", b"\n", b"2026-01-01T00:00:00Z std"]))
    def write_garbage(self, raw: bytes) -> None:
        """Write the garbage that a crash of the node leaves; the next line follows it directly."""
        self.node.append(raw)

    @rule(seconds=st.sampled_from([0.3, 0.9, 1.2, 2.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.node.now += int(seconds * SECOND)
        if self.optional_shipper:
            self.optional_shipper.clock += seconds

    @rule()
    def rotate(self) -> None:
        self.node.rotate()

    @precondition(lambda self: self.optional_shipper)
    @rule()
    def scan(self) -> None:
        self.shipper.scan()

    @precondition(lambda self: self.optional_shipper)
    @rule(times=st.integers(1, 3))
    def read_slices(self, times: int) -> None:
        for _ in range(times):
            self.shipper.read_slices()

    @precondition(lambda self: self.optional_shipper and self.optional_shipper.in_flight)
    @rule(numbers=st.lists(st.integers(0, 3), min_size=1, max_size=4))
    def acknowledge(self, numbers: list[int]) -> None:
        for number in numbers:
            if self.shipper.in_flight:
                self.shipper.acknowledge(number)

    @precondition(lambda self: self.optional_shipper)
    @rule()
    def store(self) -> None:
        self.shipper.store()

    @precondition(lambda self: self.optional_shipper)
    @rule(arrived=st.integers(0, 15))
    def fail(self, arrived: int) -> None:
        self.shipper.fail(arrived)

    @precondition(lambda self: self.optional_shipper)
    @rule(arrived=st.integers(0, 15))
    def crash(self, arrived: int) -> None:
        self.shipper.crash(arrived)

    def teardown(self) -> None:
        try:
            if self.optional_shipper is not None:
                self.node.restart()
                self.shipper.drain()
                assert self.shipper.received() == self.node.expected(self.shipper.grouping)
                self.shipper.start()
        finally:
            shutil.rmtree(self.directory)


def test_every_history_gives_the_same_events() -> None:
    run_state_machine_as_test(Histories, settings=settings(stateful_step_count=40))


@pytest.fixture
def history(tmp_path: Path) -> Iterator[ManualShipper]:
    """A container and its shipper."""
    shipper = ManualShipper(Node(tmp_path), Grouping())
    yield shipper
    shipper.start()


def drain_and_verify(history: ManualShipper) -> EventsById:
    """Ship all lines, verify the received events, and return them."""
    history.drain()
    received = history.received()
    assert received == history.node.expected(history.grouping)
    return received


def test_rotated_file_in_inode_of_compressed_file_is_read(history: ManualShipper) -> None:
    node = history.node
    node.write("stderr", "plain")
    node.rotate()
    history.scan()
    history.read_slices()
    node.now += 1200 * SECOND // 1000
    history.clock += 1.2
    history.read_slices()
    history.acknowledge(0)
    history.scan()
    for _ in range(2):
        node.write("stdout", "plain")
        node.rotate()

    assert len(drain_and_verify(history)) == 3


def test_idle_flush_and_crash_before_checkpoint_give_same_events(history: ManualShipper) -> None:
    node = history.node
    node.write("stderr", "start")
    history.scan()
    node.now += 2 * SECOND
    history.clock += 2
    history.scan()
    history.read_slices()
    assert history.in_flight, "the idle flush"
    history.crash(arrived=1)
    node.write("stderr", "frame")
    history.scan()
    history.read_slices()

    assert len(drain_and_verify(history)) == 2


def test_line_held_open_for_hours_does_not_block_other_stream(history: ManualShipper) -> None:
    """A prompt is written part by part, each within the gap, while the other stream continues."""
    node = history.node
    for _ in range(300):
        node.write("stderr", "part")
        node.write("stdout", "plain")
        node.now += 50 * SECOND
        history.scan()
        while history.read_slices():
            while history.in_flight:
                history.acknowledge(0)
    sent = sum(log_slice.value.count(b"stdout") for log_slice in history.arrived)

    assert sent >= 299
    assert any(flags & SPLIT for _, flags, _ in drain_and_verify(history).values())


def test_instance_is_parsed_from_path(tmp_path: Path) -> None:
    Node(tmp_path)

    files = Discovery([kubelet_layout(tmp_path / "logs")], DirectoryCache()).scan()

    assert [file.instance for file in files] == [Instance("shop", "pay-1", "0000-1111", "pay", 0)]


def test_event_longer_than_slice_continues_in_compressed_file() -> None:
    """The archive is decompressed ahead: the open event before it waits only for its lines."""
    node = Histories()
    node.start_shipper(
        grouping=Grouping(mode="pattern", max_bytes=700, max_lines=5, max_places=31, pattern="^(all|java)")
    )
    node.write(lines=[("stdout", "empty"), ("stdout", "part"), ("stdout", "part"), ("stderr", "frame")])
    node.write(lines=[("stdout", kind) for kind in ("empty", "empty", "empty", "frame", "part")])
    for _ in range(2):
        node.rotate()
        node.write(lines=[("stdout", "empty")])
    node.rotate()

    node.teardown()


def ship_all(history: ManualShipper) -> None:
    """Scan, and send every due slice."""
    history.scan()
    while history.read_slices():
        while history.in_flight:
            history.acknowledge(0)


def test_incomplete_line_behind_open_partial_does_not_block_later_lines(history: ManualShipper) -> None:
    """The node crashed in mid-line; the file is rotated, and the container continues to write."""
    node = history.node
    node.write("stdout", "part")
    node.append(b"2026-09-21T14:13:20.000")
    ship_all(history)
    node.rotate()
    for _ in range(3):
        node.write("stdout", "plain")
        node.now += 2 * SECOND
        history.clock += 2
        ship_all(history)

    assert sum(log_slice.value.count(b"all is well") for log_slice in history.arrived) == 3
    drain_and_verify(history)


def test_last_partial_line_of_container_is_sent_after_restart(history: ManualShipper) -> None:
    node = history.node
    node.write("stderr", "plain")
    node.write("stderr", "part")
    ship_all(history)
    assert history.arrived == [] or b"a piece" not in history.arrived[-1].value
    node.restart()
    history.clock += 2
    history.scan()
    history.clock += 2
    ship_all(history)

    assert any(b"a piece of a long line,  2" in log_slice.value for log_slice in history.arrived)
    assert len(drain_and_verify(history)) == 3


def test_empty_file_between_two_parts_of_line_does_not_split_it(history: ManualShipper) -> None:
    """The files are discovered hours later: an empty file does not mean that no line follows."""
    node = history.node
    node.write("stdout", "part")
    for _ in range(2):
        node.rotate()
    node.write("stdout", "plain")
    node.now += 3600 * SECOND
    ship_all(history)

    assert len(drain_and_verify(history)) == 1
