"""Raw lines of log files, or of standard input, as slices: what `crisp parse` reads.

The files of one container instance are read one after the other, rotated ones first, and events go on from file to
file. Memory: a block of lines, and what is open at its end.
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
"""Identity of a file whose first line has no time: in the flow it gets a random one."""


class LogInput:
    """The files of one instance; `named` is the path that the documents tell instead of the file's own.

    `read` gives the bytes of a file by its name, some at a time.
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
        """All lines, a last one without a newline too. Raises CrispError for a file that cannot be read."""
        for path in self._paths:
            for piece in self._line_runs(path):
                yield from self._slicer.add(piece)
        yield from self._slicer.flush()

    def _line_runs(self, path: str) -> Iterator[LineRun]:
        """Runs of whole lines of one file."""
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
        """The number of the file, which its first line names."""
        if offset == 0:
            first = data.partition(b"\n")[0]
            who = self._instance
            name = (
                record.identity(who.uid, who.container, who.restart, first) if cri.has_time(first) else UNTIMED_IDENTITY
            )
            self._slicer.files.append(SourceFile(name, self._path_override or str(Path(path).absolute())))
        return len(self._slicer.files) - 1


def _read_blocks(path: str) -> Iterator[bytes]:
    """The bytes of a file, some at a time; those of an archive unpacked."""
    try:
        with _open(path) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except (OSError, EOFError, zlib.error) as fault:
        raise CrispError(f"{path}: {getattr(fault, 'strerror', None) or fault}") from fault


def _open(path: str) -> BinaryIO:
    if path == STDIN:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    if path.endswith(".gz"):
        return gzip.open(path, "rb")  # type: ignore[return-value]
    return open(path, "rb")
