"""A container's log file, written as containerd writes it and rotated as the kubelet rotates it.

containerd: a line of the container is split into partials of 16 KiB; each is one `write` of
`TIME SP STREAM SP P|F SP CONTENT LF`, the last one with `F`.
kubelet: a file beyond a size limit is renamed to `0.log.<YYYYMMDD-HHMMSS>`, then the runtime reopens `0.log`; between
the two there is no live file. The newest rotated file stays uncompressed, older ones are compressed with gzip, and at
most four rotated files are kept (the kubelet's `containerLogMaxFiles`).
"""

import gzip
import os
import shutil
import time
from pathlib import Path

from pipeline.parsing import timestamp

PARTIAL_BYTES = 16384
MAX_ROTATED_FILES = 4
REOPEN_SECONDS = 0.01


class ContainerLog:
    """The log of one container instance under a directory in the kubelet's layout."""

    def __init__(
        self,
        root: Path,
        namespace: str,
        pod: str,
        uid: str,
        container: str,
        rotate_bytes: int,
        max_rotated: int = MAX_ROTATED_FILES,
    ) -> None:
        self.uid = uid
        self.container = container
        self.directory = root / f"{namespace}_{pod}_{uid}" / container
        self.directory.mkdir(parents=True)
        self.rotations = 0
        self._live = self.directory / "0.log"
        self._rotate_bytes = rotate_bytes
        self._max_rotated = max_rotated
        self._rotated_at = 0.0
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._live, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        self._size = 0

    def write(self, stream: str, line: bytes) -> None:
        """Write a line of the container, given without its newline."""
        for start in range(0, len(line) or 1, PARTIAL_BYTES):
            partial = line[start : start + PARTIAL_BYTES]
            self.write_entry(stream, "F" if start + PARTIAL_BYTES >= len(line) else "P", partial)

    def write_entry(self, stream: str, tag: str, content: bytes) -> None:
        """Write one CRI line to the file."""
        raw = f"{timestamp.format_utc(time.time_ns())} {stream} {tag} ".encode() + content + b"\n"
        self._size += os.write(self._file, raw)

    def rotate(self) -> None:
        """Rotate a file above the size limit; at most once a second, the resolution of the names."""
        now = time.time()
        if self._size < self._rotate_bytes or now - self._rotated_at < 1.1:
            return
        suffix = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        self._compress_rotated()
        self._live.rename(self.directory / f"0.log.{suffix}")
        time.sleep(REOPEN_SECONDS)
        os.close(self._file)
        self._open()
        self._rotated_at = now
        self.rotations += 1

    def _compress_rotated(self) -> None:
        rotated = sorted(self.directory.glob("0.log.*"))
        for path in rotated[: max(0, len(rotated) + 1 - self._max_rotated)]:
            path.unlink()
        for path in rotated[max(0, len(rotated) + 1 - self._max_rotated) :]:
            if path.suffix != ".gz":
                temporary = path.with_name(path.name + ".tmp")
                with path.open("rb") as plain, gzip.open(temporary, "wb") as compressed:
                    shutil.copyfileobj(plain, compressed)
                temporary.rename(path.with_name(path.name + ".gz"))
                path.unlink()

    def close(self) -> None:
        """Close the file: the container has exited."""
        os.close(self._file)
