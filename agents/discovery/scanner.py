"""Scan the node for log files, in each layout; `agents.discovery.layouts` has the ones other than the kubelet's.

The kubelet's: `<ns>_<pod>_<uid>/<container>/<n>.log`, rotated files `<n>.log.<YYYYMMDD-HHMMSS>`, plain or `.gz`.
Names come from this path, not from the truncated links in /var/log/containers. Links are never followed, except to
a log in docker's directory, where only docker writes.
"""

import asyncio
import contextlib
import functools
import logging
import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agents.discovery.directory_cache import DirectoryCache, UnreadPath
from pipeline.contract.pod_metadata import CONTAINER_DIRECTORY, LOG_FILE, POD_DIRECTORY, Instance

log = logging.getLogger(__name__)


Inode = tuple[int, int]
"""Device and inode number."""


class DiscoveredFile(NamedTuple):
    """A log file on disk. `rotated` sorts the rotated files of an instance, empty for the live file.

    `root`: the directory beneath which links are not followed; links above it are the operator's. `metadata`: the pod
    metadata as JSON if the layout provides it, empty if it follows from the path.
    """

    instance: Instance
    rotated: str
    path: Path
    status: os.stat_result
    root: str
    metadata: bytes = b""

    @property
    def inode(self) -> Inode:
        """Device and inode number."""
        return self.status.st_dev, self.status.st_ino


@dataclass(frozen=True)
class Scan:
    """The log files of the node at one moment.

    `started_at`: wall clock, nanoseconds; `now`: monotonic seconds, after the listing; `begun_at`: before it, None if
    it took no time. Files at or beneath the `unreadable` paths could not be listed: their absence proves nothing.
    """

    files: list[DiscoveredFile]
    started_at: int
    now: float
    unreadable: Collection[str] = ()
    begun_at: float | None = None

    @functools.cached_property
    def instances(self) -> dict[Instance, list[DiscoveredFile]]:
        """The files by container instance."""
        instances: dict[Instance, list[DiscoveredFile]] = {}
        for file in self.files:
            instances.setdefault(file.instance, []).append(file)
        return instances

    @functools.cached_property
    def inodes(self) -> set[Inode]:
        """Device and inode number of each file."""
        return {file.inode for file in self.files}

    @functools.cached_property
    def _modified(self) -> dict[tuple[str, ...], list[tuple[int, int]]]:
        """Restart numbers and the newest mtimes (ns) of their files, by container."""
        modified: dict[tuple[str, ...], list[tuple[int, int]]] = {}
        for instance, files in self.instances.items():
            newest = max(file.status.st_mtime_ns for file in files)
            modified.setdefault(instance[:4], []).append((instance.restart, newest))
        return modified

    def has_restarted(self, instance: Instance) -> bool:
        """Return whether a later restart of the container has a log that is not older than this one.

        Restart numbers may go back: the log of a higher number is then an old one.
        """
        restarts = self._modified.get(instance[:4], [])
        own = next((modified for restart, modified in restarts if restart == instance.restart), 0)
        return any(restart > instance.restart and modified >= own for restart, modified in restarts)

    def is_unreadable(self, path: Path | str) -> bool:
        """Return whether a path is, or is below, an unreadable one."""
        text = str(path) if self.unreadable else ""
        return any(text == parent or text.startswith(f"{parent}/") for parent in self.unreadable)


Layout = Callable[[DirectoryCache], Iterator[DiscoveredFile]]
"""Yields every log file of one layout."""


class Discovery:
    """Scans the log directories of the node."""

    def __init__(self, layouts: list[Layout], cache: DirectoryCache) -> None:
        self._layouts = layouts
        self._cache = cache
        self._on_change: Callable[[], None] | None = None
        self.unreadable: dict[str, str] = {}  # paths that could not be read in the last scan, and why
        self.unread: dict[str, UnreadPath] = {}  # see `DirectoryCache.unread`

    def scan(self) -> list[DiscoveredFile]:
        """Return every log file, of each instance from the oldest to the live one."""
        self._cache.begin_scan()
        files = [file for layout in self._layouts for file in layout(self._cache)]
        self._cache.end_scan()
        for path in self._cache.unread.keys() - self.unread.keys():
            log.warning("cannot read in log directory, retrying: %s: %s", path, self._cache.unread[path].reason)
        self.unreadable, self.unread = self._cache.unreadable, self._cache.unread
        if self._on_change is not None:
            self._add_reader(asyncio.get_running_loop())
        files.sort(key=lambda file: (file.instance, file.rotated or "~"))
        return files

    @contextlib.contextmanager
    def notify_on_change(self, on_change: Callable[[], None]) -> Iterator[None]:
        """Call `on_change` when a directory changes, once per scan, if inotify is available."""
        self._on_change = on_change
        self._add_reader(asyncio.get_running_loop())
        try:
            yield
        finally:
            self._on_change = None
            if self._cache.descriptor >= 0:
                asyncio.get_running_loop().remove_reader(self._cache.descriptor)

    def _add_reader(self, loop: asyncio.AbstractEventLoop) -> None:
        descriptor, on_change = self._cache.descriptor, self._on_change
        if descriptor < 0 or on_change is None:
            return

        def on_readable() -> None:
            loop.remove_reader(descriptor)
            on_change()

        loop.add_reader(descriptor, on_readable)


def kubelet_layout(root: Path, docker_dir: Path | None = None, *, required: bool = True) -> Layout:
    """The kubelet's layout at `root`; a live log may be a link to docker's own file in `docker_dir`.

    A root that is not required may be missing.
    """

    parsed_names: dict[str, tuple[list[str], list[ParsedName]]] = {}  # by directory

    def files(cache: DirectoryCache) -> Iterator[DiscoveredFile]:
        top = os.path.realpath(root)
        if not cache.has_top(top, required=required):
            return
        previous = parsed_names.copy()
        parsed_names.clear()
        for pod in cache.list_names(top):
            match = POD_DIRECTORY.fullmatch(pod)
            if match is None:
                continue
            for container in cache.list_names(f"{top}/{pod}"):
                if not CONTAINER_DIRECTORY.fullmatch(container):
                    continue
                directory = f"{top}/{pod}/{container}"
                names = cache.list_names(directory)
                entry = previous.get(directory)
                if entry is None or entry[0] is not names:
                    entry = names, _parse_names(directory, names, (match[1], match[2], match[3], container))
                parsed_names[directory] = entry
                for parsed in entry[1]:
                    yield from _discover(cache, top, parsed, docker_dir)

    return files


class ParsedName(NamedTuple):
    """The parsed name of a log file; fields as of `DiscoveredFile`."""

    instance: Instance
    rotated: str
    path: Path
    raw_path: str


def _parse_names(directory: str, names: list[str], container: tuple[str, str, str, str]) -> list[ParsedName]:
    """Parse the names of the log files in a container's directory."""
    parsed = []
    for name in names:
        match = LOG_FILE.fullmatch(name)
        if match is not None and (match[2] or not match[3]):
            path = f"{directory}/{name}"
            parsed.append(ParsedName(Instance(*container, int(match[1])), match[2] or "", Path(path), path))
    return parsed


def _discover(cache: DirectoryCache, top: str, parsed: ParsedName, docker_dir: Path | None) -> Iterator[DiscoveredFile]:
    """Yield the file of a name, or docker's files if a live log is a link to one."""
    status = cache.lstat(parsed.raw_path)
    if status is None:
        return
    if stat.S_ISREG(status.st_mode):
        yield DiscoveredFile(parsed.instance, parsed.rotated, parsed.path, status, top)
    elif not stat.S_ISLNK(status.st_mode):
        cache.mark_unread(parsed.raw_path, "not a regular file")
    elif docker_dir is None or parsed.rotated:
        cache.mark_unread(parsed.raw_path, "symbolic link, not followed (docker's logs need CRISP_DOCKER_DIR)")
    else:
        yield from _discover_linked(cache, parsed, docker_dir)


def _discover_linked(cache: DirectoryCache, parsed: ParsedName, docker_dir: Path) -> Iterator[DiscoveredFile]:
    """Yield docker's files of a live log that is a link."""
    try:
        target = os.readlink(parsed.raw_path)
    except OSError:
        return  # removed or replaced since `lstat`: the next scan lists what is there then
    linked = False
    for file in docker_files(cache, docker_dir, target, parsed.instance):
        linked = linked or not file.rotated
        yield file
    if not linked:
        cache.mark_unread(parsed.raw_path, f"symbolic link to {target}, which is no log file in {docker_dir}")


def docker_files(
    cache: DirectoryCache, docker_dir: Path, target: str, instance: Instance, metadata: bytes = b""
) -> Iterator[DiscoveredFile]:
    """Yield docker's files of a container: `<id>/<id>-json.log`, rotated `….1`, `….2.gz`, the highest the oldest."""
    directory, _, live = target.rpartition("/")
    container_id = directory.rpartition("/")[2]
    if directory != f"{docker_dir}/{container_id}" or live != f"{container_id}-json.log":
        return
    yield from rotated_files(cache, directory, live, instance, metadata)


def rotated_files(
    cache: DirectoryCache, directory: str, live: str, instance: Instance, metadata: bytes = b""
) -> Iterator[DiscoveredFile]:
    """Yield a live file and its rotated ones: `LIVE.<n>` (the highest the oldest) or `LIVE-<date>`, plain or `.gz`."""
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
    """Return a sort key, ascending from the oldest rotated file; empty for the live one, None for another file."""
    if not suffix:
        return ""
    separator, rest = suffix[0], suffix[1:]
    if separator == "." and rest.isascii() and rest.isdecimal() and len(rest) <= 6:
        return f"{10**6 - int(rest):07d}"
    if separator in ".-" and rest.isascii() and rest.replace("-", "").replace("_", "").isdecimal() and len(rest) <= 24:
        return rest
    return None
