"""Files that should exist and are missing: suspects until it is certain that they are lost.

A missing file may only have been renamed, compressed or copied. It counts as lost when every file of its container is
open, and none of them is it, for RENAME_GRACE_SECONDS: a directory is listed first, then its files are opened, so a
file that is renamed in between is under neither of its names.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile, Inode, Scan
from agents.state import losses
from agents.state.checkpoint import ContainerIdentity, State
from agents.state.file_registry import FileRegistry
from agents.state.losses import Loss, LossTracker
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract import gap, record
from pipeline.contract.pod_metadata import Instance

RENAME_GRACE_SECONDS = 1.0
MAX_REMEMBERED = 1000  # containers without logs whose restart number is known


class Verdict(enum.Enum):
    """What is known of a missing file."""

    UNKNOWN = "it may exist: not every file of its container could be opened and identified"
    PRESENT = "it is open"
    ABSENT = "it is not open, but may be about to be renamed"
    REIDENTIFIED = "it was copied or compressed, and is read again as a file of its own"
    LOST = "it is gone, with unread bytes"


class MissingFileTracker:
    """Detects losses. Call `note_restarts` at the start of a scan, `resolve` at its end."""

    def __init__(self, loss_tracker: LossTracker, logs_dir: str) -> None:
        self._losses = loss_tracker
        self._logs_dir = logs_dir
        self._first_scan = True  # of this node: restarts before the first shipper are no losses
        self._suspects: dict[str, Loss] = {}
        self._absent_since: dict[str, float] = {}  # since when the open files do not include it
        self._unopened: dict[Inode, DiscoveredFile] = {}  # files of the last scan that could not be opened
        self.newest_restarts: dict[ContainerIdentity, int] = {}

    def restore(self, state: State) -> None:
        """Suspect every file of an earlier shipper's checkpoint that was not read to its end."""
        self._first_scan = False
        self.newest_restarts = dict(state.newest_restarts)
        for entry in state.entries:
            if entry.lost_reason:
                self._losses.record(losses.from_entry(entry, entry.lost_reason))
            elif not entry.done:
                self._suspects[entry.identity] = losses.from_entry(entry, gap.VANISHED_FILE)

    def note_restarts(self, instances: Collection[Instance]) -> None:
        """Note the restarts of the containers that a scan discovered."""
        for instance in sorted(instances):
            self._check_restarts(instance)
        self._first_scan = False

    def _check_restarts(self, instance: Instance) -> None:
        """Record the newest restart of a container; a skipped restart number is a loss: it came and went unread."""
        container = instance[:4]
        before = self.newest_restarts.get(container, instance.restart - 1 if self._first_scan else -1)
        if instance.restart > before + 1:
            self._record_missed(instance._replace(restart=before + 1), gap.RESTART_JUMP)
        self.newest_restarts[container] = max(before, instance.restart)

    def note_unseen(self, instance: Instance) -> None:
        """Record that a pod came and went while no shipper ran, unless the log of this instance was discovered.

        `instance` has the newest restart number. How much was written is unknown.
        """
        before = self.newest_restarts.get(instance[:4], -1)
        if instance.restart > before:
            self._record_missed(instance._replace(restart=before + 1), gap.VANISHED_FILE)
            self.newest_restarts[instance[:4]] = instance.restart

    def _record_missed(self, missed: Instance, reason: str) -> None:
        identity = record.identity(missed.uid, missed.container, missed.restart, b"")
        path = Path(self._logs_dir, "_".join(missed[:3]), missed.container, f"{missed.restart}.log")
        self._losses.record(Loss(identity, missed, str(path), reason, ByteRanges(), None))

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
        scan: Scan,
        tails: Mapping[Instance, ContainerTail],
        unopened: Iterable[DiscoveredFile],
        excluded: Set[Instance],
        registry: FileRegistry,
    ) -> dict[str, Verdict]:
        """Record the losses that a scan proves; return the verdict on each suspect, by identity.

        `unopened`: files that exist but could not be opened; `registry`: the earlier files.
        """
        self._resolve_unopened(scan, unopened, registry)
        waiting = {file.instance for file in self._unopened.values()} | excluded
        verdicts = {}
        for identity, loss in list(self._suspects.items()):
            files = tails[loss.instance].files if loss.instance in tails else ()
            if loss.instance in waiting or scan.is_unreadable(loss.path):
                verdict = Verdict.UNKNOWN
            else:
                verdict = _judge(loss, files, registry.identities)
            verdicts[identity] = self._apply(loss, verdict, scan.now)
        return verdicts

    def _apply(self, loss: Loss, verdict: Verdict, now: float) -> Verdict:
        """Apply the verdict on a suspect at `now`; return it, ABSENT while the file may still be renamed."""
        if verdict is Verdict.UNKNOWN:
            self._absent_since.pop(loss.identity, None)
            return verdict
        if verdict is not Verdict.PRESENT:
            absent_seconds = now - self._absent_since.setdefault(loss.identity, now)
            if absent_seconds <= RENAME_GRACE_SECONDS:
                return Verdict.ABSENT
        self.mark_present(loss.identity)
        if verdict is Verdict.LOST:
            self._losses.record(loss)
        return verdict

    def _resolve_unopened(self, scan: Scan, unopened: Iterable[DiscoveredFile], registry: FileRegistry) -> None:
        """Record files that could not be opened before, and do not exist any more, not even compressed.

        Those that the checkpoint has are not new: they were read to their end, or are suspects themselves.
        """
        previous, self._unopened = self._unopened, {file.inode: file for file in unopened}
        if not previous:
            return
        paths = {str(file.path) for file in scan.files}
        for inode, file in previous.items():
            if inode in scan.inodes or f"{file.path}.gz" in paths or registry.is_known(file):
                continue
            if scan.is_unreadable(file.path):
                self._unopened[inode] = file
                continue
            instance, status = file.instance, file.status
            seed = b"inode %d %d %d" % (*inode, status.st_ctime_ns)
            identity = record.identity(instance.uid, instance.container, instance.restart, seed)
            size, until = status.st_size or None, status.st_mtime_ns
            self._losses.record(
                Loss(identity, instance, str(file.path), gap.VANISHED_FILE, ByteRanges(), size, until=until)
            )

    @property
    def unopened(self) -> list[DiscoveredFile]:
        """The files of the last scan that could not be opened."""
        return list(self._unopened.values())

    def mark_opened(self, inode: Inode) -> None:
        """Clear a file that could not be opened: it is open now, by a descriptor from before."""
        self._unopened.pop(inode, None)

    @property
    def has_suspects(self) -> bool:
        """Whether a missing file will soon count as lost."""
        return bool(self._absent_since)

    def instances(self) -> set[Instance]:
        """Return the containers of the suspects."""
        return {loss.instance for loss in self._suspects.values()}

    def prune(self, kept: Collection[ContainerIdentity]) -> None:
        """Drop containers without logs, but the last MAX_REMEMBERED of them: a cleaned directory may get logs again."""
        gone = [container for container in self.newest_restarts if container not in kept]
        for container in gone[:-MAX_REMEMBERED]:
            del self.newest_restarts[container]


def _judge(loss: Loss, files: Sequence[LogFile], known_identities: Collection[str]) -> Verdict:
    """Judge a suspect by the open files of its container."""
    if any(file.identity == loss.identity for file in files):
        return Verdict.PRESENT
    if any(not file.identity and file.size() for file in files):
        return Verdict.UNKNOWN  # the first line of a file is incomplete: it may be this one
    if loss.random_identity and any(file.random_identity and file.identity not in known_identities for file in files):
        return Verdict.REIDENTIFIED
    return Verdict.LOST
