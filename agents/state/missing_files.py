"""Files that should be there and are not found: under suspicion until it is sure that they are lost.

A file may only have been renamed, packed or copied; so it is judged when every file of its container is open, and
none of them is it, for a while: a directory is listed, then its files are opened, and what is renamed in between is
found under neither of its names.
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
    """Notes losses. `state` is what an earlier shipper remembered, None for the first one of this node."""

    def __init__(self, loss_tracker: LossTracker, state: State | None, logs_dir: str) -> None:
        self._losses = loss_tracker
        self._logs_dir = logs_dir
        self._first_scan = state is None  # what was there before the first look of all is not missed by anybody
        self._suspects: dict[str, Loss] = {}
        self._absent_since: dict[str, float] = {}  # since when every file of its container is open, and none is it
        self._open_failures: dict[Inode, DiscoveredFile] = {}
        self._previous_open_failures: dict[Inode, DiscoveredFile] = {}
        self.newest_restarts: dict[ContainerIdentity, int] = dict(state.newest_restarts) if state else {}
        for entry in state.entries if state else ():
            if entry.lost_reason:
                self._losses.record(losses.from_entry(entry, entry.lost_reason))
            elif not entry.done:
                self._suspects[entry.identity] = losses.from_entry(entry, gap.VANISHED_FILE)

    def begin_scan(self, instances: Collection[Instance]) -> None:
        """A look has found files of these instances."""
        self._previous_open_failures, self._open_failures = self._open_failures, {}
        for instance in sorted(instances):
            self._check_restarts(instance)
        self._first_scan = False

    def _check_restarts(self, instance: Instance) -> None:
        """Note the newest restart of each container; one that was left out in between came and went unseen."""
        container = instance[:4]
        before = self.newest_restarts.get(container, instance.restart - 1 if self._first_scan else -1)
        if instance.restart > before + 1:
            missed = instance._replace(restart=before + 1)
            identity = record.identity(missed.uid, missed.container, missed.restart, b"")
            path = Path(self._logs_dir, "_".join(missed[:3]), missed.container, f"{missed.restart}.log")
            self._losses.record(Loss(identity, missed, str(path), gap.RESTART_JUMP, ByteRanges(), None))
        self.newest_restarts[container] = max(before, instance.restart)

    def open_failed(self, discovered: DiscoveredFile) -> None:
        """A file is there and cannot be opened now."""
        self._open_failures[discovered.inode] = discovered

    def mark_present(self, identity: str) -> None:
        """A file has turned up."""
        self._suspects.pop(identity, None)
        self._absent_since.pop(identity, None)

    def truncated(self, instance: Instance, file: LogFile) -> None:
        """A file was cut and is written anew. What was not read is lost, unless a copy of it turns up."""
        if file.identity and file.acked.unacked_bytes(file.last_size):
            self._suspects[file.identity] = Loss(
                identity=file.identity,
                instance=instance,
                path=str(file.path),
                reason=gap.TRUNCATED_FILE,
                acked=file.acked,
                size=file.last_size,
                position=file.position,
                until=file.modified,
                random_identity=file.random_identity,
            )

    def archive_corrupt(self, instance: Instance, file: LogFile) -> None:
        """A packed file breaks off: what stands behind the fault cannot be read."""
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
        """Say what is lost, but for what lies in a place that cannot be looked at.

        `known`: identities from before; `now`: monotonic seconds.
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
                continue  # a torn first line: it may be this one's, once nothing more comes
            if now - self._absent_since.setdefault(identity, now) <= RENAME_GRACE_SECONDS:
                continue
            self.mark_present(identity)
            if loss.size is None and pod_ended(loss.instance):
                continue  # the pod had come to its end: what was read was all
            if loss.random_identity and any(
                file.random_identity and file.identity not in known_identities for file in files
            ):
                continue  # it was copied or packed, and is read again as a file of its own
            self._losses.record(loss)

    def _resolve_open_failures(self, discovered: list[DiscoveredFile], unreadable: Collection[str]) -> None:
        """Files that could not be opened before, and are nowhere now, not even packed."""
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
        """Whether it will soon be known of a file that it is lost."""
        return bool(self._absent_since)

    def instances(self) -> set[Instance]:
        """Those of which something is under suspicion."""
        return {loss.instance for loss in self._suspects.values()}

    def prune(self, kept: Collection[ContainerIdentity]) -> None:
        """Drop what is known of containers that are gone."""
        self.newest_restarts = {
            container: newest for container, newest in self.newest_restarts.items() if container in kept
        }


def is_unreadable(path: str, unreadable: Collection[str]) -> bool:
    """Whether a path lies in a place that cannot be looked at now: then it is not gone."""
    return any(path == place or path.startswith(f"{place}/") for place in unreadable)
