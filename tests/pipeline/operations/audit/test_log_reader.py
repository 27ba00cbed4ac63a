"""The audit reads every event of a container's log, independent of files, compression and block sizes."""

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contract import cri, record
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, LogSlice
from pipeline.grouping.grouper import Grouper, group_slice
from pipeline.operations.audit import log_reader
from pipeline.operations.audit.log_reader import InstanceLog, Unverifiable, open_files
from tests.support.cri_lines import LINES, raw

INSTANCE = Instance("shop", "pay-1", "0000-1111", "pay", 0)
GROUPING = Grouping(max_bytes=400)


def read(paths: list[Path], *, ended: bool = False) -> list[LogSlice | Unverifiable]:
    files = open_files(paths)
    return list(InstanceLog(INSTANCE, files, GROUPING, b"{}", "node-1", ended=ended).slices())


def ids(items: list[LogSlice | Unverifiable]) -> list[tuple[str, bytes]]:
    return sorted(
        (record.document_id(item.files[event[0]].identity, event[1]), event[5])
        for item in items
        if isinstance(item, LogSlice)
        for event in group_slice(item)
    )


def contents(items: list[LogSlice | Unverifiable]) -> list[bytes]:
    return sorted(content for _, content in ids(items))


def write(directory: Path, files: list[bytes], compressed: list[bool]) -> list[Path]:
    """Write rotated files, some of them compressed, and the live one last."""
    paths = []
    for number, data in enumerate(files[:-1]):
        name = f"0.log.20260101-{number:06d}"
        paths.append(directory / (f"{name}.gz" if compressed[number] else name))
        paths[-1].write_bytes(gzip.compress(data) if compressed[number] else data)
    paths.append(directory / "0.log")
    paths[-1].write_bytes(files[-1])
    return paths


@settings(max_examples=3 * settings().max_examples)
@given(LINES, st.lists(st.integers(0, 25), max_size=3), st.lists(st.booleans(), min_size=3, max_size=3), st.data())
def test_every_event_of_every_file_is_read_once(
    lines: list[tuple[bytes, bytes, bytes, int]], cuts: list[int], compressed: list[bool], data: st.DataObject
) -> None:
    raw_lines = raw(lines)
    # The first line of a file identifies it, and must have a time.
    starts = sorted({0, *(cut for cut in cuts if cut < len(raw_lines) and cri.parse(raw_lines[cut][:-1]))})
    files = [b"".join(raw_lines[a:b]) for a, b in zip(starts, [*starts[1:], len(raw_lines)], strict=True)]
    if not raw_lines or cri.parse(raw_lines[0][:-1]) is None:
        return
    grouper = Grouper(GROUPING)
    grouper.add_runs((number, 0, file) for number, file in enumerate(files))
    identities = [record.identity("0000-1111", "pay", 0, file.split(b"\n", 1)[0]) for file in files]
    expected = sorted((record.document_id(identities[event[0]], event[1]), event[5]) for event in grouper.finish())

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_reader, "BLOCK_BYTES", data.draw(st.sampled_from((7, 60, 150, 100000))))
        items = read(write(Path(directory), files, compressed))

    assert [item for item in items if isinstance(item, Unverifiable)] == []
    assert ids(items) == expected


FIRST = b"2026-01-01T00:00:00.000000001Z stdout F one\n"
OTHER = b"2026-01-01T00:00:09.000000001Z stdout F two\n"


def test_file_that_exists_plain_and_compressed_is_read_once(tmp_path: Path) -> None:
    paths = write(tmp_path, [FIRST, FIRST, OTHER], [False, True])

    assert contents(read(paths)) == [b"one", b"two"]


@pytest.mark.parametrize(("ended", "expected"), [(False, [b"one"]), (True, [b"one", b"tw"])])
def test_incomplete_last_line_counts_only_if_the_log_has_ended(
    tmp_path: Path, expected: list[bytes], *, ended: bool
) -> None:
    items = read(write(tmp_path, [FIRST + OTHER[:-2]], []), ended=ended)

    assert contents(items) == expected
    assert [item.reason for item in items if isinstance(item, Unverifiable)] == (
        [] if ended else ["bytes of a line that is still being written"]
    )


def test_incomplete_last_line_of_a_rotated_file_is_an_event(tmp_path: Path) -> None:
    items = read(write(tmp_path, [FIRST + OTHER[:-2], OTHER], [False]))

    assert contents(items) == [b"one", b"tw", b"two"]


def test_unverifiable_parts_are_reported(tmp_path: Path) -> None:
    paths = write(tmp_path, [b"no time at all\n", FIRST, OTHER], [False, True])
    paths[1].write_bytes(gzip.compress(FIRST * 99)[:-9])

    items = read(paths)

    reasons = [(item.path, item.reason) for item in items if isinstance(item, Unverifiable)]
    assert reasons[0] == (str(paths[0]), "bytes of a file whose first line has no time")
    assert reasons[1][0] == str(paths[1])
    assert "cannot be read" in reasons[1][1]
    assert (record.identity("0000-1111", "pay", 0, OTHER[:-1]) + "-0000000000", b"two") in ids(items)


def test_docker_files_are_read(tmp_path: Path) -> None:
    lines = b'{"log":"a long ","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
    lines += b'{"log":"line\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'

    assert contents(read(write(tmp_path, [lines], []))) == [b"a long line"]


def test_lines_written_after_opening_are_not_read(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [FIRST], [])
    files = open_files([path])
    with path.open("ab") as live:
        live.write(OTHER)

    items = list(InstanceLog(INSTANCE, files, GROUPING, b"{}", "node-1", ended=False).slices())

    assert contents(items) == [b"one"]


def test_open_partial_line_neither_delays_the_other_stream_nor_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "BLOCK_BYTES", 10_000)
    start = b"2026-01-01T00:00:00.000000001Z stderr P begun \n"
    (path,) = write(tmp_path, [start + FIRST * 20_000 + start.replace(b" P begun ", b" F ended")], [])

    items = read([path])

    sizes = [len(item.value) for item in items if isinstance(item, LogSlice)]
    assert max(sizes) < 30_000
    assert sum(sizes) == path.stat().st_size
    assert len(ids(items)) == 20_001
    assert b"begun ended" in contents(items)
