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

from agents.discovery.directory_cache import Listing
from pipeline.contract.pod_metadata import CONTAINER_DIRECTORY, LOG_FILE, POD_DIRECTORY, Instance

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A log file found: `rotated` sorts the rotated ones of an instance, empty for the live file.

    `root` is the directory beneath which it lies: above it links are the operator's, beneath it nobody's. `about` is
    the pod metadata as JSON where the layout tells it, empty where the path does.
    """

    instance: Instance
    rotated: str
    path: Path
    status: os.stat_result
    root: str
    about: bytes = b""

    @property
    def inode(self) -> tuple[int, int]:
        """By what the file system knows it: device and number."""
        return self.status.st_dev, self.status.st_ino


Layout = Callable[[Listing], Iterator[Found]]
"""Every log file that one layout has now."""


class Discovery:
    """Looks again and again at the node's directories of logs."""

    def __init__(self, layouts: list[Layout], listing: Listing) -> None:
        self._layouts = layouts
        self._listing = listing
        self._wake: Callable[[], None] | None = None
        self.failing: dict[str, str] = {}  # what could not be looked at the last time, and why

    def scan(self) -> list[Found]:
        """Every log file there is now, of each instance from the oldest to the live one."""
        self._listing.begin()
        found = [file for layout in self._layouts for file in layout(self._listing)]
        self._listing.end()
        for place in self._listing.failing.keys() - self.failing.keys():
            log.warning("log files cannot be looked for, tried again: %s: %s", place, self._listing.failing[place])
        self.failing = self._listing.failing
        if self._wake is not None:
            self._listen(asyncio.get_running_loop())
        found.sort(key=lambda file: (file.instance, file.rotated or "~"))
        return found

    @contextlib.contextmanager
    def waking(self, wake: Callable[[], None]) -> Iterator[None]:
        """Meanwhile `wake` is called when a directory changes, once until the next look, where the kernel tells."""
        self._wake = wake
        self._listen(asyncio.get_running_loop())
        try:
            yield
        finally:
            self._wake = None
            if self._listing.descriptor >= 0:
                asyncio.get_running_loop().remove_reader(self._listing.descriptor)

    def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        descriptor, wake = self._listing.descriptor, self._wake
        if descriptor < 0 or wake is None:
            return

        def stirred() -> None:
            loop.remove_reader(descriptor)
            wake()

        loop.add_reader(descriptor, stirred)


def kubelet(root: Path, docker: Path | None = None) -> Layout:
    """The kubelet's layout at `root`; a live log may be a link to docker's own file in the directory `docker`."""

    read: dict[str, tuple[list[str], list[Named]]] = {}  # of each directory the names, and what they say

    def files(listing: Listing) -> Iterator[Found]:
        top = os.path.realpath(root)
        if not Path(top).is_dir():
            listing.missing(top)
            return
        before = read.copy()
        read.clear()
        for pod in listing.names(top):
            match = POD_DIRECTORY.fullmatch(pod)
            if match is None:
                continue
            for container in listing.names(f"{top}/{pod}"):
                if not CONTAINER_DIRECTORY.fullmatch(container):
                    continue
                directory = f"{top}/{pod}/{container}"
                names = listing.names(directory)
                known = before.get(directory)
                if known is None or known[0] is not names:
                    known = names, _named(directory, names, (match[1], match[2], match[3], container))
                read[directory] = known
                for named in known[1]:
                    yield from _found(listing, top, named, docker)

    return files


class Named(NamedTuple):
    """What the name of a log file says; as `Found` has it."""

    instance: Instance
    rotated: str
    path: Path
    text: str


def _named(directory: str, names: list[str], container: tuple[str, str, str, str]) -> list[Named]:
    """The log files of a container's directory, by their names."""
    found = []
    for name in names:
        match = LOG_FILE.fullmatch(name)
        if match is not None and (match[2] or not match[3]):
            path = f"{directory}/{name}"
            found.append(Named(Instance(*container, int(match[1])), match[2] or "", Path(path), path))
    return found


def _found(listing: Listing, top: str, named: Named, docker: Path | None) -> Iterator[Found]:
    """The file of a name; or docker's files, where a live log is a link to one."""
    status = listing.status(named.text)
    if status is None:
        return
    if stat.S_ISREG(status.st_mode):
        yield Found(named.instance, named.rotated, named.path, status, top)
    elif docker is not None and stat.S_ISLNK(status.st_mode) and not named.rotated:
        with contextlib.suppress(FileNotFoundError):
            yield from of_docker(listing, docker, os.readlink(named.text), named.instance)


def of_docker(listing: Listing, docker: Path, target: str, instance: Instance, about: bytes = b"") -> Iterator[Found]:
    """Docker's files of one container: `<id>/<id>-json.log`, rotated ones `….1`, `….2.gz`, the highest the oldest."""
    directory, _, live = target.rpartition("/")
    identity = directory.rpartition("/")[2]
    if directory != f"{docker}/{identity}" or live != f"{identity}-json.log":
        return
    yield from siblings(listing, directory, live, instance, about)


def siblings(listing: Listing, directory: str, live: str, instance: Instance, about: bytes = b"") -> Iterator[Found]:
    """A live file and its rotated ones: `LIVE.<n>` (the highest is the oldest) or `LIVE-<date>`, plain or `.gz`."""
    for name in listing.names(directory):
        if not name.startswith(live):
            continue
        rotated = _rotation(name[len(live) :].removesuffix(".gz"))
        if rotated is None or (name == f"{live}.gz"):
            continue
        path = f"{directory}/{name}"
        status = listing.status(path)
        if status is not None and stat.S_ISREG(status.st_mode):
            yield Found(instance, rotated, Path(path), status, directory, about)


def _rotation(ending: str) -> str | None:
    """What sorts rotated files from the oldest to the newest; empty for the live one, None for another file."""
    if not ending:
        return ""
    mark, rest = ending[0], ending[1:]
    if mark == "." and rest.isascii() and rest.isdecimal() and len(rest) <= 6:
        return f"{10**6 - int(rest):07d}"
    if mark in ".-" and rest.isascii() and rest.replace("-", "").replace("_", "").isdecimal() and len(rest) <= 24:
        return rest
    return None
