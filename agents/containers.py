"""All container instances of the node: which files each has, which are done, what the checkpoint should say."""

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
from agents.tailing.container_tail import ContainerTail
from agents.tailing.file_handles import FileHandles, raise_open_file_limit
from agents.tailing.log_file import LogFile, file_signature
from pipeline.config.settings import Settings
from pipeline.contract import gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import SHIPPER, Metrics

log = logging.getLogger(__name__)


class ContainerLogs:
    """The tails of a node. `update` takes what a scan found; `look` what the open files have grown to.

    `state` is what an earlier shipper remembered, None for the first one of this node.
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
        self.excluded: dict[Instance, str] = {}  # what is not read, and why
        self.deleted_bytes = 0  # disk held by deleted files, before any was given up
        self._settings = settings
        self._clock = clock
        self._policy = ContainerPolicy(settings, pods, clock)
        self._file_handles = FileHandles(Path(settings.state_dir), raise_open_file_limit(), self._held_files)
        self._missing_files = MissingFileTracker(self.losses, state, settings.logs_dir)
        self._registry = FileRegistry(state)
        self._poller = FilePoller(settings, self._file_handles, self._registry, self._missing_files)
        self._absent_since: dict[Instance, float] = {}  # since when nothing is found of instances that are still read

    def _held_files(self) -> Iterator[tuple[LogFile, bool]]:
        """Every file, and whether it is quiet: live, with a name, all of it acknowledged."""
        for tail in self.tails.values():
            for number, file in enumerate(tail.files):
                live = number == len(tail.files) - 1 and file.listed and not file.rotated
                busy = tail.ended or tail.in_flight_count or file.compressed
                yield file, live and not busy and file.acked.low >= file.last_size > 0

    def update(self, discovered: list[DiscoveredFile], scan_started_at: int, unreadable: Collection[str] = ()) -> None:
        """Take in a scan that began at `began`, wall clock in ns: new files are opened, renamed ones kept.

        `failing`: places that could not be looked at; what is not found there is not gone.
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
            tail.scanned_at = scan_started_at
            if instance not in instances and not any(is_unreadable(str(file.path), unreadable) for file in tail.files):
                for gone in tail.files:
                    gone.listed = False
            tail.ended = self._is_ended(instance, tail, instance in instances, unreadable)
            self._close_finished(instance, tail)
        self._enforce_disk_limit()
        labelling, now = self._policy, self._clock()
        identities = self._registry.identities
        self._missing_files.resolve(
            discovered, self.tails, self.excluded.keys(), identities, labelling.pod_has_ended, unreadable, now
        )
        self._forget(instances, unreadable)

    def _update_container(self, instance: Instance, discovered: list[DiscoveredFile]) -> None:
        tail = self.tails.get(instance)
        opened = {file.location: file for file in tail.files} if tail else {}
        for file in opened.values():
            file.listed = False
            self._poller.identify(instance, file)
        fresh: list[DiscoveredFile] = []
        for entry in discovered:
            known = opened.get(entry.inode) or opened.get((*entry.inode, *file_signature(entry.status)))
            if known is not None:
                known.path, known.rotated, known.listed = entry.path, entry.rotated, True
                if known.suspended and entry.rotated:
                    self._file_handles.reopen(known)
            elif self._registry.needs_opening(entry):
                fresh.append(entry)
        if fresh:
            self._open_new_files(instance, fresh, opened.values())

    def _open_new_files(
        self, instance: Instance, new_files: list[DiscoveredFile], open_files: Collection[LogFile]
    ) -> None:
        """Open what was not seen before, beside the files of the container that are open already."""
        # Whoever waits for a descriptor waits in order: else the later files have them all, and wait for the first.
        stuck = any(file.suspended and (file.rotated or not file.listed) for file in open_files)
        # One that was cut and written anew is no longer what it was named: its copy must be read.
        same = {file.identity for file in open_files if file.compressed or file.suspended or not file.was_truncated()}
        for entry in new_files:
            if stuck:
                self._missing_files.open_failed(entry)
                continue
            made = self._open(instance, entry, same)
            if made is not None:
                if instance not in self.tails:
                    self.tails[instance] = self._policy.create_tail(instance, entry.metadata)
                _insert_in_order(self.tails[instance], made)

    def _close_excluded(self) -> None:
        for instance in self.excluded.keys() & self.tails.keys():
            for file in self.tails.pop(instance).files:
                file.close()

    def _is_ended(self, instance: Instance, tail: ContainerTail, listed: bool, unreadable: Collection[str]) -> bool:  # noqa: FBT001
        """Whether nothing more will be written: a later restart is there, or the files are gone.

        Gone is what stays so for a while: while a file is renamed, a look may find neither of its names.
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
        """Open a file seen for the first time; None when it needs no reading, or cannot be read now."""
        try:
            file = self._file_handles.open(discovered)
        except OSError as fault:
            self._missing_files.open_failed(discovered)
            if not isinstance(fault, FileNotFoundError):
                log.warning("log file cannot be opened, tried again: %s", fault)
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
        """Take in what the tail's files have grown to at `now`, monotonic seconds; returns the unread bytes."""
        return self._poller.poll(instance, tail, now)

    def _close_finished(self, instance: Instance, tail: ContainerTail) -> None:
        """Close the files that are read, acknowledged and not written any more."""
        for file in tail.files if tail.ended else tail.files[:-1]:
            if file.suspended and not file.listed:
                self._lost_while_suspended(instance, file)
            elif not file.finalised or file.acked.low < file.size() or file.suspended:
                break
            else:
                self._registry.update(instance, file, done=True)
                self._registry.close(file)
            tail.files = [other for other in tail.files if other is not file]
        if tail.ended and not tail.files and not tail.held and not tail.in_flight_count:
            del self.tails[instance]
            self._absent_since.pop(instance, None)

    def _lost_while_suspended(self, instance: Instance, file: LogFile) -> None:
        """A parked file lost its name before it could be opened again: it was read, but may have grown since."""
        self.losses.record(losses.from_entry(file_registry.make_entry(instance, file, done=False), gap.VANISHED_FILE))
        file.close()

    def _enforce_disk_limit(self) -> None:
        self.deleted_bytes, given_up = disk_limit.files_to_abandon(self.tails, self._settings.deleted_max_bytes)
        for instance, tail, file in given_up:
            self._abandon(instance, tail, file)

    def _abandon(self, instance: Instance, tail: ContainerTail, file: LogFile) -> None:
        self._poller.identify(instance, file, final=True)
        if file.identity:
            self.losses.record(losses.from_file(instance, file, gap.DISK_LIMIT))
        tail.abandon(file)

    def _forget(self, instances: dict[Instance, list[DiscoveredFile]], unreadable: Collection[str]) -> None:
        """Drop what is known of what is gone, so that nothing grows with the node's history."""
        kept = instances.keys() | self.tails.keys()
        on_disk = {file.inode for files in instances.values() for file in files}
        self._registry.prune(kept | self._missing_files.instances(), unreadable, on_disk)
        if not unreadable:
            self._missing_files.prune({instance[:4] for instance in kept})
        self.losses.prune(set(kept))

    def gap_acknowledged(self, loss: Loss) -> None:
        """Kafka has the gap of a loss: nothing more is to be remembered of it."""
        self.losses.reported(loss)
        self._registry.remove(loss.identity)

    def state(self) -> State:
        """What the checkpoint should say now."""
        remembered = {one.identity: one for one in self._registry.entries(self.tails.items())}
        remembered |= {one.identity: one for one in self.losses.entries()}
        return State(list(remembered.values()), dict(self._missing_files.newest_restarts))

    def instances(self) -> set[Instance]:
        """The containers of which anything is to be read or told."""
        return self.tails.keys() | self.losses.instances()

    def exclusions(self) -> Counter[tuple[str, str]]:
        """Containers that are not read, or one stream of them not indexed, by namespace and why."""
        found = Counter((instance.namespace, rule) for instance, rule in self.excluded.items())
        found.update(
            (one.namespace, f"pod excludes its {stream}") for one, stream in self._policy.excluded_streams.items()
        )
        return found

    @property
    def has_suspects(self) -> bool:
        """Whether it will soon be known of a file that it is lost."""
        return self._missing_files.has_suspects

    @property
    def invalid_annotations(self) -> set[str]:
        """What annotations of pods ask for and cannot be, in words."""
        return self._policy.invalid

    def metadata_missing_count(self) -> int:
        """Container instances whose pod the API has not told of yet, or did not in time."""
        return sum(tail.metadata_missing for tail in self.tails.values())

    def metadata(self, instance: Instance) -> bytes:
        """The pod metadata of a container, as it is known now."""
        tail = self.tails.get(instance)
        return tail.pod if tail else self._policy.metadata(instance)


def _insert_in_order(tail: ContainerTail, file: LogFile) -> None:
    """Put a new file where it belongs. Names say nothing of what is deleted by now, so that keeps its order."""
    key = file.rotated or "~"
    tail.idle_seconds = 0.0  # so that it is looked at soon
    later = (number for number, other in enumerate(tail.files) if other.listed and (other.rotated or "~") > key)
    tail.files.insert(next(later, len(tail.files)), file)
