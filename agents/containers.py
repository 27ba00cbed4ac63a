"""The logs of all container instances of the node: the open files of each, and the state for the checkpoint."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile, Scan
from agents.kubernetes.container_policy import ContainerPolicy
from agents.kubernetes.pod_watch import PodWatch
from agents.poller import FilePoller
from agents.state import file_registry, losses
from agents.state.checkpoint import State
from agents.state.file_registry import FileRegistry
from agents.state.losses import Loss, LossTracker
from agents.state.missing_files import MissingFileTracker
from agents.state.unreadable_files import UnreadableFiles
from agents.state.unwatched_rotations import UnwatchedRotations
from agents.tailing import disk_limit
from agents.tailing.container_tail import ContainerTail, MetadataState
from agents.tailing.file_handles import FileHandles, raise_open_file_limit
from agents.tailing.log_file import LogFile
from agents.tailing.open_file import file_signature
from agents.tailing.pending_slice import PendingSlice
from pipeline.config.settings import ShipperSettings
from pipeline.contract import gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metric_table import SHIPPER
from pipeline.monitoring.metrics import Metrics

log = logging.getLogger(__name__)

HOLD_SECONDS = 30.0  # how long a file that lost its name, or its place, is held; the kubelet rotates logs every 10 s
HELD_FILES = 2  # finished files of a container: a runtime writes to one file only, and a log may be rotated while empty


class ContainerLogs:
    """The tails of a node. `update` applies a scan; `poll` reads the sizes of a tail's open files."""

    def __init__(self, settings: ShipperSettings, pods: PodWatch | None = None, metrics: Metrics | None = None) -> None:
        self.tails: dict[Instance, ContainerTail] = {}
        self._metrics = metrics or Metrics(SHIPPER)
        self.losses = LossTracker(self._metrics)
        self.excluded: dict[Instance, str] = {}  # instances that are not read, and why
        self.deleted_bytes = 0  # disk space of deleted files that are held open, before any was abandoned
        self._settings = settings
        self._policy = ContainerPolicy(settings, pods)
        self.unreadable = UnreadableFiles()
        self._file_handles = FileHandles(
            Path(settings.state_dir), raise_open_file_limit(), self._held_files, self.unreadable
        )
        self._missing_files = MissingFileTracker(self.losses, settings.logs_dir)
        self._unwatched_rotations = UnwatchedRotations(self.losses)
        self._registry = FileRegistry()
        self._poller = FilePoller(settings, self._file_handles, self._registry, self._missing_files)
        self._poll_failed: set[Instance] = set()  # containers of which a file could not be polled
        self.found = False  # whether any container's log was ever discovered
        self._absent_since: dict[Instance, float] = {}  # instances with open files that scans no longer list

    def restore(self, state: State | None) -> None:
        """Continue where an earlier shipper of this node stopped, before the first scan; None: there was none."""
        if state is not None:
            self._registry.restore(state)
            self._missing_files.restore(state)

    def _held_files(self) -> Iterator[tuple[LogFile, bool]]:
        """Yield every file, and whether it can be suspended: live, listed, and fully acknowledged."""
        for tail in self.tails.values():
            for number, file in enumerate(tail.files):
                live = number == len(tail.files) - 1 and file.listed and not file.rotated
                busy = tail.ended or tail.in_flight_count or file.compressed
                yield file, live and not busy and file.acked.low >= file.last_size > 0

    def adopt(self, discovered: DiscoveredFile, descriptor: int, now: float) -> None:
        """Read a file that was held open and deleted before the start, before the first scan is applied."""
        status = os.fstat(descriptor)
        file = LogFile(discovered.path, descriptor, status, discovered.root, discovered.rotated)
        self.found = True
        self._missing_files.mark_opened(discovered.inode)
        self._missing_files.note_restarts([discovered.instance])
        if self._needs_reading(discovered, file, set(), deleted=True):
            self._tail(discovered, now).insert(file)
            file.unlist()

    @property
    def unopened(self) -> list[DiscoveredFile]:
        """The files of the last scan that could not be opened."""
        return self._missing_files.unopened

    def _tail(self, discovered: DiscoveredFile, now: float) -> ContainerTail:
        """Return the tail of a file's container; it is created for its first file."""
        instance = discovered.instance
        if instance not in self.tails:
            self.tails[instance] = self._policy.create_tail(instance, discovered.metadata, now)
        return self.tails[instance]

    def update(self, scan: Scan) -> None:
        """Apply a scan: open new files, keep renamed ones, close finished ones."""
        self.found = self.found or bool(scan.files)
        self._missing_files.note_restarts(scan.instances)
        for instance in self._policy.take_unseen():
            self._missing_files.note_unseen(instance)
        self._unwatched_rotations.begin(scan)
        self._file_handles.recount()
        self.excluded = self._policy.find_excluded(scan.instances.keys() | self.tails.keys())
        unopened: list[DiscoveredFile] = []
        for instance in scan.instances:
            if instance not in self.excluded:
                unopened += self._update_container(scan, instance)
        self._close_excluded()
        self._policy.update_metadata(self.tails, scan.now)
        for instance, tail in list(self.tails.items()):
            try:
                self._finish_scan(scan, instance, tail)
            except OSError as error:
                self.unreadable.read_failed(instance, tail.files, error)
        self._enforce_disk_limit()
        self._missing_files.resolve(scan, self.tails, unopened, self.excluded.keys(), self._registry)
        self._unwatched_rotations.resolve(scan.now)
        self._forget(scan)

    def _update_container(self, scan: Scan, instance: Instance) -> list[DiscoveredFile]:
        """Update the names of a container's files, and open new ones; return those that cannot be opened now."""
        tail = self.tails.get(instance)
        open_files = {file.location: file for file in tail.files} if tail else {}
        newest = tail.files[-1] if tail and tail.files and tail.files[-1].listed else None
        for file in open_files.values():
            file.unlist()
            self._identify(instance, file)
        new_files: list[DiscoveredFile] = []
        for entry in scan.instances[instance]:
            known = open_files.get(entry.inode) or open_files.get((*entry.inode, *file_signature(entry.status)))
            if known is not None:
                known.list_as(entry.path, entry.rotated)
                if known.suspended and entry.rotated:
                    self._file_handles.reopen(instance, known)
            elif self._registry.needs_opening(entry):
                new_files.append(entry)
        if not new_files:
            return []
        if newest is not None:
            self._unwatched_rotations.note_newer_files(instance, newest, scan.now)
        return self._open_new_files(new_files, open_files.values(), scan.now)

    def _open_new_files(
        self, new_files: list[DiscoveredFile], open_files: Collection[LogFile], now: float
    ) -> list[DiscoveredFile]:
        """Open new files in addition to the container's open ones; return those that cannot be opened now."""
        # Descriptors are given in order: else the later files hold them all, and wait for the first.
        if any(file.suspended and (file.rotated or not file.listed) for file in open_files):
            return new_files
        # A truncated file no longer has the content of its identity: a copy of the old content must be read.
        open_identities = {file.identity for file in open_files if not _was_truncated(file)}
        unopened = []
        for entry in new_files:
            try:
                file = self._file_handles.open(entry)
            except OSError:
                unopened.append(entry)
                continue
            try:
                needs_reading = self._needs_reading(entry, file, open_identities)
            except OSError as error:
                self.unreadable.failed(entry.instance, entry.path, error)
                file.close()
                unopened.append(entry)
                continue
            self.unreadable.succeeded(entry.path)
            if needs_reading:
                self._tail(entry, now).insert(file)
        return unopened

    def _identify(self, instance: Instance, file: LogFile) -> None:
        try:
            self._poller.identify(instance, file)
        except OSError as error:
            self.unreadable.failed(instance, file.path, error)

    def _needs_reading(
        self, entry: DiscoveredFile, file: LogFile, open_identities: set[str], *, deleted: bool = False
    ) -> bool:
        """Return whether a file that was just opened must be read; otherwise close it."""
        self._poller.identify(entry.instance, file)
        self._unwatched_rotations.mark_present(file.identity)
        if file.compressed and not file.identity:
            self._missing_files.archive_corrupt(entry.instance, file)
        elif not ((entry.rotated or deleted) and self._registry.is_read(file)) and not (
            file.compressed and file.identity in open_identities
        ):
            return True
        self._missing_files.mark_present(file.identity)
        self._registry.close(file)
        return False

    def _close_excluded(self) -> None:
        for instance in self.excluded.keys() & self.tails.keys():
            for file in self.tails.pop(instance).files:
                file.close()

    def _finish_scan(self, scan: Scan, instance: Instance, tail: ContainerTail) -> None:
        """Update a tail of which a scan has listed all files, or none."""
        listed = instance in scan.instances
        readable = not any(scan.is_unreadable(file.path) for file in tail.files)
        if not listed and readable:
            for file in tail.files:
                file.unlist()
        if listed:
            self._absent_since.pop(instance, None)
        # The kubelet deletes the logs of containers that have ended: no write follows if the pod is gone too.
        absent = not listed and readable and (self._is_absent(instance, scan.now) or self._policy.pod_is_gone(instance))
        ended = scan.has_restarted(instance) or absent or self._has_terminated(scan, instance, tail)
        tail.finish_scan(scan.started_at, ended=ended)
        self._close_finished(instance, tail, scan.now)

    def _has_terminated(self, scan: Scan, instance: Instance, tail: ContainerTail) -> bool:
        """Return whether the API reports the end of the instance that wrote these files."""
        listed = (file.status.st_mtime_ns for file in scan.instances.get(instance, ()))
        modified = max(listed, default=max((file.modified for file in tail.files), default=0))
        return self._policy.has_terminated(instance, modified)

    def _is_absent(self, instance: Instance, now: float) -> bool:
        """Return whether the files were deleted: no name is listed for a while.

        After a rename or a deletion the runtime writes to the old file until the kubelet has it reopen its log.
        """
        return now - self._absent_since.setdefault(instance, now) > HOLD_SECONDS

    def poll(self, instance: Instance, tail: ContainerTail, now: float) -> int:
        """Update the sizes of the tail's files at `now`, monotonic seconds; return the backlog in bytes.

        A file that cannot be polled is reported and tried again; its container has no backlog until then.
        """
        try:
            backlog = self._poller.poll(instance, tail, now)
        except OSError as error:
            self._poll_failed.add(instance)
            self.unreadable.read_failed(instance, tail.files, error)
            return 0
        if instance in self._poll_failed:
            self._poll_failed.discard(instance)
            self.unreadable.read_succeeded(tail.files)
        return backlog

    def next_slice(self, instance: Instance, tail: ContainerTail, now_ns: int) -> PendingSlice | None:
        """Return the next slice of a container, see `ContainerTail.next_slice`; None if a file cannot be read now."""
        try:
            pending = tail.next_slice(now_ns)
        except OSError as error:
            self.unreadable.read_failed(instance, tail.files, error)
            return None
        if instance not in self._poll_failed:
            self.unreadable.read_succeeded(tail.files)
        if omitted := tail.take_omitted_bytes():
            self._metrics.inc("crisp_shipper_omitted_nul_bytes", omitted)
            log.warning(
                "NUL bytes of a log are left out: a hole of the file, or a write that a crash tore",
                extra={"log.file.path": str(tail.files[-1].path), "crisp.bytes": omitted},
            )
        return pending

    def _close_finished(self, instance: Instance, tail: ContainerTail, now: float) -> None:
        """Close the files that are fully acknowledged and no longer written."""
        held = () if tail.ended or self._file_handles.is_full else tail.files[-1 - HELD_FILES : -1]
        for file in list(tail.files if tail.ended else tail.files[:-1]):
            if file.suspended and not file.listed:
                self._lost_while_suspended(instance, file)
                tail.remove(file)
            elif file.is_finished() and not (file in held and self._may_grow(file, now)):
                self._close(instance, tail, file)
            else:
                break
        if tail.ended and not tail.files and not tail.holds_lines and not tail.in_flight_count:
            del self.tails[instance]
            self._absent_since.pop(instance, None)

    @staticmethod
    def _may_grow(file: LogFile, now: float) -> bool:
        """Return whether a slow writer may still write to a file with a successor, while its container runs."""
        return not file.is_archive and now - file.quiet_since <= HOLD_SECONDS

    def _close(self, instance: Instance, tail: ContainerTail, file: LogFile) -> None:
        """Close a finished file."""
        self._registry.update(instance, file, done=True)
        self._registry.close(file)
        tail.remove(file)

    def _lost_while_suspended(self, instance: Instance, file: LogFile) -> None:
        """Record the loss of a suspended file that was deleted: it was read, but may have grown since."""
        self.losses.record(losses.from_entry(file_registry.make_entry(instance, file, done=False), gap.VANISHED_FILE))
        file.close()

    def _enforce_disk_limit(self) -> None:
        self.deleted_bytes, abandoned = disk_limit.files_to_abandon(self.tails, self._settings.deleted_max_bytes)
        for instance, tail, file in abandoned:
            if file.is_finished():
                self._close(instance, tail, file)
            else:
                self._abandon(instance, tail, file)

    def _abandon(self, instance: Instance, tail: ContainerTail, file: LogFile) -> None:
        try:
            self._poller.identify(instance, file, final=True)
        except OSError as error:
            self.unreadable.failed(instance, file.path, error)
        if file.identity and file.acked.low < file.size():
            self.losses.record(losses.from_file(instance, file, gap.DISK_LIMIT))
        tail.abandon(file)

    def _forget(self, scan: Scan) -> None:
        """Drop the state of removed files and containers, so that memory does not grow with the node's history."""
        kept = scan.instances.keys() | self.tails.keys()
        self._registry.prune(kept | self._missing_files.instances(), scan)
        if not scan.unreadable:
            self._missing_files.prune({instance[:4] for instance in kept})
        self.losses.prune(set(kept))
        self.unreadable.prune(
            lambda: {file.path for file in scan.files} | {file.path for file, _ in self._held_files()}
        )

    def gap_acknowledged(self, loss: Loss) -> None:
        """Drop a loss whose gap Kafka has acknowledged."""
        self.losses.reported(loss)
        self._registry.remove(loss.identity)

    def state(self) -> State:
        """Return the state for the checkpoint."""
        entries = {entry.identity: entry for entry in self._registry.entries(self.tails.items())}
        entries |= {entry.identity: entry for entry in self.losses.entries()}
        return State(list(entries.values()), dict(self._missing_files.newest_restarts))

    def instances(self) -> set[Instance]:
        """Return the container instances with a tail or an unreported loss."""
        return self.tails.keys() | self.losses.instances()

    def exclusions(self) -> Counter[tuple[str, str]]:
        """Count the excluded containers, and those with one stream excluded, by namespace and reason."""
        counts = Counter((instance.namespace, rule) for instance, rule in self.excluded.items())
        counts.update(
            (instance.namespace, f"pod excludes its {stream}")
            for instance, stream in self._policy.excluded_streams.items()
        )
        return counts

    @property
    def has_suspects(self) -> bool:
        """Whether missing files wait for a decision about their loss."""
        return self._missing_files.has_suspects or self._unwatched_rotations.has_suspects

    @property
    def invalid_annotations(self) -> set[str]:
        """Problems of invalid annotations."""
        return self._policy.invalid

    def metadata_missing_count(self) -> int:
        """Count the container instances without pod metadata: not received yet, or not in time."""
        return sum(tail.metadata is not MetadataState.RECEIVED for tail in self.tails.values())

    def metadata(self, instance: Instance) -> bytes:
        """Return the current pod metadata of a container, as JSON."""
        tail = self.tails.get(instance)
        return tail.pod if tail else self._policy.metadata(instance)


def _was_truncated(file: LogFile) -> bool:
    """Return whether an open file was truncated; False if that cannot be read now."""
    try:
        return not file.compressed and not file.suspended and file.was_truncated()
    except OSError:
        return False
