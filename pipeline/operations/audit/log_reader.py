"""Reads the log files of one container instance into slices, and reports what cannot be verified."""

import gzip
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.contract import cri, record
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, LogSlice, SourceFile
from pipeline.operations.slicer import BLOCK_BYTES, Slicer

_UNIDENTIFIED = -1  # the first line is not complete yet
_WITHOUT_TIME = -2  # the first line has no time: the shipper gave the file a random identity
_DUPLICATE = -3  # the same file, plain and compressed, while the kubelet compresses it


@dataclass(frozen=True, slots=True)
class Unverifiable:
    """A part of a file that cannot be verified: `amount` in the unit that `reason` names."""

    path: str
    amount: int
    reason: str


@dataclass(slots=True)
class OpenFile:
    """An open log file. `size` is its size when it was opened: bytes written later are not read."""

    path: Path
    stream: BinaryIO
    size: int
    rotated: bool

    def blocks(self) -> Iterator[bytes]:
        """Yield the content in blocks. Raises OSError, EOFError or zlib.error for a corrupt archive."""
        if self.path.suffix == ".gz":
            with gzip.GzipFile(fileobj=self.stream) as archive:
                while block := archive.read(BLOCK_BYTES):
                    yield block
            return
        remaining = self.size
        while remaining and (block := self.stream.read(min(BLOCK_BYTES, remaining))):
            remaining -= len(block)
            yield block


def open_files(paths: list[Path]) -> list[OpenFile]:
    """Open all files of an instance before any is read: files that are rotated meanwhile stay readable.

    The paths are in order, the live file last. Raises OSError.
    """
    opened: list[OpenFile] = []
    try:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            stream = os.fdopen(descriptor, "rb", buffering=0)
            opened.append(OpenFile(path, stream, os.fstat(descriptor).st_size, not path.name.endswith(".log")))
    except OSError:
        for file in opened:
            file.stream.close()
        raise
    return opened


class InstanceLog:
    """Reads the files of one instance. `ended`: a later instance exists, so nothing more is written."""

    def __init__(
        self, instance: Instance, files: list[OpenFile], grouping: Grouping, pod: bytes, node: str, *, ended: bool
    ) -> None:
        self._instance = instance
        self._files = files
        self._grouping = grouping
        self._ended = ended
        self._slicer = Slicer(grouping, pod, node, BLOCK_BYTES)

    def slices(self) -> Iterator[LogSlice | Unverifiable]:
        """Yield slices of all complete events, and the unverifiable parts."""
        for number, file in enumerate(self._files):
            last = number == len(self._files) - 1
            try:
                yield from self._read_file(file, last=last)
            except (OSError, EOFError, zlib.error) as error:
                yield Unverifiable(str(file.path), 1, f"file that cannot be read ({error})")
            finally:
                file.stream.close()
        yield from self._slicer.flush()

    def _read_file(self, file: OpenFile, *, last: bool) -> Iterator[LogSlice | Unverifiable]:
        final = file.rotated or self._ended or not last
        offset, rest, number = 0, b"", _UNIDENTIFIED
        for block in file.blocks():
            data = rest + block
            end = data.rfind(b"\n") + 1
            if number == _UNIDENTIFIED and (end or len(data) >= record.FIRST_LINE_BYTES):
                number = self._identify_file(file, data)
                if number < 0:
                    break
            rest = data[end:]
            if end:
                yield from self._slicer.add((number, offset, data[:end]))
                offset += end
            elif len(rest) > 2 * self._grouping.max_bytes:
                yield Unverifiable(str(file.path), file.size - offset, "bytes after an unterminated line")
                return
        if number == _UNIDENTIFIED and rest and final:
            number = self._identify_file(file, rest)
        if number == _WITHOUT_TIME:
            yield Unverifiable(str(file.path), file.size, "bytes of a file whose first line has no time")
        elif number >= 0 and rest and final:
            yield from self._slicer.flush((number, offset, rest))
        elif rest and number != _DUPLICATE:
            yield Unverifiable(str(file.path), len(rest), "bytes of a line that is still being written")

    def _identify_file(self, file: OpenFile, data: bytes) -> int:
        """Return the number of the file by its first line, or why it has none."""
        first = data.partition(b"\n")[0]
        if not cri.has_time(first):
            return _WITHOUT_TIME
        identity = record.identity(self._instance.uid, self._instance.container, self._instance.restart, first)
        if any(known.identity == identity for known in self._slicer.files):
            return _DUPLICATE
        self._slicer.files.append(SourceFile(identity, str(file.path)))
        return len(self._slicer.files) - 1
