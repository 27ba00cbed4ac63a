"""One file of a container's log: its identity, its read position and acknowledged ranges, its size at the last poll."""

import os
import secrets
from pathlib import Path

from agents.tailing import nul_run
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.open_file import OpenFile
from pipeline.contract import cri, record
from pipeline.contract.record import Continuation

HEAD_BYTES = 64
LOOK_BACK_BYTES = 65536


class LogFile(OpenFile):
    """An open log file; a compressed one is decompressed when its turn comes."""

    __slots__ = (
        "_acked",
        "_continuations",
        "_finalised",
        "_grew_at",
        "_head",
        "_identity",
        "_last_size",
        "_line",
        "_listed",
        "_modified",
        "_position",
        "_random_identity",
        "_rotated",
        "_succeeded_at",
    )

    def __init__(self, path: Path, descriptor: int, status: os.stat_result, root: str, rotated: str = "") -> None:
        super().__init__(path, descriptor, status, root)
        self._acked = ByteRanges()
        self._rotated = rotated
        self._listed = True
        self._identity = ""
        self._random_identity = False
        self._head = b""  # its first bytes, to detect truncation
        self._continuations: tuple[Continuation, ...] = ()
        self._position = 0
        self._line = 0, 0  # the start of a raw line, and an offset until which it has no newline
        self._finalised = False
        self._last_size = 0
        self._modified = status.st_mtime_ns
        self._grew_at = 0.0
        self._succeeded_at = 0.0

    # --- its name

    @property
    def rotated(self) -> str:
        """The sort key of a rotated file, empty for the live one; see `DiscoveredFile`."""
        return self._rotated

    @property
    def listed(self) -> bool:
        """Whether the last scan listed a name of it."""
        return self._listed

    def list_as(self, path: Path, rotated: str) -> None:
        """Record the name under which a scan listed it."""
        self._path, self._rotated, self._listed = path, rotated, True

    def unlist(self) -> None:
        """Record that a scan listed no name of it."""
        self._listed = False

    # --- its identity

    @property
    def identity(self) -> str:
        """Its identity in documents and checkpoint; empty while its first line is incomplete."""
        return self._identity

    @property
    def random_identity(self) -> bool:
        """Whether the first line has no time to derive the identity from."""
        return self._random_identity

    def identify(self, pod_uid: str, container: str, restart: int, *, final: bool = False) -> bool:
        """Set the file's identity; return False while its first line is incomplete (`final`: it stays incomplete)."""
        head, final = self.head(record.FIRST_LINE_BYTES), final or self.compressed
        end = head.find(b"\n")
        if not head or (end < 0 and len(head) < record.FIRST_LINE_BYTES and not final):
            return False
        self._head = head[:HEAD_BYTES]
        if end >= 0:
            head = head[:end]
        self._random_identity = not cri.has_time(head)
        if self._random_identity:
            self._identity = record.random_identity(secrets.token_bytes(record.IDENTITY_BYTES))
        else:
            self._identity = record.identity(pod_uid, container, restart, head)
        return True

    def was_truncated(self) -> bool:
        """Return whether the file begins differently: it was truncated and is written again from its start."""
        return bool(self._identity) and not self.is_archive and self.read_at(0, len(self._head)) != self._head

    def restart(self) -> "LogFile":
        """Return a new log file on the same inode: for a file that was truncated."""
        descriptor = os.dup(self._descriptor)
        return LogFile(self._path, descriptor, os.fstat(descriptor), self.root, self._rotated)

    # --- its size

    @property
    def last_size(self) -> int:
        """The size at the last poll that found a change."""
        return self._last_size

    @property
    def modified(self) -> int:
        """The mtime at that poll, nanoseconds."""
        return self._modified

    @property
    def grew_at(self) -> float:
        """The monotonic time of that poll."""
        return self._grew_at

    @property
    def quiet_since(self) -> float:
        """The monotonic time since when it has a successor and did not grow; 0.0 before it has one."""
        return max(self._grew_at, self._succeeded_at) if self._succeeded_at else 0.0

    @property
    def finalised(self) -> bool:
        """Whether it is a rotated file that did not grow for a while: the files after it are read too."""
        return self._finalised

    def is_finished(self) -> bool:
        """Return whether it is finalised, and Kafka has all of it."""
        if self._suspended and self.stat() is None:
            return False  # it may have grown before it was deleted
        return self._finalised and self._acked.low >= self.size()

    def status(self) -> tuple[int, int]:
        """Return the current size and mtime; of a compressed file the size after decompression."""
        if self._compressed:
            return self.decompressed_size(), self._modified
        status = self.stat()
        return (self._last_size, self._modified) if status is None else (status.st_size, status.st_mtime_ns)

    def size(self) -> int:
        """Return the current size; of a compressed file the size after decompression."""
        return self.status()[0]

    def is_unchanged(self) -> bool:
        """Return whether size and mtime are those of the last poll; False for an archive to decompress."""
        if self._compressed or self._suspended:
            return not self._compressed and self.status() == (self._last_size, self._modified)
        status = os.fstat(self._descriptor)  # as `status`, without its calls: this is all that a quiet file costs
        return status.st_size == self._last_size and status.st_mtime_ns == self._modified

    def observe(self, size: int, modified: int, now: float) -> None:
        """Record a changed status that a poll found at `now`, monotonic seconds."""
        self._last_size, self._modified, self._grew_at = size, modified, now

    def note_successor(self, now: float) -> None:
        """Record that a poll at `now`, monotonic seconds, found a later file, or the end of its container."""
        self._succeeded_at = self._succeeded_at or now

    def finalise(self) -> None:
        """Record that the files after it may be read; what it gets later is read all the same."""
        self._finalised = True

    def decompress(self, scratch: Path) -> bool:
        """Decompress, see `OpenFile.decompress`; then its size is known."""
        intact = super().decompress(scratch)
        self._last_size = self.scratch_bytes
        return intact

    # --- its bytes

    @property
    def position(self) -> int:
        """The offset of the next read."""
        return self._position

    @property
    def acked(self) -> ByteRanges:
        """The ranges that Kafka has acknowledged."""
        return self._acked

    @property
    def continuations(self) -> tuple[Continuation, ...]:
        """Parts of split events that continue where `acked` ends."""
        return self._continuations

    def backlog_bytes(self) -> int:
        """Return the bytes that were not read yet, by the size at the last poll."""
        return max(0, self._last_size - self._position)

    def read(self, position: int, length: int) -> tuple[int, bytes, bool]:
        """Read up to `length` unacknowledged bytes from `position` on.

        Return their offset, the bytes, and whether the file ends there. Never reads across an acknowledged range.
        """
        if self._suspended:
            return position, b"", True
        offset, limit = self._acked.next_unacked(position)
        wanted = length if limit is None else min(length, limit - offset)
        data = os.pread(self._descriptor, wanted, offset)
        return offset, data, limit is None and len(data) < wanted

    def omissible_bytes(self, start: int, event_bytes: int) -> int:
        """Return how many NUL bytes from `start` on need not be sent; see `nul_run`."""
        return 0 if self._suspended else nul_run.omissible_bytes(self._descriptor, start, event_bytes)

    def is_readable(self) -> bool:
        """Return whether a byte can be read at its position and at its start, without an I/O error."""
        if self._suspended:
            return True
        try:
            os.fstat(self._descriptor)
            self.head(1)
            self.read_at(self._position, 1)
        except OSError:
            return False
        return True

    def seek(self, position: int) -> None:
        """Set the offset of the next read."""
        self._position = position

    def acknowledge(self, start: int, end: int) -> None:
        """Mark bytes as acknowledged."""
        self._acked.add(start, end)

    def continue_with(self, continuations: tuple[Continuation, ...]) -> None:
        """Set the continuations of the events that are open after the acknowledged slices."""
        self._continuations = continuations

    def resume(self, identity: str, acked: ByteRanges, continuations: tuple[Continuation, ...]) -> None:
        """Continue where an earlier shipper was acknowledged, which knew the file by `identity`."""
        self._identity = identity
        self._acked = acked
        self._continuations = continuations
        self._position = acked.low

    def rewind(self) -> None:
        """Read again everything that is not acknowledged."""
        self._position = self._acked.low

    def is_inside_line(self, offset: int) -> bool:
        """Return whether the offset is inside a raw line."""
        return offset > 0 and self.read_at(offset - 1, 1) not in (b"\n", b"")

    def line_start(self, offset: int, step: int) -> int:
        """Return the start of the raw line that contains the offset; what the last call searched is not read again.

        Each part of an oversized line asks for it: reads would grow with the square of the line's length.
        """
        start, known = self._line
        position, later = offset, b""
        while position and not start <= position <= known:
            begin = max(0, position - step, known if known < position else 0)
            block = self.read_at(begin, position - begin)
            newline = block.rfind(b"\n")
            if newline >= 0:
                start = position = begin + newline + 1
                break
            if len(block) == step and not block.strip(nul_run.NUL):  # maybe a hole of gigabytes: as a line's start
                start = position = position + len(later) - len(later.lstrip(nul_run.NUL))
                break
            position, later = begin, block
        self._line = min(start, position), offset
        return self._line[0]

    def has_line(self, limit: int) -> bool:
        """Return whether a complete line follows the position, or a part of `limit` bytes of an oversized one.

        Assumed of an archive that is not decompressed.
        """
        if self._compressed:
            return True
        data = self.read_at(self._position, limit)
        return len(data) == limit or b"\n" in data

    def time_before(self, offset: int) -> bytes:
        """Return the time of the last CRI line before the offset; empty if there is none within LOOK_BACK_BYTES.

        It is read from the file: a time that the tail remembered would be another one after a restart.
        """
        start = max(0, offset - LOOK_BACK_BYTES)
        for raw in reversed(self.read_at(start, offset - start).split(b"\n")):
            line = cri.parse(raw)
            if line is not None:
                return line.time
        return b""
