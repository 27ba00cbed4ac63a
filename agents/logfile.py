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

from agents.ranges import Ranges
from pipeline import cri, record
from pipeline.record import Carried

MAX_UNPACKED_BYTES = 1 << 30
MAX_GZ_RATIO = 200
_CHUNK = 1 << 18


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


def unpack(descriptor: int, scratch: Path) -> int:
    """Unpack a gzip file into an unlinked file of `scratch`; returns its descriptor and closes the other.

    Raises OSError for a broken archive, and for one that unpacks to more than a log can be.
    """
    limit = min(MAX_UNPACKED_BYTES, os.fstat(descriptor).st_size * MAX_GZ_RATIO + _CHUNK)
    # wbits 31: gzip's own header and checksum, as in RFC 1952
    inflate = zlib.decompressobj(wbits=31)
    with tempfile.TemporaryFile(dir=scratch) as target, os.fdopen(descriptor, "rb") as source:
        try:
            while chunk := source.read(_CHUNK):
                while chunk:
                    target.write(inflate.decompress(chunk, _CHUNK))
                    chunk = inflate.unconsumed_tail
                    if target.tell() > limit:
                        raise OSError(f"unpacks to more than {limit} bytes")
        except zlib.error as cause:
            raise OSError(f"broken gzip file: {cause}") from cause
        target.flush()
        return os.dup(target.fileno())


Stamp = tuple[int, int]


def stamp(status: os.stat_result) -> Stamp:
    """What tells whether the file of an inode is still the one seen before: inodes are used again."""
    return status.st_size, status.st_mtime_ns


class LogFile:
    """An open log file. `position` is where reading goes on; `acked` what Kafka has acknowledged."""

    __slots__ = (
        "acked",
        "carried",
        "closed",
        "descriptor",
        "device",
        "grown",
        "identity",
        "inode",
        "path",
        "position",
        "random",
        "seen",
        "settled",
        "stamp",
    )

    def __init__(self, path: Path, descriptor: int, file_stat: os.stat_result) -> None:
        self.path = path
        self.descriptor = descriptor
        self.device = file_stat.st_dev
        self.inode = file_stat.st_ino
        self.stamp = stamp(file_stat)
        self.identity = ""
        self.random = False  # the first line has no time to name the file by
        self.acked = Ranges()
        self.carried: tuple[Carried, ...] = ()  # parts of events that go on where `acked` ends
        self.position = 0
        self.settled = False  # a rotated file that is not written any more
        self.seen = 0  # size when last looked at
        self.grown = 0.0  # monotonic time of the last growth
        self.closed = False

    def name(self, pod_uid: str, container: str, restart: int, *, final: bool = False) -> bool:
        """Find the file's identity; False while its first line is not there (`final`: it will not come)."""
        head = os.pread(self.descriptor, record.FIRST_LINE_BYTES, 0)
        end = head.find(b"\n")
        if not head or (end < 0 and len(head) < record.FIRST_LINE_BYTES and not final):
            return False
        if end >= 0:
            head = head[:end]
        self.random = not cri.is_stamped(head)
        if self.random:
            self.identity = record.random_identity(secrets.token_bytes(record.IDENTITY_BYTES))
        else:
            self.identity = record.identity(pod_uid, container, restart, head)
        return True

    def resume(self, acked: Ranges, carried: tuple[Carried, ...]) -> None:
        """Go on where an earlier shipper was acknowledged."""
        self.acked = acked
        self.carried = carried
        self.position = acked.low

    def size(self) -> int:
        """The file's size now."""
        return os.fstat(self.descriptor).st_size

    def rewind(self) -> None:
        """Read again whatever is not acknowledged."""
        self.position = self.acked.low

    def read(self, length: int) -> tuple[int, bytes, bool]:
        """Up to `length` unacknowledged bytes: their offset, the bytes, and whether the file ends behind them.

        Never reads over a range that is acknowledged already; `position` is moved over such ranges only.
        """
        self.position, limit = self.acked.unread(self.position)
        wanted = length if limit is None else min(length, limit - self.position)
        data = os.pread(self.descriptor, wanted, self.position)
        at_end = limit is None and len(data) < wanted
        return self.position, data, at_end

    def bytes(self, start: int, length: int) -> bytes:
        """What stands in the file, whether read already or not."""
        return os.pread(self.descriptor, length, start)

    def inside_line(self, offset: int) -> bool:
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

    def has_line(self) -> bool:
        """Whether a whole line stands behind the position."""
        return b"\n" in os.pread(self.descriptor, self.size() - self.position, self.position)

    def close(self) -> None:
        """Give the descriptor back; again is harmless."""
        if not self.closed:
            self.closed = True
            os.close(self.descriptor)
