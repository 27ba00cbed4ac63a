"""One file of a container's log: its descriptor, its identity, what of it was read and acknowledged.

The descriptor is held through rename and deletion, until everything is read and acknowledged. A `.gz` sibling
is unpacked once into an unlinked temporary file, so that every file can be read at any offset.
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

    Beneath the root no link is followed, at any step of the way: whoever may write there could otherwise have the
    shipper read any file of the node. Anything but a regular file is refused.
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
    """Unpack a gzip file into an unlinked file of `scratch`: its descriptor, and whether the archive was whole.

    What stands before a fault in the archive is kept, and no more than MAX_UNPACKED_BYTES; of several archives one
    behind the other, which no rotation makes, the first, and it does not count as whole. The packed file's descriptor
    is closed, but when OSError is raised: then the scratch directory takes nothing.
    """
    # wbits 31: gzip's own header and checksum, as in RFC 1952
    inflate = zlib.decompressobj(wbits=31)
    position, whole = 0, True
    with tempfile.TemporaryFile(dir=scratch) as target:
        try:
            while not inflate.eof and target.tell() < MAX_DECOMPRESSED_BYTES:
                chunk = inflate.unconsumed_tail
                if not chunk:
                    chunk = os.pread(descriptor, _BLOCK_BYTES, position)
                    position += len(chunk)
                unpacked = inflate.decompress(chunk, min(_BLOCK_BYTES, MAX_DECOMPRESSED_BYTES - target.tell()))
                target.write(unpacked)
                if not chunk and not unpacked:
                    break
        except zlib.error:
            whole = False
        target.flush()
        behind = inflate.unused_data + os.pread(descriptor, _BLOCK_BYTES, position)
        os.close(descriptor)
        return os.dup(target.fileno()), whole and inflate.eof and not behind.strip(b"\0")


def _compressed_head(descriptor: int) -> bytes:
    """The first bytes of what a gzip file holds; empty for a broken one."""
    try:
        return zlib.decompressobj(wbits=31).decompress(os.pread(descriptor, 65536, 0), record.FIRST_LINE_BYTES)
    except zlib.error:
        return b""


Signature = tuple[int, int]


def file_signature(status: os.stat_result) -> Signature:
    """What tells whether the file of an inode is still the one seen before: inodes are used again."""
    return status.st_size, status.st_mtime_ns


class LogFile:
    """A log file that is held. `position` is where reading goes on; `acked` what Kafka has acknowledged.

    A packed one is held as it is, and unpacked when its turn comes. A quiet one may be parked: its descriptor is given
    back, its name is looked at instead.
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
        self.rotated = rotated  # as `Found` has it
        self.listed = True  # found under a name at the last look
        self.archive = path.suffix == ".gz"
        self.compressed = self.archive  # and not unpacked yet
        self.suspended = False
        self.scratch_bytes = 0  # bytes of scratch space that it takes
        self.modified = file_stat.st_mtime_ns
        self.descriptor = descriptor
        self.device = file_stat.st_dev
        self.inode = file_stat.st_ino
        self.signature = file_signature(file_stat)
        self.identity = ""
        self.random_identity = False  # the first line has no time to name the file by
        self.head = b""  # how it begins, to know it again
        self.acked = ByteRanges()
        self.continuations: tuple[Continuation, ...] = ()  # parts of events that go on where `acked` ends
        self.position = 0
        self.finalised = False  # a rotated file that is not written any more
        self.last_size = 0  # size when last looked at
        self.grew_at = 0.0  # monotonic time of the last growth
        self.closed = False

    @property
    def location(self) -> tuple[int, ...]:
        """By what it is found again: its inode; of an archive that was unpacked, which holds it no longer, more."""
        if self.archive and not self.compressed:
            return self.device, self.inode, *self.signature
        return self.device, self.inode

    def identify(self, pod_uid: str, container: str, restart: int, *, final: bool = False) -> bool:
        """Find the file's identity; False while its first line is not there (`final`: it will not come)."""
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
        """Go on where an earlier shipper was acknowledged."""
        self.acked = acked
        self.continuations = continuations
        self.position = acked.low

    def size(self) -> int:
        """The file's size now; of a packed one what its end says that it holds (RFC 1952, ISIZE)."""
        if self.compressed:
            packed = os.fstat(self.descriptor).st_size
            return int.from_bytes(os.pread(self.descriptor, 4, packed - 4), "little")
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
        """Whether the file no longer begins as it did: it was cut and is written anew."""
        return bool(self.identity) and os.pread(self.descriptor, len(self.head), 0) != self.head

    def decompress(self, scratch: Path) -> bool:
        """Unpack; False when the archive is broken: then it ends sooner. Raises OSError when there is no space."""
        self.descriptor, whole = decompress(self.descriptor, scratch)
        self.compressed = False
        self.scratch_bytes = self.last_size = os.fstat(self.descriptor).st_size
        return whole

    def suspend(self) -> None:
        """Give the descriptor back for now."""
        os.close(self.descriptor)
        self.descriptor, self.suspended = -1, True

    def reopen(self) -> None:
        """Open it again. Raises OSError, also when its name has become another file's."""
        descriptor = open_log(self.root, self.path)
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) != (self.device, self.inode):
            os.close(descriptor)
            raise FileNotFoundError(f"{self.path}: another file has this name now")
        self.descriptor, self.suspended = descriptor, False

    def held_bytes(self) -> int:
        """The disk that it takes although it has no name any more."""
        if self.listed or self.suspended or self.closed or self.scratch_bytes:
            return 0
        status = os.fstat(self.descriptor)
        return 0 if status.st_nlink else status.st_blocks * 512

    def rewind(self) -> None:
        """Read again whatever is not acknowledged."""
        self.position = self.acked.low

    def read(self, length: int) -> tuple[int, bytes, bool]:
        """Up to `length` unacknowledged bytes: their offset, the bytes, and whether the file ends behind them.

        Never reads over a range that is acknowledged already; `position` is moved over such ranges only.
        """
        if self.suspended:
            return self.position, b"", True
        self.position, limit = self.acked.next_unacked(self.position)
        wanted = length if limit is None else min(length, limit - self.position)
        data = os.pread(self.descriptor, wanted, self.position)
        at_end = limit is None and len(data) < wanted
        return self.position, data, at_end

    def read_at(self, start: int, length: int) -> bytes:
        """What stands in the file, whether read already or not."""
        return os.pread(self.descriptor, length, start)

    def is_inside_line(self, offset: int) -> bool:
        """Whether a raw line goes on at the offset."""
        return offset > 0 and os.pread(self.descriptor, 1, offset - 1) not in (b"\n", b"")

    def line_start(self, offset: int, step: int) -> int:
        """Where the raw line begins that goes on at the offset."""
        while offset > 0:
            start = max(0, offset - step)
            newline = os.pread(self.descriptor, offset - start, start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            offset = start
        return 0

    def has_complete_line(self) -> bool:
        """Whether a whole line stands behind the position."""
        start, data = self.position, b"\n"
        while data:
            data = os.pread(self.descriptor, _BLOCK_BYTES, start)
            if b"\n" in data:
                return True
            start += len(data)
        return False

    def close(self) -> None:
        """Give the descriptor back; again is harmless."""
        if not self.closed:
            self.closed = True
            if not self.suspended:
                os.close(self.descriptor)
            self.descriptor = -1
