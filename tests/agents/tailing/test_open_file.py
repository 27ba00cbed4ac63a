"""Open files: suspension, deletion, archives."""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.tailing.log_file import LogFile
from agents.tailing.open_file import file_signature, open_log

LINE = b"2026-11-24T09:42:30.000000000Z stdout F a line\n"


def open_file(path: Path) -> LogFile:
    descriptor = open_log(str(path.parent), path)
    return LogFile(path, descriptor, os.fstat(descriptor), str(path.parent))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[LogFile]:
    path = tmp_path / "0.log"
    path.write_bytes(LINE)
    file = open_file(path)
    yield file
    file.close()


def test_suspended_file_reports_growth_by_its_path_and_is_reopened(file: LogFile) -> None:
    file.suspend()
    assert file.read(0, 10) == (0, b"", True)
    with file.path.open("ab") as log:
        log.write(LINE)

    assert file.size() == 2 * len(LINE)
    file.reopen()

    assert file.read(0, 1000) == (0, 2 * LINE, True)


@pytest.mark.parametrize("replaced", [True, False])
def test_suspended_file_that_lost_its_name_keeps_its_size_and_is_not_reopened(file: LogFile, replaced: bool) -> None:  # noqa: FBT001
    file.observe(*file.status(), 1.0)
    file.suspend()
    kept = file.path.with_name("kept")
    file.path.rename(kept)
    if replaced:
        file.path.write_bytes(b"another one\n")

    assert file.is_unchanged()
    assert file.size() == len(LINE)
    with pytest.raises(FileNotFoundError):
        file.reopen()
    file.close()


def test_deleted_file_holds_its_disk_space_until_it_is_closed(file: LogFile) -> None:
    assert file.held_bytes(listed=True) == 0
    assert file.held_bytes(listed=False) == 0, "it has a name that the scan has not seen yet"
    file.path.unlink()

    assert file.held_bytes(listed=False) > 0
    file.close()
    file.close()
    assert file.held_bytes(listed=False) == 0


def test_archive_has_its_decompressed_size_and_head_before_and_after_decompression(tmp_path: Path) -> None:
    path = tmp_path / "0.log.20260101-000000.gz"
    path.write_bytes(gzip.compress(3 * LINE))
    signature = file_signature(path.stat())
    file = open_file(path)
    location = file.location
    assert (file.compressed, file.size(), file.head(10)) == (True, 3 * len(LINE), LINE[:10])
    assert file.current_signature() == signature
    assert not file.is_unchanged()
    assert file.identify("uid", "app", 0)
    identity = file.identity

    assert file.decompress(tmp_path)

    assert (file.compressed, file.last_size, file.scratch_bytes) == (False, 3 * len(LINE), 3 * len(LINE))
    assert (file.location, file.current_signature()) == ((*location, *signature), signature)
    assert file.identify("uid", "app", 0)
    assert file.identity == identity
    assert file.held_bytes(listed=False) == 0, "its disk space is scratch space"
    file.close()


def test_truncated_file_begins_again_as_a_new_one(file: LogFile) -> None:
    assert not file.was_truncated(), "it has no identity yet"
    file.identify("uid", "app", 0)
    assert not file.was_truncated()
    file.path.write_bytes(b"2027" + LINE[4:])

    assert file.was_truncated()
    replacement = file.restart()

    assert (replacement.identity, replacement.position, replacement.location) == ("", 0, file.location)
    replacement.close()


@pytest.mark.parametrize(
    ("data", "final", "identified"),
    [(b"", True, False), (LINE[:-1], False, False), (LINE[:-1], True, True), (b"x" * 1024, False, True)],
)
def test_file_is_identified_once_its_first_line_is_complete(
    tmp_path: Path,
    data: bytes,
    final: bool,  # noqa: FBT001
    identified: bool,  # noqa: FBT001
) -> None:
    path = tmp_path / "1.log"
    path.write_bytes(data)
    file = open_file(path)

    assert file.identify("uid", "app", 0, final=final) == identified == bool(file.identity)
    assert file.random_identity == data.startswith(b"x")
    file.close()


def test_lines_around_an_offset_are_found(file: LogFile) -> None:
    with file.path.open("ab") as log:
        log.write(b"no CRI line\nincomplete")
    end = len(LINE) + len(b"no CRI line\n")

    assert file.time_before(end) == LINE.split(b" ")[0]
    assert file.time_before(0) == b""
    assert file.line_start(end - 3, step=4) == len(LINE)
    assert file.line_start(3, step=2) == 0
    assert [file.is_inside_line(offset) for offset in (0, 5, end)] == [False, True, False]
    assert file.has_line(100)
    file.seek(end)
    assert not file.has_line(100)
