"""The logs of all container instances of the node: the open files of each, and the state for the checkpoint."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from agents.discovery.scanner import DiscoveredFile
from agents.kubernetes.container_policy import ContainerPolicy
from agents.kubernetes.pod_watch import PodWatch
from agents.poller import FINALISE_SECONDS, FilePoller
from agents.state import file_registry, losses
from agents.state.checkpoint import State
from agents.state.file_registry import FileRegistry
from agents.state.losses import Loss, LossTracker
from agents.state.missing_files import MissingFileTracker, is_unreadable
from agents.tailing import disk_limit
from agents.tailing.container_tail import ContainerTail, MetadataState
from agents.tailing.file_handles import FileHandles, raise_open_file_limit
from agents.tailing.log_file import LogFile
from agents.tailing.open_file import file_signature
from pipeline.config.settings import Settings
from pipeline.contract import gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import SHIPPER, Metrics

log = logging.getLogger(__name__)


class ContainerLogs:
    """The tails of a node. `update` applies a scan; `poll` reads the sizes of a tail's open files.

    `state` is the checkpoint of an earlier shipper, None for the first one of this node.
    """

    def __init__(
        self,
        settings: Settings,
        state: State | None,
        pods: PodWatch | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tails: dict[Instance, ContainerTail] = {}
        self.losses = LossTracker(metrics or Metrics(SHIPPER))
        self.excluded: dict[Instance, str] = {}  # instances that are not read, and why
        self.deleted_bytes = 0  # disk space of deleted files that are held open, before any was abandoned
        self._settings = settings
        self._clock = clock
        self._policy = ContainerPolicy(settings, pods, clock)
        self._file_handles = FileHandles(Path(settings.state_dir), raise_open_file_limit(), self._held_files)
        self._missing_files = MissingFileTracker(self.losses, state, settings.logs_dir)
        self._registry = FileRegistry(state)
        self._poller = FilePoller(settings, self._file_handles, self._registry, self._missing_files)
        self._absent_since: dict[Instance, float] = {}  # instances with open files that scans no longer list

    def _held_files(self) -> Iterator[tuple[LogFile, bool]]:
        """Yield every file, and whether it can be suspended: live, listed, and fully acknowledged."""
        for tail in self.tails.values():
            for number, file in enumerate(tail.files):
                live = number == len(tail.files) - 1 and file.listed and not file.rotated
                busy = tail.ended or tail.in_flight_count or file.compressed
                yield file, live and not busy and file.acked.low >= file.last_size > 0

    def update(self, discovered: list[DiscoveredFile], scan_started_at: int, unreadable: Collection[str] = ()) -> None:
        """Apply a scan: open new files, keep renamed ones, close finished ones.

        `scan_started_at`: wall clock, ns. `unreadable`: paths that could not be read; files beneath them are not
        considered deleted.
        """
        instances: dict[Instance, list[DiscoveredFile]] = {}
        for file in discovered:
            instances.setdefault(file.instance, []).append(file)
        self._missing_files.begin_scan(instances)
        self._file_handles.recount()
        self.excluded = self._policy.find_excluded(instances)
        for instance, files in instances.items():
            if instance not in self.excluded:
                self._update_container(instance, files)
        self._close_excluded()
        self._policy.update_metadata(self.tails)
        for instance, tail in list(self.tails.items()):
            if instance not in instances and not any(is_unreadable(str(file.path), unreadable) for file in tail.files):
                for log_file in tail.files:
                    log_file.unlist()
            ended = self._is_ended(instance, tail, instance in instances, unreadable)
            tail.finish_scan(scan_started_at, ended=ended)
            self._close_finished(instance, tail)
        self._enforce_disk_limit()
        policy, now = self._policy, self._clock()
        identities = self._registry.identities
        self._missing_files.resolve(
            discovered, self.tails, self.excluded.keys(), identities, policy.pod_has_ended, unreadable, now
        )
        self._forget(instances, unreadable)

    def _update_container(self, instance: Instance, discovered: list[DiscoveredFile]) -> None:
        tail = self.tails.get(instance)
        open_files = {file.location: file for file in tail.files} if tail else {}
        for file in open_files.values():
            file.unlist()
            self._poller.identify(instance, file)
        new_files: list[DiscoveredFile] = []
        for entry in discovered:
            known = open_files.get(entry.inode) or open_files.get((*entry.inode, *file_signature(entry.status)))
            if known is not None:
                known.list_as(entry.path, entry.rotated)
                if known.suspended and entry.rotated:
                    self._file_handles.reopen(known)
            elif self._registry.needs_opening(entry):
                new_files.append(entry)
        if new_files:
            self._open_new_files(instance, new_files, open_files.values())

    def _open_new_files(
        self, instance: Instance, new_files: list[DiscoveredFile], open_files: Collection[LogFile]
    ) -> None:
        """Open new files in addition to the container's open ones."""
        # Descriptors are given in order: else the later files hold them all, and wait for the first.
        blocked = any(file.suspended and (file.rotated or not file.listed) for file in open_files)
        # A truncated file no longer has the content of its identity: a copy of the old content must be read.
        open_identities = {
            file.identity for file in open_files if file.compressed or file.suspended or not file.was_truncated()
        }
        for entry in new_files:
            if blocked:
                self._missing_files.open_failed(entry)
                continue
            file = self._open(instance, entry, open_identities)
            if file is not None:
                if instance not in self.tails:
                    self.tails[instance] = self._policy.create_tail(instance, entry.metadata)
                self.tails[instance].insert(file)

    def _close_excluded(self) -> None:
        for instance in self.excluded.keys() & self.tails.keys():
            for file in self.tails.pop(instance).files:
                file.close()

    def _is_ended(self, instance: Instance, tail: ContainerTail, listed: bool, unreadable: Collection[str]) -> bool:  # noqa: FBT001
        """Return whether nothing more will be written: a later restart exists, or the files were deleted.

        Files are deleted when they stay absent for a while: during a rename, a scan may list neither name.
        """
        if self._missing_files.newest_restarts.get(instance[:4], 0) > instance.restart:
            return True
        if listed:
            self._absent_since.pop(instance, None)
            return False
        if any(is_unreadable(str(file.path), unreadable) for file in tail.files):
            return False
        now = self._clock()
        return now - self._absent_since.setdefault(instance, now) > FINALISE_SECONDS

    def _open(self, instance: Instance, discovered: DiscoveredFile, open_identities: set[str]) -> LogFile | None:
        """Open a new file; return None when it needs no reading, or cannot be opened now."""
        try:
            file = self._file_handles.open(discovered)
        except OSError as error:
            self._missing_files.open_failed(discovered)
            if not isinstance(error, FileNotFoundError):
                log.warning("cannot open log file, retrying: %s", error)
            return None
        self._poller.identify(instance, file)
        if file.compressed and not file.identity:
            self._missing_files.archive_corrupt(instance, file)
        elif not (discovered.rotated and self._registry.is_read(file)) and not (
            file.compressed and file.identity in open_identities
        ):
            return file
        self._missing_files.mark_present(file.identity)
        self._registry.close(file)
        return None

    def poll(self, instance: Instance, tail: ContainerTail, now: float) -> int:
        """Update the sizes of the tail's files at `now`, monotonic seconds; return the backlog in bytes."""
        return self._poller.poll(instance, tail, now)

    def _close_finished(self, instance: Instance, tail: ContainerTail) -> None:
        """Close the files that are fully acknowledged and no longer written."""
        for file in list(tail.files if tail.ended else tail.files[:-1]):
            if file.suspended and not file.listed:
                self._lost_while_suspended(instance, file)
            elif not file.finalised or file.acked.low < file.size() or file.suspended:
                break
            else:
                self._registry.update(instance, file, done=True)
                self._registry.close(file)
            tail.remove(file)
        if tail.ended and not tail.files and not tail.holds_lines and not tail.in_flight_count:
            del self.tails[instance]
            self._absent_since.pop(instance, None)

    def _lost_while_suspended(self, instance: Instance, file: LogFile) -> None:
        """Record the loss of a suspended file that was deleted: it was read, but may have grown since."""
        self.losses.record(losses.from_entry(file_registry.make_entry(instance, file, done=False), gap.VANISHED_FILE))
        file.close()

    def _enforce_disk_limit(self) -> None:
        self.deleted_bytes, abandoned = disk_limit.files_to_abandon(self.tails, self._settings.deleted_max_bytes)
        for instance, tail, file in abandoned:
            self._abandon(instance, tail, file)

    def _abandon(self, instance: Instance, tail: ContainerTail, file: LogFile) -> None:
        self._poller.identify(instance, file, final=True)
        if file.identity:
            self.losses.record(losses.from_file(instance, file, gap.DISK_LIMIT))
        tail.abandon(file)

    def _forget(self, instances: dict[Instance, list[DiscoveredFile]], unreadable: Collection[str]) -> None:
        """Drop the state of removed files and containers, so that memory does not grow with the node's history."""
        kept = instances.keys() | self.tails.keys()
        on_disk = {file.inode for files in instances.values() for file in files}
        self._registry.prune(kept | self._missing_files.instances(), unreadable, on_disk)
        if not unreadable:
            self._missing_files.prune({instance[:4] for instance in kept})
        self.losses.prune(set(kept))

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
        return self._missing_files.has_suspects

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
