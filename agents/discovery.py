"""Find the containers' log files in the kubelet's layout: `<ns>_<pod>_<uid>/<container>/<n>.log`.

Rotated siblings are `<n>.log.<YYYYMMDD-HHMMSS>`, plain or `.gz`. Names come from this path, not from the
truncated links in /var/log/containers. A directory is listed again only when its modification time moved (or is
so young that a change within the clock's grain could hide), so a look at hundreds of quiet pods costs a few
hundred calls of stat.
"""

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.pod import CONTAINER_DIRECTORY, LOG_FILE, POD_DIRECTORY, Instance

_YOUNG_NS = 2_000_000_000


class Found(NamedTuple):
    """A log file found: `rotated` is the rotation's time stamp, empty for the live file."""

    instance: Instance
    rotated: str
    path: Path
    status: os.stat_result


class Discovery:
    """Looks again and again at one directory of logs."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, tuple[int, list[str]]] = {}

    def scan(self) -> list[Found]:
        """Every log file there is now, of each instance from the oldest to the live one."""
        found: list[Found] = []
        seen: set[str] = set()
        for pod in self._names(str(self.root), seen):
            match = POD_DIRECTORY.fullmatch(pod)
            if match is None:
                continue
            for container in self._names(f"{self.root}/{pod}", seen):
                if CONTAINER_DIRECTORY.fullmatch(container):
                    names = (match[1], match[2], match[3], container)
                    found += self._files(f"{self.root}/{pod}/{container}", names, seen)
        self._listed = {path: entry for path, entry in self._listed.items() if path in seen}
        found.sort(key=lambda file: (file.instance, file.rotated or "~"))
        return found

    def _files(self, directory: str, names: tuple[str, str, str, str], seen: set[str]) -> Iterator[Found]:
        for name in self._names(directory, seen):
            match = LOG_FILE.fullmatch(name)
            if match is None or (match[3] and not match[2]):
                continue
            path = Path(directory, name)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield Found(Instance(*names, int(match[1])), match[2] or "", path, status)

    def _names(self, directory: str, seen: set[str]) -> list[str]:
        """The names in a directory; empty when it is gone or no directory of its own (links are not followed)."""
        try:
            status = os.lstat(directory)
            if not stat.S_ISDIR(status.st_mode):
                return []
            seen.add(directory)
            before = self._listed.get(directory)
            if before is not None and before[0] == status.st_mtime_ns:
                return before[1]
            names = os.listdir(directory)
        except (FileNotFoundError, NotADirectoryError):
            return []
        if time.time_ns() - status.st_mtime_ns > _YOUNG_NS:
            self._listed[directory] = (status.st_mtime_ns, names)
        return names
