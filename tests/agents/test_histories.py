"""Whatever happens between file and Kafka, the same events come out: a model of writer, kubelet and crashes.

The writer keeps what it wrote. The shipper's parts run on real files by hand, its answers from Kafka come late,
in part or never, and it crashes at any step. In the end every history must give the events that one grouping of
all bytes in order gives: the same ids, the same content, nothing missing, nothing more.
"""

import gzip
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.checkpoint import decode, encode
from agents.discovery import Discovery, kubelet
from agents.fleet import Fleet
from agents.listing import Listing
from agents.tail import Tail, Taken
from pipeline import record
from pipeline.grouping import Grouper, events_of
from pipeline.pod import Instance
from pipeline.settings import Settings

KINDS = {
    "plain": (b"F", b"all is well"),
    "start": (b"F", b"java.lang.IllegalStateException: boom"),
    "frame": (b"F", b"\tat com.example.Foo.bar(Foo.java:1)"),
    "empty": (b"F", b""),
    "part": (b"P", b"a piece of a long line, "),
    "json": (b"F", b'{"message":"hello"}'),
}
SECOND = 1_000_000_000
BASE = 1_790_000_000 * SECOND


def cri_time(moment: int) -> bytes:
    from datetime import UTC, datetime

    text = datetime.fromtimestamp(moment // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment % SECOND:09d}Z".encode()


class Node:
    """The writer's and the kubelet's side: one container, its files, and all that was ever written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.logs = root / "logs"
        self.directory = self.logs / "shop_pay-1_0000-1111" / "pay"
        self.directory.mkdir(parents=True)
        self.now = BASE
        self.number = 0
        self.generations: list[bytearray] = [bytearray()]
        self.live.touch()

    @property
    def live(self) -> Path:
        return self.directory / "0.log"

    def write(self, stream: str, kind: str) -> None:
        self.number += 1
        self.now += 1000
        tag, content = KINDS[kind]
        content = content + b" %d" % self.number if kind not in {"frame", "empty", "json"} else content
        raw = b"%b %b %b %b\n" % (cri_time(self.now), stream.encode(), tag, content)
        with self.live.open("ab") as file:
            file.write(raw)
        self.generations[-1] += raw

    def rotate(self) -> None:
        if not self.generations[-1]:
            return
        for old in sorted(self.directory.glob("0.log.*")):
            if old.suffix != ".gz":
                packed = old.with_name(old.name + ".gz")
                packed.write_bytes(gzip.compress(old.read_bytes()))
                old.unlink()
        self.live.rename(self.directory / f"0.log.20260101-{len(self.generations):06d}")
        self.live.touch()
        self.generations.append(bytearray())

    def expected(self) -> dict[str, bytes]:
        grouper = Grouper(record.Grouping())
        files = [generation for generation in self.generations if generation]
        grouper.feed((number, 0, bytes(data)) for number, data in enumerate(files))
        names = [record.identity("0000-1111", "pay", 0, bytes(data).split(b"\n", 1)[0]) for data in files]
        return {record.document_id(names[event[0]], event[1]): event[5] for event in grouper.finish()}


class Shipping:
    """The shipper's parts, run by hand: nothing is acknowledged, stored or lost but when the history says so."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.settings = Settings(
            logs_dir=str(node.logs), state_dir=str(node.root), node_name="n", slice_max_bytes=16 * 1024
        )
        self.stored = encode([])
        self.sent: list[record.LogSlice] = []
        self.clock = 0.0
        self.fleet = Fleet(self.settings, [])
        self.start()

    def start(self) -> None:
        for tail in self.fleet.tails.values():
            for file in tail.files:
                file.close()
        self.fleet = Fleet(self.settings, decode(self.stored))
        self.discovery = Discovery([kubelet(self.node.logs)], Listing())
        self.waiting: list[tuple[Tail, Taken]] = []

    def scan(self) -> None:
        self.fleet.update(self.discovery.scan(), self.node.now)

    def take(self) -> bool:
        took = False
        for instance, tail in self.fleet.tails.items():
            self.fleet.look(instance, tail, self.clock)
            taken = tail.take(self.node.now)
            if taken is not None:
                took = True
                tail.in_flight += 1
                value, headers = record.encode(taken.part)
                self.sent.append(record.decode(value, headers))
                self.waiting.append((tail, taken))
        return took

    def acknowledge(self) -> None:
        for tail, taken in self.waiting:
            tail.in_flight -= 1
            tail.acknowledge(taken)
        self.waiting.clear()

    def fail(self) -> None:
        for tail, _ in self.waiting:
            tail.in_flight = 0
            tail.rewind()
        self.waiting.clear()

    def store(self) -> None:
        self.stored = encode(self.fleet.entries())

    def drain(self) -> None:
        self.node.now += 100 * SECOND
        for _ in range(6):
            self.clock += 5
            self.scan()
            while self.take():
                self.acknowledge()

    def received(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        for part in self.sent:
            for file, offset, _, _, _, content, _, _ in events_of(part):
                identity = record.document_id(part.files[file].identity, offset)
                assert found.setdefault(identity, content) == content, "one id, two contents"
        return found


WRITES = st.tuples(st.just("write"), st.sampled_from(["stdout", "stderr"]), st.sampled_from(sorted(KINDS)))
WAITS = st.tuples(st.just("wait"), st.sampled_from([0.3, 0.9, 1.2, 2.0, 61.0]))
ACTS = st.sampled_from(["scan", "take", "take", "take", "acknowledge", "store", "rotate", "crash", "fail"]).map(
    lambda name: (name,)
)
STEPS: st.SearchStrategy[tuple[object, ...]] = st.integers(0, 99).flatmap(
    lambda die: WRITES if die < 45 else WAITS if die < 55 else ACTS
)


def play(history: list[tuple[object, ...]]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    with tempfile.TemporaryDirectory() as directory:
        node = Node(Path(directory))
        shipping = Shipping(node)
        for step in history:
            match step:
                case ("write", stream, kind):
                    node.write(str(stream), str(kind))
                case ("wait", seconds):
                    node.now += int(float(str(seconds)) * SECOND)
                    shipping.clock += float(str(seconds))
                case ("rotate",):
                    node.rotate()
                case ("crash",):
                    shipping.start()
                case (name,):
                    getattr(shipping, str(name))()
        shipping.drain()
        shipping.start()
        return shipping.received(), node.expected()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=30, max_size=80))
def test_every_history_gives_the_same_events(history: list[tuple[object, ...]]) -> None:
    received, expected = play(history)

    assert received == expected


def test_a_rotated_file_in_the_inode_of_one_that_was_packed_is_read() -> None:
    history: list[tuple[object, ...]] = [
        ("write", "stderr", "plain"),
        ("rotate",),
        ("scan",),
        ("take",),
        ("wait", 1.2),
        ("take",),
        ("acknowledge",),
        ("scan",),
        ("write", "stdout", "plain"),
        ("rotate",),
        ("write", "stdout", "plain"),
        ("rotate",),
    ]
    received, expected = play(history)

    assert received == expected
    assert len(received) == 3


def test_an_idle_flush_and_a_crash_before_its_checkpoint_agree() -> None:
    history: list[tuple[object, ...]] = [
        ("write", "stderr", "start"),
        ("scan",),
        ("wait", 2.0),
        ("take",),
        ("crash",),
        ("write", "stderr", "frame"),
        ("scan",),
        ("take",),
    ]
    received, expected = play(history)

    assert received == expected
    assert len(received) == 2


def test_instance_is_read_from_the_path(tmp_path: Path) -> None:
    Node(tmp_path)

    found = Discovery([kubelet(tmp_path / "logs")], Listing()).scan()

    assert [file.instance for file in found] == [Instance("shop", "pay-1", "0000-1111", "pay", 0)]
