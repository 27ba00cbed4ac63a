"""The log files that could not be opened or read at the last try."""

import logging
from collections.abc import Callable
from pathlib import Path

from agents.discovery.directory_cache import os_reason
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

    def prune(self, paths: Callable[[], set[Path]]) -> None:
        """Drop the files that no longer exist; `paths` returns those that do."""
        if self.entries:
            existing = paths()
            self.entries = {path: entry for path, entry in self.entries.items() if path in existing}
