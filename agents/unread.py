"""What should be read and cannot: log directories, log files; and how long no container has been seen."""

from collections.abc import Mapping
from pathlib import PurePath

from agents.containers import ContainerLogs
from agents.discovery.directory_cache import UnreadPath
from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import ShipperSettings
from pipeline.contract import pod_metadata
from pipeline.contract.annotations import NO_OPTIONS
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.shipper_status import UnreadableDirectory, UnreadableFile, UnreadLogs

MAX_LISTED = 20


class UnreadLogTracker:
    """Call `update` after each scan; `current` is what it found."""

    def __init__(self, settings: ShipperSettings, metrics: Metrics) -> None:
        self.current = UnreadLogs((), 0, (), 0, 0.0)
        self._exclusion = Exclusion(settings)
        self._metrics = metrics
        self._seen_at: float | None = None  # monotonic time of the last scan with a container, or of the first one

    def update(self, unread: Mapping[str, UnreadPath], containers: ContainerLogs, now: float) -> None:
        """Note what a scan at `now`, monotonic seconds, found but cannot read, and set the gauges."""
        directories = []
        files = [_file(instance, str(path), why) for path, (instance, why) in containers.unreadable.entries.items()]
        for path, (reason, is_directory) in unread.items():
            instance = _instance(path)
            if instance is not None and self._exclusion.reason(instance, NO_OPTIONS):
                continue
            if is_directory:
                directories.append(UnreadableDirectory(path, reason))
            else:
                files.append(_file(instance or Instance("", "", "", "", 0), path, reason))
        if self._seen_at is None or containers.tails or containers.excluded:
            self._seen_at = now
        self.current = UnreadLogs(
            tuple(sorted(directories, key=lambda entry: entry.path)[:MAX_LISTED]),
            len(directories),
            tuple(sorted(files, key=lambda entry: entry.path)[:MAX_LISTED]),
            len(files),
            now - self._seen_at,
        )
        self._metrics.set("crisp_shipper_unreadable_directories", len(directories))
        self._metrics.set("crisp_shipper_unreadable_files", len(files))
        self._metrics.set("crisp_shipper_no_containers_seconds", now - self._seen_at)


def _file(instance: Instance, path: str, reason: str) -> UnreadableFile:
    return UnreadableFile(instance.namespace, instance.pod, instance.container, path, reason)


def _instance(path: str) -> Instance | None:
    """Return the container of a path in the kubelet's layout, without its restart number; None for another path."""
    parts = PurePath(path).parts
    for number, part in enumerate(parts):
        match = pod_metadata.POD_DIRECTORY.fullmatch(part)
        if match is not None:
            container = parts[number + 1] if number + 1 < len(parts) else ""
            return Instance(match[1], match[2], match[3], container, 0)
    return None
