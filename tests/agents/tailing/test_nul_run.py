"""Long runs of NUL bytes are not sent: no hole is read; offsets, and lines behind the run, stay as they are."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tailing import nul_run
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail, Limits
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata, record
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import KafkaPosition, LogSlice
from pipeline.documents.record_processor import RecordProcessor

EVENT_BYTES, SLICE_BYTES = 16 << 10, 4 << 10
GIB = 1 << 30
LINE = b"2026-11-24T09:42:30.%09dZ stderr F line %d\n"
ORIGIN = KafkaPosition("logs-raw", 0, 0, 1_795_513_350_000)
POD = pod_metadata.from_path(Instance("shop", "pay-1", "u-1", "pay", 0), "node")
PROCESSOR = RecordProcessor(Settings())


class Log:
    """A log file, and the shipper's part that reads it; `restart` forgets all but the checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.slices: list[LogSlice] = []
        self._acked = ByteRanges()
        path.touch()
        self._start()

    def _start(self) -> None:
        descriptor = os.open(self.path, os.O_RDONLY)
        self.file = LogFile(self.path, descriptor, os.fstat(descriptor), str(self.path.parent))
        self._tail = ContainerTail(b"key", POD, "node", Settings().grouping, Limits(SLICE_BYTES, EVENT_BYTES))
        self._tail.insert(self.file)

    def restart(self) -> None:
        self._acked = self.file.acked
        self.file.close()
        self._start()

    def append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    def append_hole(self, size: int) -> None:
        os.truncate(self.path, self.path.stat().st_size + size)

    def read(self, *, final: bool = False) -> list[LogSlice]:
        """Send and acknowledge all that can be sent; return it."""
        if not self.file.identity and self.file.identify("u-1", "c", 0, final=final):
            self.file.resume(self.file.identity, self._acked, ())
        self.file.observe(self.path.stat().st_size, 0, 0.0)
        if final:
            self._tail.finish_scan(1, ended=True)
        sent, position = [], -1
        while self.file.identity and position != self.file.position:
            position = self.file.position
            while pending := self._tail.next_slice(1):
                sent.append(pending.log_slice)
                self._tail.acknowledge(pending.in_flight)
        self.slices += sent
        return sent

    def documents(self) -> dict[str, JsonObject]:
        return {hit["_id"]: hit["_source"] for log_slice in self.slices for hit in documents(log_slice)}


def documents(log_slice: LogSlice) -> list[JsonObject]:
    batch, _ = PROCESSOR.process(*record.encode(log_slice), ORIGIN, 1)
    return batch.to_hits()


@contextmanager
def without_seek_data() -> Iterator[None]:
    """A file system that knows no holes."""
    with mock.patch.object(os, "lseek", side_effect=OSError(errno.EINVAL, "Invalid argument")):
        yield


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    count, pread = [0], os.pread

    def counting_pread(descriptor: int, length: int, offset: int) -> bytes:
        data = pread(descriptor, length, offset)
        count[0] += len(data)
        return data

    monkeypatch.setattr(os, "pread", counting_pread)
    return lambda: count[0]


def test_hole_of_ten_gigabytes_is_neither_read_nor_sent(tmp_path: Path, bytes_read: Callable[[], int]) -> None:
    log = Log(tmp_path / "0.log")
    log.append(LINE % (1, 1))
    log.append_hole(10 * GIB)
    offset = log.path.stat().st_size
    log.append(LINE % (2, 2) + LINE % (3, 3))
    log.read()

    assert [source["message"] for source in log.documents().values()] == ["line 1", "line 2", "line 3"]
    assert sum(len(log_slice.value) for log_slice in log.slices) < 3 * nul_run.BLOCK_BYTES
    assert bytes_read() < 16 * nul_run.READ_BYTES
    behind = next(source for source in log.documents().values() if source["message"] == "line 2")
    assert (behind["@timestamp"], behind["log.iostream"]) == ("2026-11-24T09:42:30.000000002Z", "stderr")
    assert "nul_bytes" in behind["log.flags"]
    assert behind["log.offset"] > offset - 2 * nul_run.BLOCK_BYTES
    assert log.file.acked.low == log.path.stat().st_size


def test_file_of_one_hole_is_read_when_it_grows(tmp_path: Path) -> None:
    """As after a truncation by a writer that keeps its offset: the identity is random, as it was before."""
    log = Log(tmp_path / "0.log")
    log.append_hole(10 * GIB)
    log.read()
    assert log.slices == []
    log.append(LINE % (1, 1))
    log.read()

    assert log.file.random_identity
    assert [source["message"] for source in log.documents().values()] == ["line 1"]


def test_run_shorter_than_an_event_is_sent(tmp_path: Path) -> None:
    log = Log(tmp_path / "0.log")
    log.append(LINE % (1, 1) + bytes(EVENT_BYTES - 1000) + LINE % (2, 2))
    log.read()

    assert b"".join(log_slice.value for log_slice in log.slices) == log.path.read_bytes()


PIECES = st.lists(
    st.one_of(
        st.sampled_from([1, 511, 4096, 4607, 4608, 5000, EVENT_BYTES - 1, EVENT_BYTES, EVENT_BYTES + 600, 70_001]),
        st.integers(1, 3).map(lambda number: b"".join(LINE % (n, n) for n in range(number))),
        st.sampled_from([b"torn", b"x" * (EVENT_BYTES + 7), b"\n"]),
    ),
    max_size=8,
)
"""Numbers are runs of NUL bytes."""


def content(pieces: list[int | bytes]) -> bytes:
    return b"".join(bytes(piece) if isinstance(piece, int) else piece for piece in pieces)


@given(PIECES, st.data())
def test_documents_depend_on_the_bytes_alone(pieces: list[int | bytes], data: st.DataObject) -> None:
    """Holes or zeros, read at once, while the file grows, or again after a restart: the documents are the same."""
    start = LINE % (0, 0)
    with tempfile.TemporaryDirectory() as name:
        whole = Log(Path(name) / "whole.log")
        whole.append(start + content(pieces))
        with without_seek_data():
            whole.read(final=True)
        grown = Log(Path(name) / "whole2.log")
        grown.append(start)
        for piece in pieces:
            grown.append_hole(piece) if isinstance(piece, int) else grown.append(piece)
            if data.draw(st.booleans()):
                grown.read()
            if data.draw(st.booleans()):
                grown.restart()
        grown.read(final=True)

        expected = {key: {**source, "log.file.path": ""} for key, source in whole.documents().items()}
        assert {key: {**source, "log.file.path": ""} for key, source in grown.documents().items()} == expected
        assert grown.file.acked.low == grown.path.stat().st_size
        assert all(flags.count("nul_bytes") < 2 for flags in (s.get("log.flags", []) for s in expected.values()))
