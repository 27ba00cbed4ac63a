"""The bytes that are read from a log grow with its size, not with the square of its size."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail, Limits
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings
from pipeline.contract.record import LogSlice

EVENT_BYTES, SLICE_BYTES = 16 << 10, 4 << 10
PARTS = 64
HEADER = b"2026-11-24T09:42:30.000000000Z stdout F "


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A function that returns the bytes which were read since its last call."""
    count, pread = [0], os.pread

    def counting_pread(descriptor: int, length: int, offset: int) -> bytes:
        data = pread(descriptor, length, offset)
        count[0] += len(data)
        return data

    def take() -> int:
        taken, count[0] = count[0], 0
        return taken

    monkeypatch.setattr(os, "pread", counting_pread)
    return take


class Reader:
    """Reads one log file as a shipper does."""

    def __init__(self, path: Path, low: int = 0) -> None:
        self.path = path
        descriptor = os.open(path, os.O_RDONLY)
        self.file = LogFile(path, descriptor, os.fstat(descriptor), str(path.parent))
        assert self.file.identify("u-1", "c", 0)
        self.file.resume(self.file.identity, ByteRanges(low), ())
        self.tail = ContainerTail(b"key", b"{}", "node", Settings().grouping, Limits(SLICE_BYTES, EVENT_BYTES))
        self.tail.insert(self.file)

    def read(self) -> list[LogSlice]:
        size = os.fstat(self.file._descriptor).st_size
        self.file.observe(size, 0, 0.0)
        slices = []
        while self.file.backlog_bytes() and self.file.has_line(self.tail.event_bytes):
            pending = self.tail.next_slice(1)
            if pending is None:
                break
            slices.append(pending.log_slice)
            self.tail.acknowledge(pending.in_flight)
        return slices


def parts(slices: list[LogSlice]) -> list[int]:
    """The numbers of the parts, which each slice after the first continues."""
    return [log_slice.continuations[0].part for log_slice in slices if log_slice.continuations]


@pytest.mark.parametrize("start", [b"", HEADER, b"an earlier line\n", HEADER + b"an earlier line\n" + HEADER])
def test_line_without_end_costs_reads_in_proportion_to_its_length(
    tmp_path: Path, bytes_read: Callable[[], int], start: bytes
) -> None:
    costs = []
    for count in (PARTS, 4 * PARTS):
        path = tmp_path / f"{count}.log"
        path.write_bytes(start + b"x" * (count * EVENT_BYTES))
        bytes_read()
        slices = Reader(path).read()
        costs.append(bytes_read() / (count * EVENT_BYTES))
        assert sum(segment.length for log_slice in slices for segment in log_slice.segments) >= count * EVENT_BYTES
        assert parts(slices) == list(range(2, count + 1))

    assert costs[1] < costs[0] * 1.1
    assert costs[1] < 10


def test_line_that_grows_costs_reads_in_proportion_to_its_length(tmp_path: Path, bytes_read: Callable[[], int]) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(HEADER + b"an earlier line\n" + HEADER)
    reader, numbers, costs = Reader(path), [], []
    for _ in range(2):
        bytes_read()
        for _ in range(PARTS):
            with path.open("ab") as log:
                log.write(b"x" * EVENT_BYTES)
            numbers += parts(reader.read())
        costs.append(bytes_read())

    assert numbers == list(range(2, 2 * PARTS + 1))
    assert costs[1] < costs[0] * 1.1


def test_resumed_line_without_end_is_searched_for_its_start_once(tmp_path: Path, bytes_read: Callable[[], int]) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(HEADER + b"x" * (2 * PARTS * EVENT_BYTES))
    reader = Reader(path, low=PARTS * EVENT_BYTES)
    bytes_read()

    assert parts(reader.read()) == list(range(PARTS + 1, 2 * PARTS + 1))
    assert bytes_read() < 10 * PARTS * EVENT_BYTES


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_start_of_line_is_the_same_whatever_was_looked_up_before(tmp_path: Path, step: int) -> None:
    content = b"ab\n\ncdefg\nh\n" + b"i" * 20 + b"\njk"
    path = tmp_path / "0.log"
    path.write_bytes(content)
    file = Reader(path).file
    offsets = range(len(content) + 1)

    for earlier in offsets:
        for offset in offsets:
            file.line_start(earlier, step)
            assert file.line_start(offset, step) == content.rfind(b"\n", 0, offset) + 1
