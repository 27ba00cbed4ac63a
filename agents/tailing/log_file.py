"""One file of a container's log: its descriptor, its identity, its read position and acknowledged ranges.

The descriptor is held through rename and deletion, until everything is read and acknowledged. A rotated `.gz` file
is decompressed once into an unlinked temporary file, so that every file can be read at any offset.
"""

import os
import secrets
import stat
import tempfile
import zlib
from pathlib import Path

from agents.tailing.byte_ranges import ByteRanges
from pipeline.contract import cri, record
from pipeline.contract.record import Continuation

MAX_DECOMPRESSED_BYTES = 1 << 30
HEAD_BYTES = 64
_BLOCK_BYTES = 1 << 18


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


def decompress(descriptor: int, scratch: Path) -> tuple[int, bool]:
    """Decompress a gzip file into an unlinked file in `scratch`; return its descriptor, and whether it was intact.

    The data before an error in the archive is kept, up to MAX_DECOMPRESSED_BYTES. Of concatenated archives, which no
    log rotation makes, the first is kept, and the file does not count as intact. The compressed file's descriptor is
    closed, unless OSError is raised: then nothing can be written to the scratch directory.
    """
    # wbits 31: gzip's own header and checksum, as in RFC 1952
    decompressor = zlib.decompressobj(wbits=31)
    position, intact = 0, True
    with tempfile.TemporaryFile(dir=scratch) as target:
        try:
            while not decompressor.eof and target.tell() < MAX_DECOMPRESSED_BYTES:
                block = decompressor.unconsumed_tail
                if not block:
                    block = os.pread(descriptor, _BLOCK_BYTES, position)
                    position += len(block)
                decompressed = decompressor.decompress(block, min(_BLOCK_BYTES, MAX_DECOMPRESSED_BYTES - target.tell()))
                target.write(decompressed)
                if not block and not decompressed:
                    break
        except zlib.error:
            intact = False
        target.flush()
        trailing = decompressor.unused_data + os.pread(descriptor, _BLOCK_BYTES, position)
        os.close(descriptor)
        return os.dup(target.fileno()), intact and decompressor.eof and not trailing.strip(b"\0")


def _compressed_head(descriptor: int) -> bytes:
    """Return the first decompressed bytes of a gzip file; empty for a corrupt one."""
    try:
        return zlib.decompressobj(wbits=31).decompress(os.pread(descriptor, 65536, 0), record.FIRST_LINE_BYTES)
    except zlib.error:
        return b""


Signature = tuple[int, int]


def file_signature(status: os.stat_result) -> Signature:
    """Return size and mtime (ns): they differ where an inode was reused by another file."""
    return status.st_size, status.st_mtime_ns


class LogFile:
    """An open log file. `position`: offset of the next read; `acked`: the ranges that Kafka has acknowledged.

    A compressed file is decompressed when its turn comes. An idle file may be suspended: its descriptor is closed,
    and its path is polled instead.
    """

    __slots__ = (
        "acked",
        "archive",
        "closed",
        "compressed",
        "continuations",
        "descriptor",
        "device",
        "finalised",
        "grew_at",
        "head",
        "identity",
        "inode",
        "last_size",
        "listed",
        "modified",
        "path",
        "position",
        "random_identity",
        "root",
        "rotated",
        "scratch_bytes",
        "signature",
        "suspended",
    )

    def __init__(self, path: Path, descriptor: int, file_stat: os.stat_result, root: str, rotated: str = "") -> None:
        self.path = path
        self.root = root
        self.rotated = rotated  # see `DiscoveredFile`
        self.listed = True  # the last scan listed a name of it
        self.archive = path.suffix == ".gz"
        self.compressed = self.archive  # and not decompressed yet
        self.suspended = False
        self.scratch_bytes = 0  # scratch space in use
        self.modified = file_stat.st_mtime_ns
        self.descriptor = descriptor
        self.device = file_stat.st_dev
        self.inode = file_stat.st_ino
        self.signature = file_signature(file_stat)
        self.identity = ""
        self.random_identity = False  # the first line has no time to derive the identity from
        self.head = b""  # its first bytes, to detect truncation
        self.acked = ByteRanges()
        self.continuations: tuple[Continuation, ...] = ()  # of events that continue where `acked` ends
        self.position = 0
        self.finalised = False  # a rotated file that is no longer written
        self.last_size = 0  # size at the last poll
        self.grew_at = 0.0  # monotonic time of the last growth
        self.closed = False

    @property
    def location(self) -> tuple[int, ...]:
        """Device and inode; with the signature for a decompressed archive, whose inode may be reused."""
        if self.archive and not self.compressed:
            return self.device, self.inode, *self.signature
        return self.device, self.inode

    def identify(self, pod_uid: str, container: str, restart: int, *, final: bool = False) -> bool:
        """Set the file's identity; return False while its first line is incomplete (`final`: it stays incomplete)."""
        if self.compressed:
            head, final = _compressed_head(self.descriptor), True
        else:
            head = os.pread(self.descriptor, record.FIRST_LINE_BYTES, 0)
        end = head.find(b"\n")
        if not head or (end < 0 and len(head) < record.FIRST_LINE_BYTES and not final):
            return False
        self.head = head[:HEAD_BYTES]
        if end >= 0:
            head = head[:end]
        self.random_identity = not cri.has_time(head)
        if self.random_identity:
            self.identity = record.random_identity(secrets.token_bytes(record.IDENTITY_BYTES))
        else:
            self.identity = record.identity(pod_uid, container, restart, head)
        return True

    def resume(self, acked: ByteRanges, continuations: tuple[Continuation, ...]) -> None:
        """Continue where an earlier shipper was acknowledged."""
        self.acked = acked
        self.continuations = continuations
        self.position = acked.low

    def size(self) -> int:
        """Return the current size; of a compressed file the uncompressed size in its trailer (RFC 1952, ISIZE)."""
        if self.compressed:
            compressed_size = os.fstat(self.descriptor).st_size
            return int.from_bytes(os.pread(self.descriptor, 4, compressed_size - 4), "little")
        if self.suspended:
            try:
                status = os.lstat(self.path)
            except OSError:
                return self.last_size
            if (status.st_dev, status.st_ino) != (self.device, self.inode):
                return self.last_size
        else:
            status = os.fstat(self.descriptor)
        self.modified = status.st_mtime_ns
        return status.st_size

    def was_truncated(self) -> bool:
        """Return whether the file begins differently: it was truncated and is written again from its start."""
        return bool(self.identity) and os.pread(self.descriptor, len(self.head), 0) != self.head

    def decompress(self, scratch: Path) -> bool:
        """Decompress; return False if the archive is corrupt and ends early. Raises OSError when there is no space."""
        self.descriptor, intact = decompress(self.descriptor, scratch)
        self.compressed = False
        self.scratch_bytes = self.last_size = os.fstat(self.descriptor).st_size
        return intact

    def suspend(self) -> None:
        """Close the descriptor for now."""
        os.close(self.descriptor)
        self.descriptor, self.suspended = -1, True

    def reopen(self) -> None:
        """Open it again. Raises OSError, also when its path names another file by now."""
        descriptor = open_log(self.root, self.path)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (self.device, self.inode):
            os.close(descriptor)
            raise FileNotFoundError(f"{self.path}: the path names another file now")
        self.descriptor, self.suspended = descriptor, False

    def held_bytes(self) -> int:
        """Return the bytes of disk that it holds although it was deleted."""
        if self.listed or self.suspended or self.closed or self.scratch_bytes:
            return 0
        status = os.fstat(self.descriptor)
        return 0 if status.st_nlink else status.st_blocks * 512

    def rewind(self) -> None:
        """Read again everything that is not acknowledged."""
        self.position = self.acked.low

    def read(self, length: int) -> tuple[int, bytes, bool]:
        """Read up to `length` unacknowledged bytes; return their offset, the bytes, and whether the file ends there.

        Never reads across an acknowledged range; `position` is moved over such ranges only.
        """
        if self.suspended:
            return self.position, b"", True
        self.position, limit = self.acked.next_unacked(self.position)
        wanted = length if limit is None else min(length, limit - self.position)
        data = os.pread(self.descriptor, wanted, self.position)
        at_end = limit is None and len(data) < wanted
        return self.position, data, at_end

    def read_at(self, start: int, length: int) -> bytes:
        """Read at an offset; `position` does not change."""
        return os.pread(self.descriptor, length, start)

    def is_inside_line(self, offset: int) -> bool:
        """Return whether the offset is inside a raw line."""
        return offset > 0 and os.pread(self.descriptor, 1, offset - 1) not in (b"\n", b"")

    def line_start(self, offset: int, step: int) -> int:
        """Return the start of the raw line that contains the offset."""
        while offset > 0:
            start = max(0, offset - step)
            newline = os.pread(self.descriptor, offset - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            offset = start
        return 0

    def has_complete_line(self) -> bool:
        """Return whether a complete line follows the position."""
        start, data = self.position, b"\n"
        while data:
            data = os.pread(self.descriptor, _BLOCK_BYTES, start)
            if b"\n" in data:
                return True
            start += len(data)
        return False

    def close(self) -> None:
        """Close the descriptor. Idempotent."""
        if not self.closed:
            self.closed = True
            if not self.suspended:
                os.close(self.descriptor)
            self.descriptor = -1
