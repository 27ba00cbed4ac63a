"""Poll open files: detect growth and truncation, identify and finalise files, decompress archives in turn."""

from agents.state.file_registry import FileRegistry
from agents.state.missing_files import MissingFileTracker
from agents.tailing.container_tail import ContainerTail
from agents.tailing.file_handles import FileHandles
from agents.tailing.log_file import LogFile
from pipeline.config.settings import KafkaSettings
from pipeline.contract.pod_metadata import Instance

FINALISE_SECONDS = 1.0  # a rotated file may get a last partial this long after its successor exists


class FilePoller:
    """Polls the files of a tail, and updates the file registry and the missing files."""

    def __init__(
        self,
        settings: KafkaSettings,
        file_handles: FileHandles,
        registry: FileRegistry,
        missing_files: MissingFileTracker,
    ) -> None:
        # An open event waits for the lines after it: so an archive behind it must be decompressed before that.
        self._decompress_ahead_bytes = settings.buffer_max_bytes
        self._file_handles = file_handles
        self._registry = registry
        self._missing_files = missing_files

    def poll(self, instance: Instance, tail: ContainerTail, now: float) -> int:
        """Update the sizes of the tail's files at `now`, monotonic seconds; return the backlog in bytes."""
        files = tail.files
        if len(files) == 1 and not tail.ended and files[0].is_unchanged():
            tail.observe(now)
            return files[0].backlog_bytes()
        for number, file in enumerate(files):
            live = number == len(files) - 1 and not tail.ended
            if not live:
                file.note_successor(now)
            if self._poll_file(instance, tail, file, now) and not live and now - file.grew_at > FINALISE_SECONDS:
                self.identify(instance, file, final=True)
                file.finalise()
        tail.observe(now)
        return tail.backlog_bytes() if self._decompress_next(instance, tail) else 0

    def _poll_file(self, instance: Instance, tail: ContainerTail, file: LogFile, now: float) -> bool:
        """Update the size of a file; return False if it was truncated, or cannot be opened again for now."""
        size, modified = file.status()
        if (size, modified) == (file.last_size, file.modified):
            return True
        if file.suspended and not self._file_handles.reopen(instance, file):
            return False
        if (size < file.position and size < file.last_size) or (not file.compressed and file.was_truncated()):
            self._replace_truncated(instance, tail, file, modified)
            return False
        file.observe(size, modified, now)
        self.identify(instance, file)
        return True

    def _decompress_next(self, instance: Instance, tail: ContainerTail) -> bool:
        """Decompress the next archive in turn; return False while it is first and cannot be decompressed."""
        backlog = 0
        for file in tail.files:
            if file.compressed and backlog <= self._decompress_ahead_bytes:
                complete = self._file_handles.decompress(instance, file)
                if complete is False:
                    self._missing_files.archive_corrupt(instance, file)
                return complete is not None or backlog > 0
            backlog += file.backlog_bytes()
        return True

    def _replace_truncated(self, instance: Instance, tail: ContainerTail, old: LogFile, modified: int) -> None:
        """Replace a truncated file by a new one in the same inode.

        The unread bytes of the old one are lost, unless a copy is discovered (logrotate's copytruncate makes one).
        """
        if not any(other is not old and other.identity == old.identity for other in tail.files):
            self._missing_files.truncated(instance, old, modified)
        tail.replace(old, old.restart())

    def identify(self, instance: Instance, file: LogFile, *, final: bool = False) -> None:
        """Identify the file by its first line, and resume after the bytes that were acknowledged earlier."""
        if (
            file.identity
            or file.suspended
            or not file.identify(instance.uid, instance.container, instance.restart, final=final)
        ):
            return
        self._registry.resume(file)
        self._missing_files.mark_present(file.identity)
