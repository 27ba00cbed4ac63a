"""A directory of log files in the kubelet's layout, container instance by container instance.

A directory does not tell labels and annotations. Pod objects (`kubectl get pods -A -o json`) may be given beside it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import Settings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import CrispError, UsageError
from pipeline.grouping import grouper
from pipeline.operations.audit.log_reader import InstanceLog, OpenFile, open_files

OPEN_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class LogSource:
    """One instance's log, and the rule that keeps all of it out, if any; `told` if its pod's labels are known."""

    log: InstanceLog
    excluded_by: str
    labels_known: bool


class LogDirectory:
    """Finds the instances; `size` is the bytes of all files, `pods` are Pod objects by uid."""

    def __init__(self, root: Path, settings: Settings, pods: dict[str, dict[str, Any]], since: float = 0.0) -> None:
        self._settings = settings
        self._exclusion = Exclusion(settings)
        self._pods = pods
        self._since = since
        self._instances = _find_instance_files(root.resolve())
        self.size = sum(path.stat().st_size for paths in self._instances.values() for path in paths)

    @property
    def pod_uids(self) -> list[str]:
        """The pods that have logs here."""
        return sorted({instance.uid for instance in self._instances})

    def sources(self) -> Iterator[LogSource]:
        """Each instance's log, opened when it is asked for."""
        newest: dict[tuple[str, ...], int] = {}
        for instance in sorted(self._instances):
            newest[instance[:4]] = instance.restart
        for instance in sorted(self._instances):
            opened = self._open(instance, self._instances[instance])
            if opened:
                yield self._make_source(instance, opened, ended=newest[instance[:4]] > instance.restart)

    def _make_source(self, instance: Instance, opened: list[OpenFile], *, ended: bool) -> LogSource:
        settings = self._settings
        found, wish = self._pods.get(instance.uid), annotations.NO_OPTIONS
        about = pod_metadata.from_path(instance, settings.node_name)
        if found is not None:
            wish = self._exclusion.pod_options(found, instance.container)
            about = pod_metadata.from_api(
                instance, settings.node_name, found, frozenset(settings.annotations.split()), wish
            )
        mode, _ = grouper.requested_grouping(settings.grouping, wish.multiline)
        log = InstanceLog(instance, opened, mode, about, settings.node_name, ended=ended)
        return LogSource(log, self._exclusion.reason(instance, wish), labels_known=found is not None)

    def _open(self, instance: Instance, paths: list[Path]) -> list[OpenFile]:
        """The files as they are now: while they are rotated, they are listed again until a listing holds."""
        for _ in range(OPEN_ATTEMPTS):
            wanted = [path for path in paths if _modified_at(path) >= self._since]
            try:
                opened = open_files(wanted)
            except FileNotFoundError:
                opened = None
            directory = paths[0].parent
            again = _find_instance_files(directory).get(instance, [])
            if opened is not None and again == paths:
                return opened
            for file in opened or ():
                file.stream.close()
            if not again:
                return []
            paths = again
        raise CrispError(f"{paths[0].parent}: its files change faster than they can be opened")


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _find_instance_files(root: Path) -> dict[Instance, list[Path]]:
    """The files of each instance below, from the oldest to the live one."""
    files: dict[Instance, list[Path]] = {}
    for path in root.rglob("*.log*"):
        instance = pod_metadata.parse_path(str(path))
        if instance is not None and path.is_file() and not path.is_symlink():
            files.setdefault(instance, []).append(path)
    for paths in files.values():
        # Rotated files by their time stamp, the live one last.
        paths.sort(key=lambda path: (path.name.endswith(".log"), path.name))
    return files


def read_pods(path: Path) -> dict[str, dict[str, Any]]:
    """Pod objects by uid, from a file that has one of them or a list. Raises CrispError."""
    try:
        found = orjson.loads(path.read_bytes())
        pods = found.get("items", [found])
        return {one["metadata"]["uid"]: one for one in pods}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as fault:
        raise UsageError(f"--pods {path}: no Pod objects in JSON: {fault!r}") from fault
