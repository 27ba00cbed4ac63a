"""Bounds descriptors and scratch space: idle files are suspended, compressed files wait for their turn.

A renamed or deleted file that is not read to its end is never closed to free a descriptor.
"""

import errno
import logging
import os
import resource
from collections.abc import Callable, Iterable
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile
from agents.state.unreadable_files import UnreadableFiles
from agents.tailing.log_file import LogFile
from agents.tailing.open_file import open_log
from pipeline.contract.pod_metadata import Instance

RESERVE = 64  # descriptors for sockets, the checkpoint, directories
SCRATCH_MAX_BYTES = 256 << 20

log = logging.getLogger(__name__)


def raise_open_file_limit() -> int:
    """Raise RLIMIT_NOFILE to its hard limit; return how many log files may be open: the limit less a reserve."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return max(RESERVE, (hard if hard != resource.RLIM_INFINITY else 1 << 20) - RESERVE)


class FileHandles:
    """Opens files within a limit. `files` yields every open or suspended file, and whether it may be suspended."""

    def __init__(
        self,
        scratch: Path,
        limit: int,
        files: Callable[[], Iterable[tuple[LogFile, bool]]],
        unreadable: UnreadableFiles,
    ) -> None:
        self._scratch = scratch
        self._limit = limit
        self._files = files
        self._unreadable = unreadable
        self._open = 0
        self._exhausted = False

    def recount(self) -> None:
        """Count the open files again."""
        self._open = sum(not (file.suspended or file.closed) for file, _ in self._files())

    @property
    def is_full(self) -> bool:
        """Whether as many files are open as may be."""
        return self._open >= self._limit

    def open(self, discovered: DiscoveredFile) -> LogFile:
        """Open a file. Raises OSError; EMFILE when no other file can be suspended for it."""
        try:
            self._suspend_idle()
            descriptor = open_log(discovered.root, discovered.path)
            status = os.fstat(descriptor)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._unreadable.failed(discovered.instance, discovered.path, error)
            raise
        self._open += 1
        return LogFile(discovered.path, descriptor, status, discovered.root, discovered.rotated)

    def reopen(self, instance: Instance, file: LogFile) -> bool:
        """Open a suspended file again; return False if that fails for now."""
        try:
            self._suspend_idle()
            file.reopen()
        except FileNotFoundError:
            return False
        except OSError as error:
            self._unreadable.failed(instance, file.path, error)
            return False
        self._unreadable.succeeded(file.path)
        self._open += 1
        return True

    def _suspend_idle(self) -> None:
        """Suspend a tenth of the idle files, the longest idle first, if the limit is reached."""
        if self._open < self._limit:
            self._exhausted = False
            return
        idle = [file for file, suspendable in self._files() if suspendable and not file.suspended]
        if not idle:
            if not self._exhausted:
                self._exhausted = True
                log.error("open-file limit reached (%d): raise RLIMIT_NOFILE", self._limit)
            raise OSError(errno.EMFILE, "open-file limit reached")
        idle.sort(key=lambda file: file.grew_at)
        for file in idle[: max(1, len(idle) // 10)]:
            file.suspend()
            self._open -= 1

    def decompress(self, instance: Instance, file: LogFile) -> bool | None:
        """Decompress a file; return whether its archive was intact, None if there is no scratch space for now."""
        used = sum(other.scratch_bytes for other, _ in self._files())
        if used and used + file.last_size > SCRATCH_MAX_BYTES:
            return None
        try:
            complete = file.decompress(self._scratch)
        except OSError as error:
            self._unreadable.failed(instance, file.path, error)
            return None
        self._unreadable.succeeded(file.path)
        return complete
