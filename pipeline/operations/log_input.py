"""Reads raw lines of log files, or of standard input, into slices: the input of `crisp parse`.

The files of one container instance are read one after the other, rotated ones first; events may continue from file to
file. Memory: a block of lines, and the events that are open at its end.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.contract import cri, record
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Grouping, LogSlice, SourceFile
from pipeline.errors import CrispError
from pipeline.operations.slicer import BLOCK_BYTES, LineRun, Slicer

STDIN = "-"
UNTIMED_IDENTITY = "A" * record.IDENTITY_CHARACTERS
"""Identity of a file whose first line has no time; the shipper gives such files a random one."""


class LogInput:
    """The files of one instance. `path_override` replaces the files' own path in the documents.

    `read` yields the content of a file in blocks, by its name.
    """

    def __init__(
        self,
        instance: Instance,
        files: list[str],
        path_override: str,
        *,
        grouping: Grouping,
        pod: bytes,
        node: str,
        read: Callable[[str], Iterator[bytes]] | None = None,
    ) -> None:
        self._instance = instance
        self._paths = sorted(files, key=lambda name: (name.endswith(".log"), name))
        self._path_override = path_override
        self._slicer = Slicer(grouping, pod, node, BLOCK_BYTES)
        self._read = read or _read_blocks

    def slices(self) -> Iterator[LogSlice]:
        """Yield slices of all lines, also of a last line without newline. Raises CrispError for an unreadable file."""
        for path in self._paths:
            for run in self._line_runs(path):
                yield from self._slicer.add(run)
        yield from self._slicer.flush()

    def _line_runs(self, path: str) -> Iterator[LineRun]:
        """Yield runs of complete lines of one file."""
        offset, rest = 0, b""
        for block in self._read(path):
            data = rest + block
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield self._file_number(path, data, offset), offset, data[:end]
                offset += end
        if rest:
            yield self._file_number(path, rest, offset), offset, rest + b"\n"

    def _file_number(self, path: str, data: bytes, offset: int) -> int:
        """Return the number of the file; its first line, at offset 0, identifies it."""
        if offset == 0:
            first = data.partition(b"\n")[0]
            instance, identity = self._instance, UNTIMED_IDENTITY
            if cri.has_time(first):
                identity = record.identity(instance.uid, instance.container, instance.restart, first)
            self._slicer.files.append(SourceFile(identity, self._path_override or str(Path(path).absolute())))
        return len(self._slicer.files) - 1


def _read_blocks(path: str) -> Iterator[bytes]:
    """Yield the content of a file in blocks; of an archive decompressed."""
    try:
        with _open(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except (OSError, EOFError, zlib.error) as error:
        raise CrispError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _open(path: str) -> BinaryIO:
    if path == STDIN:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return open(path, "rb")
