"""The log files that could not be opened or read at the last try."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from agents.discovery.directory_cache import os_reason
from agents.tailing.log_file import LogFile
from pipeline.contract.pod_metadata import Instance

log = logging.getLogger(__name__)


class UnreadableFiles:
    """Call `failed` or `succeeded` after each try, `prune` after each scan."""

    def __init__(self) -> None:
        self.entries: dict[Path, tuple[Instance, str]] = {}  # container and reason by path

    def failed(self, instance: Instance, path: Path, error: OSError) -> None:
        """Note a file that cannot be opened or read for now; each reason is logged once."""
        entry = instance, os_reason(error)
        if self.entries.get(path) != entry:
            self.entries[path] = entry
            log.error("cannot read log file, retrying: %s: %s", path, entry[1])

    def succeeded(self, path: Path) -> None:
        """Note a file that was opened and read."""
        if path in self.entries:
            del self.entries[path]
            log.info("log file can be read again: %s", path)

    def read_failed(self, instance: Instance, files: Sequence[LogFile], error: OSError) -> None:
        """Note an error of one of a container's open files; it is the one that cannot be read now."""
        self.failed(instance, next((file.path for file in files if not file.is_readable()), files[-1].path), error)

    def read_succeeded(self, files: Sequence[LogFile]) -> None:
        """Note that a container's open files were read."""
        if self.entries:
            for file in files:
                if file.path in self.entries and not file.compressed and file.is_readable():
                    self.succeeded(file.path)

    def prune(self, paths: Callable[[], set[Path]]) -> None:
        """Drop the files that no longer exist; `paths` returns those that do."""
        if self.entries:
            existing = paths()
            self.entries = {path: entry for path, entry in self.entries.items() if path in existing}
