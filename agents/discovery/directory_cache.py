"""A cache of directory listings: a directory is listed again only after it has changed.

Changes are detected by inotify events, at once, and by the directory's modification time, in every scan; either alone
is sufficient. A directory modified within the granularity of the clock is listed in every scan, since a further change
may not alter its modification time. Without events (no inotify instance or watch left, a file system without them),
the cache falls back to polling.
"""

import logging
import os
import stat
import time
from typing import NamedTuple

from agents.discovery.inotify import Inotify

_MTIME_GRANULARITY_NS = 2_000_000_000

log = logging.getLogger(__name__)


def os_reason(error: OSError) -> str:
    """Return the reason of an error, without number and path."""
    return os.strerror(error.errno) if error.errno else str(error)


class UnreadPath(NamedTuple):
    """A path in a log directory that is not read, and why."""

    reason: str
    is_directory: bool


class DirectoryCache:
    """Call `begin_scan`, `list_names` of each directory, `end_scan`. `events`, `poll`: how to detect changes."""

    def __init__(self, *, events: bool = False, poll: bool = True) -> None:
        self._poll = poll
        self._cached: dict[str, tuple[int, list[str]]] = {}
        self._requested: set[str] = set()
        self._inotify_problem = ""
        self.unreadable: dict[str, str] = {}  # paths that could not be read in this scan, and why
        self.unread: dict[str, UnreadPath] = {}  # the same if they should be readable, and links that are not followed
        self._inotify: Inotify | None = None
        if events:
            try:
                self._inotify = Inotify()
            except OSError as error:
                self._fall_back_to_polling(error)

    @property
    def descriptor(self) -> int:
        """Readable when a directory has changed; -1 without events."""
        return self._inotify.descriptor if self._inotify else -1

    def begin_scan(self) -> None:
        """Begin a scan: later changes are listed by the next one."""
        self._requested.clear()
        self.unreadable, self.unread = {}, {}
        changed = self._inotify.read_changed() if self._inotify else set()
        if changed is None:
            log.warning("inotify queue overflow; rescanning all directories")
            self._cached.clear()
        else:
            for directory in changed:
                self._cached.pop(directory, None)

    def end_scan(self) -> None:
        """Drop the directories that were not listed in this scan."""
        self._cached = {path: entry for path, entry in self._cached.items() if path in self._requested}

    def has_top(self, directory: str, *, required: bool = True) -> bool:
        """Return whether a layout's top directory exists; if not, its files are not considered deleted.

        A directory that is not required may be missing.
        """
        try:
            if stat.S_ISDIR(os.stat(directory).st_mode):
                return True
            reason = "not a directory"
        except FileNotFoundError:
            self.unreadable[directory] = "no such directory"
            if required:
                self.unread[directory] = UnreadPath("no such directory", is_directory=True)
            return False
        except OSError as error:
            reason = os_reason(error)
        self._mark_unreadable(directory, reason, is_directory=True)
        return False

    def _mark_unreadable(self, path: str, reason: str, *, is_directory: bool) -> None:
        self.unreadable[path] = reason
        self.unread[path] = UnreadPath(reason, is_directory)

    def mark_unread(self, path: str, reason: str) -> None:
        """Mark a path in the place of a log file that is not read: a link, or not a regular file."""
        self.unread[path] = UnreadPath(reason, is_directory=False)

    def list_names(self, directory: str) -> list[str]:
        """Return the names in a directory; none if it does not exist or is a link (links are not followed).

        If it cannot be read, return the names of the last time, and add it to `unreadable`.
        """
        self._requested.add(directory)
        cached = self._cached.get(directory)
        if cached is not None and not self._poll and self._inotify and self._inotify.is_watched(directory):
            return cached[1]
        try:
            return self._list_if_changed(directory, cached)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            self._mark_unreadable(directory, os_reason(error), is_directory=True)
            return cached[1] if cached else []

    def lstat(self, path: str) -> os.stat_result | None:
        """Return the status of a path, or None; if it exists and cannot be read, add it to `unreadable`."""
        try:
            return os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._mark_unreadable(path, os_reason(error), is_directory=False)
            return None

    def _list_if_changed(self, directory: str, cached: tuple[int, list[str]] | None) -> list[str]:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode):
            if stat.S_ISLNK(status.st_mode):
                self.unread[directory] = UnreadPath("symbolic link, not followed", is_directory=True)
            return []
        if cached is not None and cached[0] == status.st_mtime_ns:
            return cached[1]
        watched = self._watch(directory)
        names = os.listdir(directory)
        if (watched and not self._poll) or time.time_ns() - status.st_mtime_ns > _MTIME_GRANULARITY_NS:
            self._cached[directory] = (status.st_mtime_ns, names)
        return names

    def _watch(self, directory: str) -> bool:
        """Watch a directory before it is listed, so that no change is missed."""
        if self._inotify is None:
            return False
        try:
            self._inotify.watch(directory)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise
        except OSError as error:
            self._fall_back_to_polling(error)
            return False
        return True

    def _fall_back_to_polling(self, error: OSError) -> None:
        if not self._inotify_problem:
            self._inotify_problem = str(error)
            log.warning("inotify unavailable (%s); falling back to polling", error)
