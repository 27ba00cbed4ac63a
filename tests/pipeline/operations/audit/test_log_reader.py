"""However a container's log lies on disk and in whatever blocks it is read, the audit sees the events in it."""

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
from tests.pipeline.grouping.test_grouper import LINES, raw

INSTANCE = Instance("shop", "pay-1", "0000-1111", "pay", 0)
GROUPING = Grouping(max_bytes=400)


def read(paths: list[Path], *, ended: bool = False) -> list[LogSlice | Unverifiable]:
    opened = open_files(paths)
    return list(InstanceLog(INSTANCE, opened, GROUPING, b"{}", "node-1", ended=ended).slices())


def ids(parts: list[LogSlice | Unverifiable]) -> list[tuple[str, bytes]]:
    return sorted(
        (record.document_id(part.files[event[0]].identity, event[1]), event[5])
        for part in parts
        if isinstance(part, LogSlice)
        for event in group_slice(part)
    )


def contents(parts: list[LogSlice | Unverifiable]) -> list[bytes]:
    return sorted(content for _, content in ids(parts))


def write(directory: Path, files: list[bytes], packed: list[bool]) -> list[Path]:
    """Rotated files, some of them packed, and the live one last."""
    paths = []
    for number, data in enumerate(files[:-1]):
        name = f"0.log.20260101-{number:06d}"
        paths.append(directory / (f"{name}.gz" if packed[number] else name))
        paths[-1].write_bytes(gzip.compress(data) if packed[number] else data)
    paths.append(directory / "0.log")
    paths[-1].write_bytes(files[-1])
    return paths


@settings(max_examples=300, deadline=None)
@given(LINES, st.lists(st.integers(0, 25), max_size=3), st.lists(st.booleans(), min_size=3, max_size=3), st.data())
def test_every_event_of_every_file_is_seen_once(
    lines: list[tuple[bytes, bytes, bytes, int]], cuts: list[int], packed: list[bool], data: st.DataObject
) -> None:
    made = raw(lines)
    # A file begins with a line that names it: one with a time.
    places = sorted({0, *(cut for cut in cuts if cut < len(made) and cri.parse(made[cut][:-1]))})
    files = [b"".join(made[a:b]) for a, b in zip(places, [*places[1:], len(made)], strict=True)]
    if not made or cri.parse(made[0][:-1]) is None:
        return
    grouper = Grouper(GROUPING)
    grouper.add_runs((number, 0, file) for number, file in enumerate(files))
    names = [record.identity("0000-1111", "pay", 0, file.split(b"\n", 1)[0]) for file in files]
    expected = sorted((record.document_id(names[event[0]], event[1]), event[5]) for event in grouper.finish())

    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_reader, "BLOCK_BYTES", data.draw(st.sampled_from((7, 60, 150, 100000))))
        parts = read(write(Path(directory), files, packed))

    assert [part for part in parts if isinstance(part, Unverifiable)] == []
    assert ids(parts) == expected


FIRST = b"2026-01-01T00:00:00.000000001Z stdout F one\n"
OTHER = b"2026-01-01T00:00:09.000000001Z stdout F two\n"


def test_a_file_that_is_there_plain_and_packed_is_one(tmp_path: Path) -> None:
    paths = write(tmp_path, [FIRST, FIRST, OTHER], [False, True])

    assert contents(read(paths)) == [b"one", b"two"]


@pytest.mark.parametrize(("ended", "seen"), [(False, [b"one"]), (True, [b"one", b"tw"])])
def test_a_torn_last_line_counts_once_it_cannot_go_on(tmp_path: Path, seen: list[bytes], *, ended: bool) -> None:
    parts = read(write(tmp_path, [FIRST + OTHER[:-2]], []), ended=ended)

    assert contents(parts) == seen
    assert [part.reason for part in parts if isinstance(part, Unverifiable)] == (
        [] if ended else ["bytes of a line that is still being written"]
    )


def test_a_torn_last_line_of_a_rotated_file_is_an_event(tmp_path: Path) -> None:
    parts = read(write(tmp_path, [FIRST + OTHER[:-2], OTHER], [False]))

    assert contents(parts) == [b"one", b"tw", b"two"]


def test_what_cannot_be_judged_is_said(tmp_path: Path) -> None:
    paths = write(tmp_path, [b"no time at all\n", FIRST, OTHER], [False, True])
    paths[1].write_bytes(gzip.compress(FIRST * 99)[:-9])

    parts = read(paths)

    reasons = [(part.path, part.reason) for part in parts if isinstance(part, Unverifiable)]
    assert reasons[0] == (str(paths[0]), "bytes of a file whose first line has no time")
    assert reasons[1][0] == str(paths[1])
    assert "cannot be read" in reasons[1][1]
    assert (record.identity("0000-1111", "pay", 0, OTHER[:-1]) + "-0000000000", b"two") in ids(parts)


def test_docker_s_files_are_judged(tmp_path: Path) -> None:
    lines = b'{"log":"a long ","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
    lines += b'{"log":"line\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'

    assert contents(read(write(tmp_path, [lines], []))) == [b"a long line"]


def test_what_is_written_after_the_files_were_opened_is_not_read(tmp_path: Path) -> None:
    (path,) = write(tmp_path, [FIRST], [])
    opened = open_files([path])
    with path.open("ab") as live:
        live.write(OTHER)

    parts = list(InstanceLog(INSTANCE, opened, GROUPING, b"{}", "node-1", ended=False).slices())

    assert contents(parts) == [b"one"]


def test_a_partial_that_stays_open_holds_neither_the_other_stream_nor_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "BLOCK_BYTES", 10_000)
    start = b"2026-01-01T00:00:00.000000001Z stderr P begun \n"
    (path,) = write(tmp_path, [start + FIRST * 20_000 + start.replace(b" P begun ", b" F ended")], [])

    parts = read([path])

    sizes = [len(part.value) for part in parts if isinstance(part, LogSlice)]
    assert max(sizes) < 30_000
    assert sum(sizes) == path.stat().st_size
    assert len(ids(parts)) == 20_001
    assert b"begun ended" in contents(parts)
