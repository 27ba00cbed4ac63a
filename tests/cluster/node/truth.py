"""What containers wrote: a second reader, which holds every log file open from its first moment, and reads it later.

It shares no code with the shipper: code that is to be verified is no proof. Files are held by inode, so a renamed file
is one file, and the inode of a deleted one is not given to another.
"""

import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

PAUSE_SECONDS = 0.05
_NUMBERED = re.compile(rb"@([a-z0-9-]+):(\d+):")
_FIRST_CHUNK = re.compile(rb"\S+ std(?:out|err) ([PF]) ")


class Source(NamedTuple):
    """A container instance, as its log's path names it."""

    namespace: str
    pod: str
    uid: str
    container: str
    restart: int


class TruthReader:
    """Holds the log files beneath a directory of the kubelet's layout. `close` ends it."""

    def __init__(self, pod_logs: Path) -> None:
        self._pod_logs = str(pod_logs)
        self._held: dict[tuple[int, int], tuple[Source, BinaryIO]] = {}
        self._names: set[tuple[str, int]] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            self._hold_new()

    def _hold_new(self) -> None:
        for entry in _scandir(self._pod_logs):
            namespace, _, rest = entry.name.partition("_")
            pod, _, uid = rest.partition("_")
            for container in _scandir(entry.path):
                for file in _scandir(container.path):
                    restart, _, suffix = file.name.partition(".log")
                    if not restart.isdigit() or suffix.endswith((".gz", ".tmp")):
                        continue
                    if (file.path, file.inode()) not in self._names:
                        self._hold(file, Source(namespace, pod, uid, container.name, int(restart)))

    def _hold(self, file: "os.DirEntry[str]", source: Source) -> None:
        try:
            opened = open(file.path, "rb")  # noqa: SIM115 - held until `close`
        except FileNotFoundError:
            return  # renamed in between: the next pass has its new name
        status = os.fstat(opened.fileno())
        key = status.st_dev, status.st_ino
        self._names.add((file.path, status.st_ino))
        if key in self._held:
            opened.close()
        else:
            self._held[key] = source, opened

    def numbers(self) -> dict[Source, Counter[tuple[str, int]]]:
        """Return the numbered lines of each instance: run and number, and how often."""
        lines: dict[Source, Counter[tuple[str, int]]] = {}
        for source, opened in list(self._held.values()):
            counts = lines.setdefault(source, Counter())
            counts.update(_numbered(os.pread(opened.fileno(), os.fstat(opened.fileno()).st_size, 0)))
        return lines

    def line_counts(self) -> Counter[Source]:
        """Return the number of lines of each instance, partial ones not counted."""
        counts: Counter[Source] = Counter()
        for source, opened in list(self._held.values()):
            data = os.pread(opened.fileno(), os.fstat(opened.fileno()).st_size, 0)
            counts[source] += sum(line[1] == b"F" for line in map(_FIRST_CHUNK.match, data.split(b"\n")) if line)
        return counts

    def close(self) -> None:
        """Close the files."""
        self._stopping.set()
        self._thread.join()
        for _, opened in self._held.values():
            opened.close()


def _numbered(data: bytes) -> Iterator[tuple[str, int]]:
    """Yield run and number of each line that begins in these bytes."""
    for line in data.split(b"\n"):
        head = _FIRST_CHUNK.match(line)
        number = head and _NUMBERED.match(line, head.end())
        if number:
            yield number[1].decode(), int(number[2])


def _scandir(path: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
