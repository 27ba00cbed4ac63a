"""Find the containers' log files, in each layout; `agents.discovery.layouts` has those beside the kubelet's.

The kubelet's: `<ns>_<pod>_<uid>/<container>/<n>.log`, rotated siblings `<n>.log.<YYYYMMDD-HHMMSS>`, plain or `.gz`.
Names come from this path, not from the truncated links in /var/log/containers. Links are never followed, but for
a log that lies in docker's directory, where docker alone writes.
"""

import asyncio
import contextlib
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from agents.discovery.directory_cache import DirectoryCache
from pipeline.contract.pod_metadata import CONTAINER_DIRECTORY, LOG_FILE, POD_DIRECTORY, Instance

log = logging.getLogger(__name__)


class DiscoveredFile(NamedTuple):
    """A log file found: `rotated` sorts the rotated ones of an instance, empty for the live file.

    `root` is the directory beneath which it lies: above it links are the operator's, beneath it nobody's. `about` is
    the pod metadata as JSON where the layout tells it, empty where the path does.
    """

    instance: Instance
    rotated: str
    path: Path
    status: os.stat_result
    root: str
    metadata: bytes = b""

    @property
    def inode(self) -> tuple[int, int]:
        """By what the file system knows it: device and number."""
        return self.status.st_dev, self.status.st_ino


Layout = Callable[[DirectoryCache], Iterator[DiscoveredFile]]
"""Every log file that one layout has now."""


class Discovery:
    """Looks again and again at the node's directories of logs."""

    def __init__(self, layouts: list[Layout], cache: DirectoryCache) -> None:
        self._layouts = layouts
        self._cache = cache
        self._on_change: Callable[[], None] | None = None
        self.unreadable: dict[str, str] = {}  # what could not be looked at the last time, and why

    def scan(self) -> list[DiscoveredFile]:
        """Every log file there is now, of each instance from the oldest to the live one."""
        self._cache.begin_scan()
        found = [file for layout in self._layouts for file in layout(self._cache)]
        self._cache.end_scan()
        for place in self._cache.unreadable.keys() - self.unreadable.keys():
            log.warning("log files cannot be looked for, tried again: %s: %s", place, self._cache.unreadable[place])
        self.unreadable = self._cache.unreadable
        if self._on_change is not None:
            self._add_reader(asyncio.get_running_loop())
        found.sort(key=lambda file: (file.instance, file.rotated or "~"))
        return found

    @contextlib.contextmanager
    def notify_on_change(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `wake` is called when a directory changes, once until the next look, where the kernel tells."""
        self._on_change = on_change
        self._add_reader(asyncio.get_running_loop())
        try:
            yield
        finally:
            self._on_change = None
            if self._cache.descriptor >= 0:
                asyncio.get_running_loop().remove_reader(self._cache.descriptor)

    def _add_reader(self, loop: asyncio.AbstractEventLoop) -> None:
        descriptor, wake = self._cache.descriptor, self._on_change
        if descriptor < 0 or wake is None:
            return

        def stirred() -> None:
            loop.remove_reader(descriptor)
            wake()

        loop.add_reader(descriptor, stirred)


def kubelet_layout(root: Path, docker_dir: Path | None = None) -> Layout:
    """The kubelet's layout at `root`; a live log may be a link to docker's own file in the directory `docker`."""

    read: dict[str, tuple[list[str], list[ParsedName]]] = {}  # of each directory the names, and what they say

    def files(listing: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(root)
        if not Path(top).is_dir():
            listing.mark_missing(top)
            return
        before = read.copy()
        read.clear()
        for pod in listing.list_names(top):
            match = POD_DIRECTORY.fullmatch(pod)
            if match is None:
                continue
            for container in listing.list_names(f"{top}/{pod}"):
                if not CONTAINER_DIRECTORY.fullmatch(container):
                    continue
                directory = f"{top}/{pod}/{container}"
                names = listing.list_names(directory)
                known = before.get(directory)
                if known is None or known[0] is not names:
                    known = names, _parse_names(directory, names, (match[1], match[2], match[3], container))
                read[directory] = known
                for named in known[1]:
                    yield from _discover(listing, top, named, docker_dir)

    return files


class ParsedName(NamedTuple):
    """What the name of a log file says; as `Found` has it."""

    instance: Instance
    rotated: str
    path: Path
    raw_path: str


def _parse_names(directory: str, names: list[str], container: tuple[str, str, str, str]) -> list[ParsedName]:
    """The log files of a container's directory, by their names."""
    found = []
    for name in names:
        match = LOG_FILE.fullmatch(name)
        if match is not None and (match[2] or not match[3]):
            path = f"{directory}/{name}"
            found.append(ParsedName(Instance(*container, int(match[1])), match[2] or "", Path(path), path))
    return found


def _discover(cache: DirectoryCache, top: str, parsed: ParsedName, docker_dir: Path | None) -> Iterator[DiscoveredFile]:
    """The file of a name; or docker's files, where a live log is a link to one."""
    status = cache.lstat(parsed.raw_path)
    if status is None:
        return
    if stat.S_ISREG(status.st_mode):
        yield DiscoveredFile(parsed.instance, parsed.rotated, parsed.path, status, top)
    elif docker_dir is not None and stat.S_ISLNK(status.st_mode) and not parsed.rotated:
        with contextlib.suppress(FileNotFoundError):
            yield from docker_files(cache, docker_dir, os.readlink(parsed.raw_path), parsed.instance)


def docker_files(
    cache: DirectoryCache, docker_dir: Path, target: str, instance: Instance, metadata: bytes = b""
) -> Iterator[DiscoveredFile]:
    """Docker's files of one container: `<id>/<id>-json.log`, rotated ones `….1`, `….2.gz`, the highest the oldest."""
    directory, _, live = target.rpartition("/")
    identity = directory.rpartition("/")[2]
    if directory != f"{docker_dir}/{identity}" or live != f"{identity}-json.log":
        return
    yield from rotated_files(cache, directory, live, instance, metadata)


def rotated_files(
    cache: DirectoryCache, directory: str, live: str, instance: Instance, metadata: bytes = b""
) -> Iterator[DiscoveredFile]:
    """A live file and its rotated ones: `LIVE.<n>` (the highest is the oldest) or `LIVE-<date>`, plain or `.gz`."""
    for name in cache.list_names(directory):
        if not name.startswith(live):
            continue
        rotated = _rotation_key(name[len(live) :].removesuffix(".gz"))
        if rotated is None or (name == f"{live}.gz"):
            continue
        path = f"{directory}/{name}"
        status = cache.lstat(path)
        if status is not None and stat.S_ISREG(status.st_mode):
            yield DiscoveredFile(instance, rotated, Path(path), status, directory, metadata)


def _rotation_key(suffix: str) -> str | None:
    """What sorts rotated files from the oldest to the newest; empty for the live one, None for another file."""
    if not suffix:
        return ""
    mark, rest = suffix[0], suffix[1:]
    if mark == "." and rest.isascii() and rest.isdecimal() and len(rest) <= 6:
        return f"{10**6 - int(rest):07d}"
    if mark in ".-" and rest.isascii() and rest.replace("-", "").replace("_", "").isdecimal() and len(rest) <= 24:
        return rest
    return None
