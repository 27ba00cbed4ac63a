"""Log files: corrupt and oversized archives, and files that are no logs."""

import gzip
import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest

from agents.discovery.directory_cache import DirectoryCache
from agents.discovery.scanner import Discovery, kubelet_layout
from agents.tailing import archive
from agents.tailing.archive import decompress
from agents.tailing.open_file import open_log

UID = "11111111-2222-3333-4444-555555555555"
LINE = b"2026-11-24T09:42:30.%09dZ stdout P %b\n"


def open_archive(directory: Path, data: bytes) -> int:
    path = directory / "0.log.20260101-000000.gz"
    path.write_bytes(data)
    return os.open(path, os.O_RDONLY)


def decompressed(directory: Path, data: bytes) -> tuple[bytes, bool]:
    descriptor, intact = decompress(open_archive(directory, data), directory)
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0), intact
    finally:
        os.close(descriptor)


def test_log_of_high_compression_ratio_is_read_to_its_end(tmp_path: Path) -> None:
    log = b"".join(LINE % (number, b" " * 16384) for number in range(640))
    data = gzip.compress(log)
    assert len(log) > 600 * len(data)

    assert decompressed(tmp_path, data) == (log, True)


@pytest.mark.parametrize("limit", [1 << 20, 1 << 20 | 7])
def test_decompression_bomb_is_truncated_and_counts_as_corrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(archive, "MAX_DECOMPRESSED_BYTES", limit)
    bomb = gzip.compress(bytes(64 << 20), compresslevel=1)
    tracemalloc.start()
    try:
        data, intact = decompressed(tmp_path, bomb)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (data, intact) == (bytes(limit), False)
    assert peak_bytes < 16 << 20


@pytest.mark.parametrize("cut", [0, 1, 9, 10, 11, 500, -9, -8, -1])
def test_data_of_truncated_archive_is_kept(tmp_path: Path, cut: int) -> None:
    log = b"".join(LINE % (number, os.urandom(30).hex().encode()) for number in range(50))
    data, intact = decompressed(tmp_path, gzip.compress(log)[:cut])

    assert (log.startswith(data), intact) == (True, False)
    assert data == log or cut not in {-8, -1}


def damage(kind: str, data: bytes, position: int) -> bytes:
    """Damage an archive at a position, as disks and crashes do."""
    length = {"byte": 1, "sector": 512, "page": 4096, "tail": len(data)}[kind]
    old = data[position : position + length]
    new = bytes(byte ^ 0x55 for byte in old) if kind in {"byte", "sector"} else bytes(len(old))
    return data[:position] + new + data[position + length :]


LONG_LOG = b"".join(
    b"2026-11-24T09:%02d:%02d.%09dZ stdout F request %d of %b\n"
    % (
        number // 600 % 60,
        number // 10 % 60,
        number % 10 * 10**8,
        number,
        hashlib.sha256(b"%d" % number).hexdigest()[: number % 60].encode(),
    )
    for number in range(9000)
)


@pytest.mark.parametrize("position", [0.0005, 0.2, 0.5, 0.8, 0.99])
@pytest.mark.parametrize("kind", ["byte", "sector", "page", "tail"])
def test_of_damaged_archive_only_lines_of_the_log_are_kept(tmp_path: Path, kind: str, position: float) -> None:
    archived = gzip.compress(LONG_LOG)
    data, intact = decompressed(tmp_path, damage(kind, archived, int(len(archived) * position)))

    assert not intact
    assert LONG_LOG.startswith(data)
    if kind != "byte":  # one byte changes a message only, where no line shows it
        assert len(data) > len(LONG_LOG) * position * 0.97 - 3 * archive.UNCERTAIN_BYTES


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65536])
def test_checksum_that_ends_with_nuls_is_the_archives_own(tmp_path: Path, size: int) -> None:
    log = (LINE % (1, b"x") * (size // 30 + 1))[:size]

    assert decompressed(tmp_path, gzip.compress(log) + bytes(8192)) == (log, True)


@pytest.mark.parametrize(
    ("trailing", "intact"),
    [(b"", True), (b"\0" * 300, True), (gzip.compress(b"more\n", mtime=0), False), (b"garbage", False)],
)
@pytest.mark.parametrize("padding", [0, 1 << 18])
def test_trailing_data_of_archive_is_reported(tmp_path: Path, trailing: bytes, intact: bool, padding: int) -> None:  # noqa: FBT001
    log = LINE % (1, os.urandom(padding // 2 + 1).hex().encode())

    assert decompressed(tmp_path, gzip.compress(log) + trailing) == (log, intact)


def test_device_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / f"shop_pay_{UID}" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    try:
        os.mknod(path, 0o020600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("no permission to create devices")

    assert Discovery([kubelet_layout(tmp_path)], DirectoryCache()).scan() == []
    with pytest.raises(OSError, match=r"not a regular file|not permitted|denied"):
        open_log(str(tmp_path), path)


@pytest.mark.parametrize("name", [b"app\n", b"app\xff", b"..", b"app;rm", b"APP", b"a" * 255, b"\x1b[31mapp"])
def test_containers_with_invalid_names_are_ignored(tmp_path: Path, name: bytes) -> None:
    directory = os.path.join(os.fsencode(tmp_path), f"shop_pay_{UID}".encode(), name)
    os.makedirs(directory, exist_ok=True)
    Path(os.fsdecode(directory), "0.log").write_bytes(LINE % (1, b"x"))

    assert Discovery([kubelet_layout(tmp_path)], DirectoryCache()).scan() == []
