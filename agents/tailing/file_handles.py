"""Descriptors and scratch space are bounded: what is quiet is parked, what is packed waits for its turn.

A file that was renamed or deleted and is not read to its end is never given up for a descriptor.
"""

import errno
import logging
import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile
from agents.tailing.log_file import LogFile, open_log

RESERVE = 64  # descriptors for sockets, the checkpoint, directories
SCRATCH_MAX_BYTES = 256 << 20

log = logging.getLogger(__name__)


def raise_open_file_limit() -> int:
    """The most log files that may be open: the process's limit, raised as far as it goes, but for a reserve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(RESERVE, (hard if hard != resource.RLIM_INFINITY else 1 << 20) - RESERVE)


class FileHandles:
    """Opens files within a limit. `files`: every file that is held now; `quiet`: whether one may be parked."""

    def __init__(self, scratch: Path, limit: int, files: Callable[[], Iterable[tuple[LogFile, bool]]]) -> None:
        self._scratch = scratch
        self._limit = limit
        self._files = files
        self._open = 0
        self._exhausted = False

    def recount(self) -> None:
        """Count anew what is open."""
        self._open = sum(not (file.suspended or file.closed) for file, _ in self._files())

    def open(self, discovered: DiscoveredFile) -> LogFile:
        """Open a file. Raises OSError; EMFILE when nothing can be parked for it."""
        self._suspend_idle()
        descriptor = open_log(discovered.root, discovered.path)
        self._open += 1
        return LogFile(discovered.path, descriptor, os.fstat(descriptor), discovered.root, discovered.rotated)

    def reopen(self, file: LogFile) -> bool:
        """Open a parked file again; False when that is not possible now."""
        try:
            self._suspend_idle()
            file.reopen()
        except OSError as fault:
            log.debug("parked log file cannot be opened: %s", fault)
            return False
        self._open += 1
        return True

    def _suspend_idle(self) -> None:
        """Park the file that was quiet for longest, where the limit is reached."""
        if self._open < self._limit:
            self._exhausted = False
            return
        quiet = [file for file, may in self._files() if may and not file.suspended]
        if not quiet:
            if not self._exhausted:
                self._exhausted = True
                log.error("no descriptor is left for a log file: raise the limit of open files (now %d)", self._limit)
            raise OSError(errno.EMFILE, "no descriptor is left for a log file")
        quiet.sort(key=lambda file: file.grew_at)
        for file in quiet[: max(1, len(quiet) // 10)]:
            file.suspend()
            self._open -= 1

    def decompress(self, file: LogFile) -> bool | None:
        """Unpack a file whose turn has come: whether its archive was whole; None when there is no space for it now."""
        used = sum(other.scratch_bytes for other, _ in self._files())
        if used and used + file.last_size > SCRATCH_MAX_BYTES:
            return None
        try:
            return file.decompress(self._scratch)
        except OSError as fault:
            log.warning("packed log file cannot be unpacked, tried again: %s", fault)
            return None
