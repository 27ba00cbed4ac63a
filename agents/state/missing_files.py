"""Files that should be there and are not found: under suspicion until it is sure that they are lost.

A file may only have been renamed, packed or copied; so it is judged when every file of its container is open, and
none of them is it, for a while: a directory is listed, then its files are opened, and what is renamed in between is
found under neither of its names.
"""

from collections.abc import Callable, Collection, Mapping, Set
from pathlib import Path

from agents.discovery.scanner import Found
from agents.state import losses
from agents.state.checkpoint import Container, State
from agents.state.losses import Loss, Losses
from agents.tailing.byte_ranges import Ranges
from agents.tailing.container_tail import Tail
from agents.tailing.log_file import LogFile
from pipeline.contract import gap, record
from pipeline.contract.pod_metadata import Instance

RENAMING_SECONDS = 1.0

Inode = tuple[int, int]


class Missing:
    """Notes losses. `state` is what an earlier shipper remembered, None for the first one of this node."""

    def __init__(self, noted: Losses, state: State | None, logs_dir: str) -> None:
        self._losses = noted
        self._logs_dir = logs_dir
        self._first = state is None  # what was there before the first look of all is not missed by anybody
        self._suspects: dict[str, Loss] = {}
        self._absent: dict[str, float] = {}  # since when every file of its container is open, and none is it
        self._unopened: dict[Inode, Found] = {}
        self._unopened_before: dict[Inode, Found] = {}
        self.newest: dict[Container, int] = dict(state.newest) if state else {}
        for entry in state.entries if state else ():
            if entry.lost:
                self._losses.note(losses.of_entry(entry, entry.lost))
            elif not entry.done:
                self._suspects[entry.identity] = losses.of_entry(entry, gap.VANISHED)

    def begin(self, instances: Collection[Instance]) -> None:
        """A look has found files of these instances."""
        self._unopened_before, self._unopened = self._unopened, {}
        for instance in sorted(instances):
            self._restart(instance)
        self._first = False

    def _restart(self, instance: Instance) -> None:
        """Note the newest restart of each container; one that was left out in between came and went unseen."""
        container = instance[:4]
        before = self.newest.get(container, instance.restart - 1 if self._first else -1)
        if instance.restart > before + 1:
            missed = instance._replace(restart=before + 1)
            identity = record.identity(missed.uid, missed.container, missed.restart, b"")
            path = Path(self._logs_dir, "_".join(missed[:3]), missed.container, f"{missed.restart}.log")
            self._losses.note(Loss(identity, missed, str(path), gap.JUMP, Ranges(), None))
        self.newest[container] = max(before, instance.restart)

    def unopened(self, found: Found) -> None:
        """A file is there and cannot be opened now."""
        self._unopened[found.inode] = found

    def seen(self, identity: str) -> None:
        """A file has turned up."""
        self._suspects.pop(identity, None)
        self._absent.pop(identity, None)

    def truncated(self, instance: Instance, file: LogFile) -> None:
        """A file was cut and is written anew. What was not read is lost, unless a copy of it turns up."""
        if file.identity and file.acked.missing(file.seen):
            self._suspects[file.identity] = Loss(
                identity=file.identity,
                instance=instance,
                path=str(file.path),
                reason=gap.TRUNCATED,
                acked=file.acked,
                size=file.seen,
                position=file.position,
                until=file.modified,
                random=file.random,
            )

    def broken(self, instance: Instance, file: LogFile) -> None:
        """A packed file breaks off: what stands behind the fault cannot be read."""
        seed = file.identity.encode() or f"{file.device} {file.inode} {file.modified}".encode()
        identity = record.identity(instance.uid, instance.container, instance.restart, b"broken " + seed)
        end = file.seen
        self._losses.note(
            Loss(identity, instance, str(file.path), gap.BROKEN, Ranges(end), None, end, until=file.modified)
        )

    def judge(
        self,
        found: list[Found],
        tails: Mapping[Instance, Tail],
        excluded: Set[Instance],
        known: Collection[str],
        ended: Callable[[Instance], bool],
        failing: Collection[str],
        now: float,
    ) -> None:
        """Say what is lost, but for what lies in a place that cannot be looked at.

        `known`: identities from before; `now`: monotonic seconds.
        """
        self._judge_unopened(found, failing)
        waiting = {file.instance for file in self._unopened.values()} | excluded
        for identity, loss in list(self._suspects.items()):
            if loss.instance in waiting or hidden(loss.path, failing):
                self._absent.pop(identity, None)
                continue
            files = tails[loss.instance].files if loss.instance in tails else []
            if any(file.identity == identity for file in files):
                self.seen(identity)
                continue
            if any(not file.identity and file.size() for file in files):
                self._absent.pop(identity, None)
                continue  # a torn first line: it may be this one's, once nothing more comes
            if now - self._absent.setdefault(identity, now) <= RENAMING_SECONDS:
                continue
            self.seen(identity)
            if loss.size is None and ended(loss.instance):
                continue  # the pod had come to its end: what was read was all
            if loss.random and any(file.random and file.identity not in known for file in files):
                continue  # it was copied or packed, and is read again as a file of its own
            self._losses.note(loss)

    def _judge_unopened(self, found: list[Found], failing: Collection[str]) -> None:
        """Files that could not be opened before, and are nowhere now, not even packed."""
        if not self._unopened_before:
            return
        inodes = {file.inode for file in found}
        paths = {str(file.path) for file in found}
        for inode, file in self._unopened_before.items():
            if inode in inodes or f"{file.path}.gz" in paths:
                continue
            if hidden(str(file.path), failing):
                self._unopened[inode] = file
                continue
            instance, status = file.instance, file.status
            seed = b"inode %d %d %d" % (*inode, status.st_ctime_ns)
            identity = record.identity(instance.uid, instance.container, instance.restart, seed)
            size, until = status.st_size or None, status.st_mtime_ns
            self._losses.note(Loss(identity, instance, str(file.path), gap.VANISHED, Ranges(), size, until=until))

    @property
    def judging(self) -> bool:
        """Whether it will soon be known of a file that it is lost."""
        return bool(self._absent)

    def instances(self) -> set[Instance]:
        """Those of which something is under suspicion."""
        return {loss.instance for loss in self._suspects.values()}

    def forget(self, kept: Collection[Container]) -> None:
        """Drop what is known of containers that are gone."""
        self.newest = {container: newest for container, newest in self.newest.items() if container in kept}


def hidden(path: str, failing: Collection[str]) -> bool:
    """Whether a path lies in a place that cannot be looked at now: then it is not gone."""
    return any(path == place or path.startswith(f"{place}/") for place in failing)
