"""All container instances of the node: which files each has, which are done, what the checkpoint should say."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from agents.discovery.scanner import Found
from agents.kubernetes.container_policy import Labelling
from agents.kubernetes.pod_watch import PodWatch
from agents.poller import SETTLE_SECONDS, Growth
from agents.state import file_registry, losses
from agents.state.checkpoint import State
from agents.state.file_registry import Registry
from agents.state.losses import Loss, Losses
from agents.state.missing_files import Missing, hidden
from agents.tailing import disk_limit
from agents.tailing.container_tail import Tail
from agents.tailing.file_handles import Descriptors, raised_limit
from agents.tailing.log_file import LogFile, stamp
from pipeline.config.settings import Settings
from pipeline.contract import gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import SHIPPER, Metrics

log = logging.getLogger(__name__)


class Fleet:
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
        self.tails: dict[Instance, Tail] = {}
        self.losses = Losses(metrics or Metrics(SHIPPER))
        self.excluded: dict[Instance, str] = {}  # what is not read, and why
        self.deleted_bytes = 0  # disk held by deleted files, before any was given up
        self._settings = settings
        self._clock = clock
        self._labelling = Labelling(settings, pods, clock)
        self._descriptors = Descriptors(Path(settings.state_dir), raised_limit(), self._held)
        self._missing = Missing(self.losses, state, settings.logs_dir)
        self._registry = Registry(state)
        self._growth = Growth(settings, self._descriptors, self._registry, self._missing)
        self._absent: dict[Instance, float] = {}  # since when nothing is found of instances that are still read

    def _held(self) -> Iterator[tuple[LogFile, bool]]:
        """Every file, and whether it is quiet: live, with a name, all of it acknowledged."""
        for tail in self.tails.values():
            for number, file in enumerate(tail.files):
                live = number == len(tail.files) - 1 and file.named and not file.rotated
                busy = tail.ended or tail.in_flight or file.packed
                yield file, live and not busy and file.acked.low >= file.seen > 0

    def update(self, found: list[Found], began: int, failing: Collection[str] = ()) -> None:
        """Take in a scan that began at `began`, wall clock in ns: new files are opened, renamed ones kept.

        `failing`: places that could not be looked at; what is not found there is not gone.
        """
        instances: dict[Instance, list[Found]] = {}
        for file in found:
            instances.setdefault(file.instance, []).append(file)
        self._missing.begin(instances)
        self._descriptors.count()
        self.excluded = self._labelling.excluded(instances)
        for instance, files in instances.items():
            if instance not in self.excluded:
                self._update(instance, files)
        self._leave_out()
        self._labelling.describe(self.tails)
        for instance, tail in list(self.tails.items()):
            tail.scanned = began
            if instance not in instances and not any(hidden(str(file.path), failing) for file in tail.files):
                for gone in tail.files:
                    gone.named = False
            tail.ended = self._ended(instance, tail, instance in instances, failing)
            self._retire(instance, tail)
        self._keep_within_bound()
        labelling, now = self._labelling, self._clock()
        identities = self._registry.identities
        self._missing.judge(found, self.tails, self.excluded.keys(), identities, labelling.ended, failing, now)
        self._forget(instances, failing)

    def _update(self, instance: Instance, found: list[Found]) -> None:
        tail = self.tails.get(instance)
        opened = {file.place: file for file in tail.files} if tail else {}
        for file in opened.values():
            file.named = False
            self._growth.identify(instance, file)
        fresh: list[Found] = []
        for entry in found:
            known = opened.get(entry.inode) or opened.get((*entry.inode, *stamp(entry.status)))
            if known is not None:
                known.path, known.rotated, known.named = entry.path, entry.rotated, True
                if known.parked and entry.rotated:
                    self._descriptors.unpark(known)
            elif self._registry.is_news(entry):
                fresh.append(entry)
        if fresh:
            self._take_in(instance, fresh, opened.values())

    def _take_in(self, instance: Instance, fresh: list[Found], opened: Collection[LogFile]) -> None:
        """Open what was not seen before, beside the files of the container that are open already."""
        # Whoever waits for a descriptor waits in order: else the later files have them all, and wait for the first.
        stuck = any(file.parked and (file.rotated or not file.named) for file in opened)
        # One that was cut and written anew is no longer what it was named: its copy must be read.
        same = {file.identity for file in opened if file.packed or file.parked or not file.rewritten()}
        for entry in fresh:
            if stuck:
                self._missing.unopened(entry)
                continue
            made = self._open(instance, entry, same)
            if made is not None:
                if instance not in self.tails:
                    self.tails[instance] = self._labelling.tail(instance, entry.about)
                _place(self.tails[instance], made)

    def _leave_out(self) -> None:
        for instance in self.excluded.keys() & self.tails.keys():
            for file in self.tails.pop(instance).files:
                file.close()

    def _ended(self, instance: Instance, tail: Tail, found: bool, failing: Collection[str]) -> bool:  # noqa: FBT001
        """Whether nothing more will be written: a later restart is there, or the files are gone.

        Gone is what stays so for a while: while a file is renamed, a look may find neither of its names.
        """
        if self._missing.newest.get(instance[:4], 0) > instance.restart:
            return True
        if found:
            self._absent.pop(instance, None)
            return False
        if any(hidden(str(file.path), failing) for file in tail.files):
            return False
        now = self._clock()
        return now - self._absent.setdefault(instance, now) > SETTLE_SECONDS

    def _open(self, instance: Instance, found: Found, opened: set[str]) -> LogFile | None:
        """Open a file seen for the first time; None when it needs no reading, or cannot be read now."""
        try:
            file = self._descriptors.open(found)
        except OSError as fault:
            self._missing.unopened(found)
            if not isinstance(fault, FileNotFoundError):
                log.warning("log file cannot be opened, tried again: %s", fault)
            return None
        self._growth.identify(instance, file)
        if file.packed and not file.identity:
            self._missing.broken(instance, file)
        elif not (found.rotated and self._registry.is_read(file)) and not (file.packed and file.identity in opened):
            return file
        self._missing.seen(file.identity)
        self._registry.close(file)
        return None

    def look(self, instance: Instance, tail: Tail, now: float) -> int:
        """Take in what the tail's files have grown to at `now`, monotonic seconds; returns the unread bytes."""
        return self._growth.look(instance, tail, now)

    def _retire(self, instance: Instance, tail: Tail) -> None:
        """Close the files that are read, acknowledged and not written any more."""
        for file in tail.files if tail.ended else tail.files[:-1]:
            if file.parked and not file.named:
                self._gone(instance, file)
            elif not file.settled or file.acked.low < file.size() or file.parked:
                break
            else:
                self._registry.remember(instance, file, done=True)
                self._registry.close(file)
            tail.files = [other for other in tail.files if other is not file]
        if tail.ended and not tail.files and not tail.held and not tail.in_flight:
            del self.tails[instance]
            self._absent.pop(instance, None)

    def _gone(self, instance: Instance, file: LogFile) -> None:
        """A parked file lost its name before it could be opened again: it was read, but may have grown since."""
        self.losses.note(losses.of_entry(file_registry.entry(instance, file, done=False), gap.VANISHED))
        file.close()

    def _keep_within_bound(self) -> None:
        self.deleted_bytes, given_up = disk_limit.surplus(self.tails, self._settings.deleted_max_bytes)
        for instance, tail, file in given_up:
            self._give_up(instance, tail, file)

    def _give_up(self, instance: Instance, tail: Tail, file: LogFile) -> None:
        self._growth.identify(instance, file, final=True)
        if file.identity:
            self.losses.note(losses.of_file(instance, file, gap.DISK_BOUND))
        tail.give_up(file)

    def _forget(self, instances: dict[Instance, list[Found]], failing: Collection[str]) -> None:
        """Drop what is known of what is gone, so that nothing grows with the node's history."""
        kept = instances.keys() | self.tails.keys()
        on_disk = {file.inode for files in instances.values() for file in files}
        self._registry.forget(kept | self._missing.instances(), failing, on_disk)
        if not failing:
            self._missing.forget({instance[:4] for instance in kept})
        self.losses.forget(set(kept))

    def told(self, loss: Loss) -> None:
        """Kafka has the gap of a loss: nothing more is to be remembered of it."""
        self.losses.told(loss)
        self._registry.drop(loss.identity)

    def state(self) -> State:
        """What the checkpoint should say now."""
        remembered = {one.identity: one for one in self._registry.entries(self.tails.items())}
        remembered |= {one.identity: one for one in self.losses.entries()}
        return State(list(remembered.values()), dict(self._missing.newest))

    def instances(self) -> set[Instance]:
        """The containers of which anything is to be read or told."""
        return self.tails.keys() | self.losses.instances()

    def kept_out(self) -> Counter[tuple[str, str]]:
        """Containers that are not read, or one stream of them not indexed, by namespace and why."""
        found = Counter((instance.namespace, rule) for instance, rule in self.excluded.items())
        found.update((one.namespace, f"pod excludes its {stream}") for one, stream in self._labelling.muted.items())
        return found

    @property
    def judging(self) -> bool:
        """Whether it will soon be known of a file that it is lost."""
        return self._missing.judging

    @property
    def refused_annotations(self) -> set[str]:
        """What annotations of pods ask for and cannot be, in words."""
        return self._labelling.refused

    def unlabelled(self) -> int:
        """Container instances whose pod the API has not told of yet, or did not in time."""
        return sum(tail.unlabelled for tail in self.tails.values())

    def metadata(self, instance: Instance) -> bytes:
        """The pod metadata of a container, as it is known now."""
        tail = self.tails.get(instance)
        return tail.pod if tail else self._labelling.metadata(instance)


def _place(tail: Tail, file: LogFile) -> None:
    """Put a new file where it belongs. Names say nothing of what is deleted by now, so that keeps its order."""
    key = file.rotated or "~"
    tail.quiet = 0.0  # so that it is looked at soon
    later = (number for number, other in enumerate(tail.files) if other.named and (other.rotated or "~") > key)
    tail.files.insert(next(later, len(tail.files)), file)
