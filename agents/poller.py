"""What became of files that are open: grown, named, settled, cut and written anew, unpacked when their turn comes."""

import os

from agents.state.file_registry import Registry
from agents.state.missing_files import Missing
from agents.tailing.container_tail import Tail
from agents.tailing.file_handles import Descriptors
from agents.tailing.log_file import LogFile
from pipeline.config.settings import Settings, open_max_bytes
from pipeline.contract.pod_metadata import Instance

SETTLE_SECONDS = 1.0  # a rotated file may get a last partial this long after its successor exists


class Growth:
    """Looks at the files of a tail, and tells the registry and the missing what it finds."""

    def __init__(self, settings: Settings, descriptors: Descriptors, registry: Registry, missing: Missing) -> None:
        # What is open is not sent before it is known how it goes on: so what is packed must be there before that.
        self._ahead_bytes = open_max_bytes(settings)
        self._descriptors = descriptors
        self._registry = registry
        self._missing = missing

    def look(self, instance: Instance, tail: Tail, now: float) -> int:
        """Take in what the tail's files have grown to at `now`, monotonic seconds; returns the unread bytes."""
        tail.looked = now
        if len(tail.files) == 1 and not tail.ended and self._as_it_was(tail.files[0]):
            tail.quiet = now - tail.files[0].grown
            return max(0, tail.files[0].seen - tail.files[0].position)
        for number, file in enumerate(tail.files):
            live = number == len(tail.files) - 1 and not tail.ended
            modified, size = file.modified, file.size()
            if size != file.seen or (file.modified != modified and not file.packed):
                if file.parked and not self._descriptors.unpark(file):
                    continue
                if (size < file.position and size < file.seen) or (not file.packed and file.rewritten()):
                    self._truncated(instance, tail, number)
                    continue
                file.seen, file.grown = size, now
                self.identify(instance, file)
            if not live and now - file.grown > SETTLE_SECONDS:
                self.identify(instance, file, final=True)
                file.settled = True
        tail.quiet = now - max((file.grown for file in tail.files), default=0.0)
        return tail.unread() if self._unpacked(instance, tail) else 0

    @staticmethod
    def _as_it_was(file: LogFile) -> bool:
        """Whether a file that is read as it lies there was not written since the last look."""
        modified = file.modified
        if not file.packed and file.size() == file.seen and file.modified == modified:
            return True
        file.modified = modified  # the closer look is to see the change too
        return False

    def _unpacked(self, instance: Instance, tail: Tail) -> bool:
        """Unpack the file whose turn comes next, if it is packed; False while it is the first and cannot be."""
        before = 0
        for file in tail.files:
            if file.packed and before <= self._ahead_bytes:
                whole = self._descriptors.unpack(file)
                if whole is False:
                    self._missing.broken(instance, file)
                return whole is not None or before > 0
            before += max(0, file.seen - file.position)
        return True

    def _truncated(self, instance: Instance, tail: Tail, number: int) -> None:
        """The file was cut and is written anew: what stands in it now is another file.

        What was not read of the old one is lost, unless a copy of it turns up (logrotate's copytruncate makes one).
        """
        old = tail.files[number]
        fresh = LogFile(old.path, os.dup(old.descriptor), os.fstat(old.descriptor), old.root, old.rotated)
        if not any(other is not old and other.identity == old.identity for other in tail.files):
            self._missing.truncated(instance, old)
        tail.renew(number, fresh)

    def identify(self, instance: Instance, file: LogFile, *, final: bool = False) -> None:
        """Name the file once its first line is there, and go on where an earlier shipper was acknowledged."""
        if (
            file.identity
            or file.parked
            or not file.name(instance.uid, instance.container, instance.restart, final=final)
        ):
            return
        self._registry.resume(file)
        self._missing.seen(file.identity)
