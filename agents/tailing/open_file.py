"""A file by its descriptor, which is held through rename and deletion; and how a log file is opened safely.

A rotated `.gz` file is decompressed once into an unlinked temporary file, so that every file can be read at any
offset. An idle file may be suspended: its descriptor is closed, and its path is polled instead.
"""

import os
import stat
from pathlib import Path
from typing import Final

from agents.tailing import archive

Signature = tuple[int, int]


def file_signature(status: os.stat_result) -> Signature:
    """Return size and mtime (ns): they differ where an inode was reused by another file."""
    return status.st_size, status.st_mtime_ns


def open_log(root: str, path: Path) -> int:
    """Open a log file beneath `root` for reading. Raises OSError.

    Beneath the root no symbolic link is followed in any path component: a user with write access there could
    otherwise have the shipper read any file of the node. Anything but a regular file is rejected.
    """
    *directories, name = path.relative_to(root).parts
    parent = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in directories:
            inner = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            os.close(parent)
            parent = inner
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    finally:
        os.close(parent)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: not a regular file")
    return descriptor


class OpenFile:
    """A file whose descriptor this object owns: open, suspended or closed; compressed until it is decompressed."""

    __slots__ = (
        "_closed",
        "_compressed",
        "_descriptor",
        "_path",
        "_scratch_bytes",
        "_suspended",
        "device",
        "inode",
        "is_archive",
        "root",
        "signature",
    )

    def __init__(self, path: Path, descriptor: int, status: os.stat_result, root: str) -> None:
        self.root: Final = root
        self.is_archive: Final = path.suffix == ".gz"
        self.device: Final = status.st_dev
        self.inode: Final = status.st_ino
        self.signature: Final = file_signature(status)  # when it was opened
        self._path = path
        self._descriptor = descriptor
        self._compressed = self.is_archive
        self._scratch_bytes = 0
        self._suspended = False
        self._closed = False

    @property
    def path(self) -> Path:
        """The last known path."""
        return self._path

    @property
    def compressed(self) -> bool:
        """Whether it is an archive that is not decompressed yet."""
        return self._compressed

    @property
    def scratch_bytes(self) -> int:
        """Scratch space in use by its decompressed data."""
        return self._scratch_bytes

    @property
    def suspended(self) -> bool:
        """Whether its descriptor is closed for now."""
        return self._suspended

    @property
    def closed(self) -> bool:
        """Whether it is closed for good."""
        return self._closed

    @property
    def location(self) -> tuple[int, ...]:
        """Device and inode; with the signature for a decompressed archive, whose inode may be reused."""
        if self.is_archive and not self._compressed:
            return self.device, self.inode, *self.signature
        return self.device, self.inode

    def current_signature(self) -> Signature:
        """Return the signature of its inode on disk; for an archive the one when it was opened."""
        status = None if self.is_archive and not self._compressed else self.stat()
        return self.signature if status is None else file_signature(status)

    def stat(self) -> os.stat_result | None:
        """Return its status; of a suspended file None if its path names no file, or another one."""
        if not self._suspended:
            return os.fstat(self._descriptor)
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status if (status.st_dev, status.st_ino) == (self.device, self.inode) else None

    def held_bytes(self, *, listed: bool) -> int:
        """Return the bytes of disk that it holds although it was deleted; `listed`: it still has a name."""
        if listed or self._suspended or self._closed or self._scratch_bytes:
            return 0
        try:
            status = os.fstat(self._descriptor)
        except OSError:
            return 0  # polling it reports the error
        return 0 if status.st_nlink else status.st_blocks * 512

    def head(self, length: int) -> bytes:
        """Return its first bytes, decompressed."""
        if self._compressed:
            return archive.decompressed_head(self._descriptor)[:length]
        return os.pread(self._descriptor, length, 0)

    def read_at(self, start: int, length: int) -> bytes:
        """Read at an offset."""
        return os.pread(self._descriptor, length, start)

    def decompress(self, scratch: Path) -> bool:
        """Decompress; return False if the archive is corrupt and ends early. Raises OSError when there is no space."""
        self._descriptor, intact = archive.decompress(self._descriptor, scratch)
        self._compressed = False
        self._scratch_bytes = os.fstat(self._descriptor).st_size
        return intact

    def decompressed_size(self) -> int:
        """Return the size of the compressed data by the archive's trailer."""
        return archive.decompressed_size(self._descriptor)

    def suspend(self) -> None:
        """Close the descriptor for now."""
        os.close(self._descriptor)
        self._descriptor, self._suspended = -1, True

    def reopen(self) -> None:
        """Open it again. Raises OSError, also when its path names another file by now."""
        descriptor = open_log(self.root, self._path)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (self.device, self.inode):
            os.close(descriptor)
            raise FileNotFoundError(f"{self._path}: the path names another file now")
        self._descriptor, self._suspended = descriptor, False

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if not self._closed:
            self._closed = True
            if not self._suspended:
                os.close(self._descriptor)
            self._descriptor = -1
