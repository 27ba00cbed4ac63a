"""A directory of log files in the kubelet's layout, by container instance.

A directory contains no labels and annotations. Pod objects (`kubectl get pods -A -o json`) may be given in addition.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from pipeline.config.exclusion import Exclusion
from pipeline.config.settings import ShipperSettings
from pipeline.contract import annotations, pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import CrispError, UsageError
from pipeline.grouping import grouper
from pipeline.operations.audit.log_reader import InstanceLog, OpenFile, open_files

OPEN_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class LogSource:
    """The log of one instance. `excluded_by`: the rule that excludes all of it, empty if none."""

    log: InstanceLog
    excluded_by: str
    labels_known: bool


class LogDirectory:
    """Finds the instances below `root`. `pods`: Pod objects by uid; `size`: bytes of all files."""

    def __init__(self, root: Path, settings: ShipperSettings, pods: dict[str, JsonObject], since: float = 0.0) -> None:
        self._settings = settings
        self._exclusion = Exclusion(settings)
        self._pods = pods
        self._since = since
        self._instances = _find_instance_files(root.resolve())
        self.size = sum(path.stat().st_size for paths in self._instances.values() for path in paths)

    @property
    def pod_uids(self) -> list[str]:
        """The uids of the pods that have logs in the directory."""
        return sorted({instance.uid for instance in self._instances})

    def sources(self) -> Iterator[LogSource]:
        """Yield each instance's log, opened when it is requested."""
        newest: dict[tuple[str, ...], int] = {}
        for instance in sorted(self._instances):
            newest[instance[:4]] = instance.restart
        for instance in sorted(self._instances):
            files = self._open(instance, self._instances[instance])
            if files:
                yield self._make_source(instance, files, ended=newest[instance[:4]] > instance.restart)

    def _make_source(self, instance: Instance, files: list[OpenFile], *, ended: bool) -> LogSource:
        settings = self._settings
        pod, options = self._pods.get(instance.uid), annotations.NO_OPTIONS
        metadata = pod_metadata.from_path(instance, settings.node_name)
        if pod is not None:
            options = self._exclusion.pod_options(pod, instance.container)
            metadata = pod_metadata.from_api(
                instance, settings.node_name, pod, frozenset(settings.annotations), options
            )
        grouping, _ = grouper.requested_grouping(settings.grouping, options.multiline)
        log = InstanceLog(instance, files, grouping, metadata, settings.node_name, ended=ended)
        return LogSource(log, self._exclusion.reason(instance, options), labels_known=pod is not None)

    def _open(self, instance: Instance, paths: list[Path]) -> list[OpenFile]:
        """Open the instance's files. They may be rotated meanwhile: list and open again until the list is stable."""
        for _ in range(OPEN_ATTEMPTS):
            selected = [path for path in paths if _modified_at(path) >= self._since]
            try:
                opened = open_files(selected)
            except FileNotFoundError:
                opened = None
            directory = paths[0].parent
            current = _find_instance_files(directory).get(instance, [])
            if opened is not None and current == paths:
                return opened
            for file in opened or ():
                file.stream.close()
            if not current:
                return []
            paths = current
        raise CrispError(f"{paths[0].parent}: files change faster than they can be opened")


def _modified_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _find_instance_files(root: Path) -> dict[Instance, list[Path]]:
    """Return the files of each instance below `root`, from the oldest to the live one."""
    files: dict[Instance, list[Path]] = {}
    for path in root.rglob("*.log*"):
        instance = pod_metadata.parse_path(str(path))
        if instance is not None and path.is_file() and not path.is_symlink():
            files.setdefault(instance, []).append(path)
    for paths in files.values():
        # Rotated files by their timestamp, the live one last.
        paths.sort(key=lambda path: (path.name.endswith(".log"), path.name))
    return files


def read_pods(path: Path) -> dict[str, JsonObject]:
    """Read Pod objects, by uid, from a JSON file with one Pod or a list. Raises UsageError."""
    try:
        data = orjson.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"--pods {path}: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise UsageError(f"--pods {path}: not JSON: {error}") from error
    try:
        pods = data.get("items", [data])
        return {pod["metadata"]["uid"]: pod for pod in pods}
    except (AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"--pods {path}: no Pod objects, as `kubectl get pods -A -o json` prints them") from error
