"""Log files that are held open before the shipper may read them: what is deleted until then is not lost.

Another shipper of the node may still run, in a rollout: then this one waits for the state directory. The files that
exist at the end are opened as always; of those held here only the deleted ones are read.
"""

import logging
import os

from agents.discovery.scanner import DiscoveredFile, Inode
from agents.tailing.open_file import open_log

RELEASE_SECONDS = 120.0
"""After its deletion a file is released: the other shipper goes on, and has long read it."""
MAX_FILES = 10_000

log = logging.getLogger(__name__)


class StandbyFiles:
    """Call `hold` with each scan, `take_deleted` at the end; `close` releases what is left."""

    def __init__(self, limit: int) -> None:
        self._limit = min(limit, MAX_FILES)
        self._held: dict[Inode, tuple[DiscoveredFile, int]] = {}
        self._deleted_at: dict[Inode, float] = {}  # monotonic

    def hold(self, files: list[DiscoveredFile], now: float) -> None:
        """Open the new files of a scan at `now`, monotonic seconds; release those that were deleted long ago."""
        listed = {file.inode: file for file in files}
        for inode in self._held.keys() - listed.keys():
            if now - self._deleted_at.setdefault(inode, now) > RELEASE_SECONDS:
                self._release(inode)
        for inode, file in listed.items():
            self._deleted_at.pop(inode, None)
            if inode in self._held:
                self._held[inode] = file, self._held[inode][1]
            elif len(self._held) < self._limit:
                self._open(file)

    def _open(self, file: DiscoveredFile) -> None:
        try:
            descriptor = open_log(file.root, file.path)
        except OSError as error:
            log.debug("cannot be held open, the shipper will try and report it: %s: %s", file.path, error)
            return
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) == file.inode:
            self._held[file.inode] = file, descriptor
        else:
            os.close(descriptor)  # the path names another file by now: the next scan lists it

    def _release(self, inode: Inode) -> None:
        os.close(self._held.pop(inode)[1])
        self._deleted_at.pop(inode, None)

    def take_deleted(self, files: list[DiscoveredFile], now: float) -> list[tuple[DiscoveredFile, int]]:
        """Return the held files that the last scan does not list, with descriptors, which the caller owns.

        Those of a container are in the order of writing: rotated ones by their names, then the live one.
        """
        if self._held:
            self.hold(files, now)
        deleted = [self._held.pop(inode) for inode in self._deleted_at]
        self._deleted_at.clear()
        return sorted(deleted, key=lambda held: (held[0].instance, held[0].rotated or "~"))

    def take(self, inode: Inode) -> int | None:
        """Return the descriptor of a held file, which the caller owns; None if it is not held."""
        self._deleted_at.pop(inode, None)
        return self._held.pop(inode)[1] if inode in self._held else None

    def uids(self) -> set[str]:
        """Return the uids of the pods of the held files."""
        return {file.instance.uid for file, _ in self._held.values()}

    def close(self) -> None:
        """Close all descriptors. Idempotent."""
        for inode in list(self._held):
            self._release(inode)
