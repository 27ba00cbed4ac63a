"""Names in directories, asked for again and again: listed anew only when something has changed there.

Two ways tell, and either alone would do: directory events, at once; and the directory's modification time, at every
look. A directory so young that a change within the clock's grain could hide is listed at every look. Where events
are not to be had (no instance or watch left, a file system without them), the look is all there is, and is enough.
"""

import logging
import os
import stat
import time

from agents.discovery.inotify import Inotify

_MTIME_GRANULARITY_NS = 2_000_000_000

log = logging.getLogger(__name__)


class DirectoryCache:
    """`begin`, then `names` of each directory, then `end`. `events`, `poll`: which ways are open."""

    def __init__(self, *, events: bool = False, poll: bool = True) -> None:
        self._poll = poll
        self._cached: dict[str, tuple[int, list[str]]] = {}
        self._requested: set[str] = set()
        self._inotify_problem = ""
        self.unreadable: dict[str, str] = {}  # what could not be looked at this time, and why
        self._inotify: Inotify | None = None
        if events:
            try:
                self._inotify = Inotify()
            except OSError as fault:
                self._fall_back_to_polling(fault)

    @property
    def descriptor(self) -> int:
        """Readable when a directory has changed; -1 without events."""
        return self._inotify.descriptor if self._inotify else -1

    def begin_scan(self) -> None:
        """A look begins: whatever changes from now on is for the next one."""
        self._requested.clear()
        self.unreadable = {}
        changed = self._inotify.read_changed() if self._inotify else set()
        if changed is None:
            log.warning("directory events were lost: every directory is listed anew")
            self._cached.clear()
        else:
            for directory in changed:
                self._cached.pop(directory, None)

    def end_scan(self) -> None:
        """Forget directories that were not asked for."""
        self._cached = {path: entry for path, entry in self._cached.items() if path in self._requested}

    def mark_missing(self, directory: str) -> None:
        """Note a directory that should be there and is not: what stood in it is not gone, it cannot be seen."""
        self.unreadable[directory] = "no such directory"

    def list_names(self, directory: str) -> list[str]:
        """The names in a directory; empty when it is gone or no directory of its own (links are not followed).

        Where it cannot be read, those of the last time, and the directory is `failing`.
        """
        self._requested.add(directory)
        before = self._cached.get(directory)
        if before is not None and not self._poll and self._inotify and self._inotify.is_watched(directory):
            return before[1]
        try:
            return self._list_if_changed(directory, before)
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as fault:
            self.unreadable[directory] = str(fault)
            return before[1] if before else []

    def lstat(self, path: str) -> os.stat_result | None:
        """What a name in a directory is; None when it is gone, or cannot be asked for: then the name is `failing`."""
        try:
            return os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as fault:
            self.unreadable[path] = str(fault)
            return None

    def _list_if_changed(self, directory: str, cached: tuple[int, list[str]] | None) -> list[str]:
        status = os.lstat(directory)
        if not stat.S_ISDIR(status.st_mode):
            return []
        if cached is not None and cached[0] == status.st_mtime_ns:
            return cached[1]
        watched = self._watch(directory)
        names = os.listdir(directory)
        if (watched and not self._poll) or time.time_ns() - status.st_mtime_ns > _MTIME_GRANULARITY_NS:
            self._cached[directory] = (status.st_mtime_ns, names)
        return names

    def _watch(self, directory: str) -> bool:
        """Watch before listing, so that nothing falls between."""
        if self._inotify is None:
            return False
        try:
            self._inotify.watch(directory)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            raise
        except OSError as fault:
            self._fall_back_to_polling(fault)
            return False
        return True

    def _fall_back_to_polling(self, error: OSError) -> None:
        if not self._inotify_problem:
            self._inotify_problem = str(error)
            log.warning("no directory events (%s): new files are found by looking for them", error)
