"""Files that should exist and are missing: suspects until it is certain that they are lost.

A missing file may only have been renamed, compressed or copied. It counts as lost when every file of its container is
open, and none of them is it, for RENAME_GRACE_SECONDS: a directory is listed first, then its files are opened, so a
file that is renamed in between is under neither of its names.
"""

from collections.abc import Callable, Collection, Mapping, Set
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile
from agents.state import losses
from agents.state.checkpoint import ContainerIdentity, State
from agents.state.losses import Loss, LossTracker
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract import gap, record
from pipeline.contract.pod_metadata import Instance

RENAME_GRACE_SECONDS = 1.0

Inode = tuple[int, int]


class MissingFileTracker:
    """Detects losses. `state`: the checkpoint of an earlier shipper, None for the first shipper of this node."""

    def __init__(self, loss_tracker: LossTracker, state: State | None, logs_dir: str) -> None:
        self._losses = loss_tracker
        self._logs_dir = logs_dir
        self._first_scan = state is None  # restarts before the first shipper are no losses
        self._suspects: dict[str, Loss] = {}
        self._absent_since: dict[str, float] = {}  # since when the open files do not include it
        self._open_failures: dict[Inode, DiscoveredFile] = {}
        self._previous_open_failures: dict[Inode, DiscoveredFile] = {}
        self.newest_restarts: dict[ContainerIdentity, int] = dict(state.newest_restarts) if state else {}
        for entry in state.entries if state else ():
            if entry.lost_reason:
                self._losses.record(losses.from_entry(entry, entry.lost_reason))
            elif not entry.done:
                self._suspects[entry.identity] = losses.from_entry(entry, gap.VANISHED_FILE)

    def begin_scan(self, instances: Collection[Instance]) -> None:
        """Start a scan that discovered files of these instances."""
        self._previous_open_failures, self._open_failures = self._open_failures, {}
        for instance in sorted(instances):
            self._check_restarts(instance)
        self._first_scan = False

    def _check_restarts(self, instance: Instance) -> None:
        """Record the newest restart of a container; a skipped restart number is a loss: it came and went unread."""
        container = instance[:4]
        before = self.newest_restarts.get(container, instance.restart - 1 if self._first_scan else -1)
        if instance.restart > before + 1:
            missed = instance._replace(restart=before + 1)
            identity = record.identity(missed.uid, missed.container, missed.restart, b"")
            path = Path(self._logs_dir, "_".join(missed[:3]), missed.container, f"{missed.restart}.log")
            self._losses.record(Loss(identity, missed, str(path), gap.RESTART_JUMP, ByteRanges(), None))
        self.newest_restarts[container] = max(before, instance.restart)

    def open_failed(self, discovered: DiscoveredFile) -> None:
        """Record a file that exists but cannot be opened now."""
        self._open_failures[discovered.inode] = discovered

    def mark_present(self, identity: str) -> None:
        """Clear a suspect: its file is present."""
        self._suspects.pop(identity, None)
        self._absent_since.pop(identity, None)

    def truncated(self, instance: Instance, file: LogFile, modified: int) -> None:
        """Suspect a file truncated at `modified` (mtime, ns): its unread bytes are lost unless a copy appears."""
        if file.identity and file.acked.unacked_bytes(file.last_size):
            self._suspects[file.identity] = Loss(
                identity=file.identity,
                instance=instance,
                path=str(file.path),
                reason=gap.TRUNCATED_FILE,
                acked=file.acked,
                size=file.last_size,
                position=file.position,
                until=modified,
                random_identity=file.random_identity,
            )

    def archive_corrupt(self, instance: Instance, file: LogFile) -> None:
        """Record a corrupt compressed file: the bytes after the error cannot be read."""
        seed = file.identity.encode() or f"{file.device} {file.inode} {file.modified}".encode()
        identity = record.identity(instance.uid, instance.container, instance.restart, b"broken " + seed)
        end = file.last_size
        self._losses.record(
            Loss(
                identity, instance, str(file.path), gap.CORRUPT_ARCHIVE, ByteRanges(end), None, end, until=file.modified
            )
        )

    def resolve(
        self,
        discovered: list[DiscoveredFile],
        tails: Mapping[Instance, ContainerTail],
        excluded: Set[Instance],
        known_identities: Collection[str],
        pod_ended: Callable[[Instance], bool],
        unreadable: Collection[str],
        now: float,
    ) -> None:
        """Record the suspects that are lost, except those under an unreadable path.

        `known_identities`: of earlier files; `pod_ended`: whether the pod has terminated; `now`: monotonic seconds.
        """
        self._resolve_open_failures(discovered, unreadable)
        waiting = {file.instance for file in self._open_failures.values()} | excluded
        for identity, loss in list(self._suspects.items()):
            if loss.instance in waiting or is_unreadable(loss.path, unreadable):
                self._absent_since.pop(identity, None)
                continue
            files = tails[loss.instance].files if loss.instance in tails else []
            if any(file.identity == identity for file in files):
                self.mark_present(identity)
                continue
            if any(not file.identity and file.size() for file in files):
                self._absent_since.pop(identity, None)
                continue  # its first line is incomplete: it may be this file
            if now - self._absent_since.setdefault(identity, now) <= RENAME_GRACE_SECONDS:
                continue
            self.mark_present(identity)
            if loss.size is None and pod_ended(loss.instance):
                continue  # the pod has terminated: everything was read
            if loss.random_identity and any(
                file.random_identity and file.identity not in known_identities for file in files
            ):
                continue  # it was copied or compressed, and is read again as a file of its own
            self._losses.record(loss)

    def _resolve_open_failures(self, discovered: list[DiscoveredFile], unreadable: Collection[str]) -> None:
        """Record files that could not be opened before, and do not exist any more, not even compressed."""
        if not self._previous_open_failures:
            return
        inodes = {file.inode for file in discovered}
        paths = {str(file.path) for file in discovered}
        for inode, file in self._previous_open_failures.items():
            if inode in inodes or f"{file.path}.gz" in paths:
                continue
            if is_unreadable(str(file.path), unreadable):
                self._open_failures[inode] = file
                continue
            instance, status = file.instance, file.status
            seed = b"inode %d %d %d" % (*inode, status.st_ctime_ns)
            identity = record.identity(instance.uid, instance.container, instance.restart, seed)
            size, until = status.st_size or None, status.st_mtime_ns
            self._losses.record(
                Loss(identity, instance, str(file.path), gap.VANISHED_FILE, ByteRanges(), size, until=until)
            )

    @property
    def has_suspects(self) -> bool:
        """Whether a missing file will soon count as lost."""
        return bool(self._absent_since)

    def instances(self) -> set[Instance]:
        """Return the containers of the suspects."""
        return {loss.instance for loss in self._suspects.values()}

    def prune(self, kept: Collection[ContainerIdentity]) -> None:
        """Drop containers that no longer exist."""
        self.newest_restarts = {
            container: newest for container, newest in self.newest_restarts.items() if container in kept
        }


def is_unreadable(path: str, unreadable: Collection[str]) -> bool:
    """Return whether a path is, or is below, an unreadable one: then its absence proves nothing."""
    return any(path == parent or path.startswith(f"{parent}/") for parent in unreadable)
