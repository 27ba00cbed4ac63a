"""All container instances of the node: which files each has, which are done, what the checkpoint should say."""

import logging
import os
import time
import zlib
from collections.abc import Collection
from pathlib import Path

from agents.checkpoint import Entry
from agents.discovery import Found
from agents.logfile import LogFile, Stamp, open_log, stamp, unpack
from agents.podwatch import PodWatch
from agents.ranges import Ranges
from agents.tail import Limits, Tail
from pipeline import grouping, pod, record
from pipeline.pod import Instance
from pipeline.record import Grouping
from pipeline.settings import Settings

SETTLE_SECONDS = 1.0  # a rotated file may get a last partial this long after its successor exists

log = logging.getLogger(__name__)

Inode = tuple[int, int]


class Fleet:
    """The tails of a node. `update` takes what a scan found; `look` what the open files have grown to."""

    def __init__(self, settings: Settings, entries: list[Entry], pods: PodWatch | None = None) -> None:
        self.tails: dict[Instance, Tail] = {}
        self._settings = settings
        self._known = {entry.identity: entry for entry in entries}
        self._by_inode = {(entry.device, entry.inode): entry for entry in entries}
        self._of: dict[str, Instance] = {}  # instances of the identities in `_known`
        self._passed: dict[Inode, Stamp] = {}  # files on disk that need no reading while they are as they were
        self._grouping = grouping.by(settings)
        self._pods = pods
        self._changes = -1
        self._annotations = frozenset(settings.annotations.split())
        self._unread = frozenset(settings.exclude_namespaces.split())
        self._absent: dict[Instance, float] = {}  # since when nothing is found of instances that are still read
        self.excluded: set[Instance] = set()
        self.refused_patterns: set[str] = set()
        self._limits = Limits(settings.slice_max_bytes, settings.event_max_bytes)

    def update(self, found: list[Found], began: int, failing: Collection[str] = ()) -> None:
        """Take in a scan that began at `began`, wall clock in ns: new files are opened, renamed ones kept.

        `failing`: places that could not be looked at; what is not found there is not gone.
        """
        instances: dict[Instance, list[Found]] = {}
        for file in found:
            instances.setdefault(file.instance, []).append(file)
        newest = {instance[:4]: instance.restart for instance in sorted(instances)}
        self.excluded = {instance for instance in instances if self._excluded(instance)}
        for instance, files in instances.items():
            if instance not in self.excluded:
                self._update(instance, files)
        self._describe()
        for instance, tail in list(self.tails.items()):
            tail.scanned = began
            tail.ended = self._ended(instance, newest.get(instance[:4]), failing)
            self._retire(instance, tail)
        if not failing:
            self._forget(instances)

    def _ended(self, instance: Instance, newest: int | None, failing: Collection[str]) -> bool:
        """Whether nothing more will be written: a later restart is there, or the files are gone.

        Gone is what stays so for a while: while a file is renamed, a look may find neither of its names.
        """
        if newest is not None and newest >= instance.restart:
            self._absent.pop(instance, None)
            return newest > instance.restart
        now = time.monotonic()
        return not failing and now - self._absent.setdefault(instance, now) > SETTLE_SECONDS

    def _update(self, instance: Instance, found: list[Found]) -> None:
        tail = self.tails.get(instance)
        opened = {(file.device, file.inode): file for file in tail.files} if tail else {}
        for file in opened.values():
            self.identify(instance, file)
        fresh: list[LogFile] = []
        for entry in found:
            inode = (entry.status.st_dev, entry.status.st_ino)
            known = opened.get(inode)
            if known is not None:
                known.path = entry.path
            elif self._passed.get(inode) != stamp(entry.status):
                made = self._open(instance, entry, {file.identity for file in opened.values()})
                if made is not None:
                    fresh.append(made)
        if fresh:
            if tail is None:
                tail = self.tails[instance] = self._tail(instance, found[0].about)
            # Names say nothing of files that are deleted or packed by now, so what is open keeps its order.
            tail.files += fresh

    def _tail(self, instance: Instance, about: bytes) -> Tail:
        node = self._settings.node_name
        key = record.container_key(instance.uid, instance.container, instance.restart)
        made = Tail(key, about or pod.from_path(instance, node), node, self._grouping, self._limits)
        made.born = time.monotonic()
        made.described = self._pods is None or bool(about)
        self._changes = -1  # so that it is looked up
        return made

    def _excluded(self, instance: Instance) -> bool:
        if instance.namespace in self._unread:
            return True
        found = self._pods.of(instance) if self._pods and self._settings.pods_may_exclude else None
        return found is not None and pod.excluded(found, self._settings.annotation_prefix)

    def _describe(self) -> None:
        """Take what the API has told of pods; a tail that waited long enough goes with what its path tells."""
        if self._pods is None:
            return
        for instance in self.excluded & self.tails.keys():
            for file in self.tails.pop(instance).files:
                file.close()
        changed, self._changes = self._changes != self._pods.changes, self._pods.changes
        limit = time.monotonic() - self._settings.metadata_wait_seconds
        for instance, tail in self.tails.items():
            found = self._pods.of(instance) if changed else None
            if found is not None:
                tail.pod = pod.from_api(instance, tail.node, found, self._annotations)
                tail.grouping = self._asked(instance, pod.multiline(found, self._settings.annotation_prefix))
                tail.described = True
            elif not tail.described and tail.born < limit:
                log.warning("a pod's metadata did not come in time: its lines go with what the path tells")
                tail.described = True

    def _asked(self, instance: Instance, wish: str) -> Grouping:
        """The grouping that a pod asks for. What is wrong with it is said once."""
        found, fault = grouping.asked(self._grouping, wish)
        if fault and wish not in self.refused_patterns:
            self.refused_patterns.add(wish)
            name = f"{instance.namespace}/{instance.pod}"
            log.warning("%s: its multi-line annotation is not used, stack traces are joined: %s", name, fault)
        return found

    def _open(self, instance: Instance, found: Found, open_identities: set[str]) -> LogFile | None:
        """Open a file seen for the first time; None when it needs no reading, or cannot be read now."""
        try:
            descriptor = open_log(found.root, found.path)
        except FileNotFoundError:
            return None
        except OSError as fault:
            log.warning("log file cannot be opened, tried again: %s", fault, extra={"log.file.path": str(found.path)})
            return None
        if found.path.suffix == ".gz":
            return self._open_gz(instance, found, descriptor, open_identities)
        file = LogFile(found.path, descriptor, os.fstat(descriptor))
        self.identify(instance, file)
        entry = self._known.get(file.identity)
        if found.rotated and entry is not None and entry.done and entry.low >= file.size():
            self._pass(instance, file)
            return None
        return file

    def _open_gz(self, instance: Instance, found: Found, descriptor: int, opened: set[str]) -> LogFile | None:
        """A packed sibling is the same file as before: read on only if it was not read to its end."""
        packed = os.fstat(descriptor)
        try:
            head = zlib.decompressobj(wbits=31).decompress(os.pread(descriptor, 65536, 0), record.FIRST_LINE_BYTES)
            length = int.from_bytes(os.pread(descriptor, 4, packed.st_size - 4), "little")
        except (zlib.error, OSError) as fault:
            os.close(descriptor)
            log.warning("packed log file cannot be read, tried again: %s", fault)
            return None
        identity = record.identity(instance.uid, instance.container, instance.restart, head.split(b"\n", 1)[0])
        entry = self._known.get(identity)
        if identity in opened or (entry is not None and entry.low >= length):
            os.close(descriptor)
            self._passed[packed.st_dev, packed.st_ino] = stamp(packed)
            return None
        try:
            file = LogFile(found.path, unpack(descriptor, Path(self._settings.state_dir)), packed)
        except OSError as fault:
            log.warning("packed log file cannot be unpacked, tried again: %s", fault)
            return None
        self.identify(instance, file)
        return file

    def identify(self, instance: Instance, file: LogFile, *, final: bool = False) -> None:
        """Name the file once its first line is there, and go on where an earlier shipper was acknowledged."""
        if file.identity or not file.name(instance.uid, instance.container, instance.restart, final=final):
            return
        entry = self._known.get(file.identity)
        if entry is None and file.random:
            entry = self._by_inode.get((file.device, file.inode))
            if entry is not None and entry.low <= file.size():
                file.identity = entry.identity
            else:
                entry = None
        if entry is not None and entry.low <= file.size():
            file.resume(Ranges(entry.low, list(entry.above)), entry.carried)
        self._of[file.identity] = instance

    def look(self, instance: Instance, tail: Tail, now: float) -> int:
        """Take in what the tail's files have grown to at `now`, monotonic seconds; returns the unread bytes."""
        for number, file in enumerate(tail.files):
            live = number == len(tail.files) - 1 and not tail.ended
            size = file.size()
            if size != file.seen:
                if size < file.position and size < file.seen:
                    self._truncated(tail, number)
                    continue
                file.seen, file.grown = size, now
                self.identify(instance, file)
            if not live and now - file.grown > SETTLE_SECONDS:
                self.identify(instance, file, final=True)
                file.settled = True
        tail.quiet = now - max((file.grown for file in tail.files), default=0.0)
        return tail.unread()

    def _truncated(self, tail: Tail, number: int) -> None:
        """The file was cut and is written anew: what stands in it now is another file."""
        old = tail.files[number]
        tail.renew(number, LogFile(old.path, os.dup(old.descriptor), os.fstat(old.descriptor)))

    def _retire(self, instance: Instance, tail: Tail) -> None:
        """Close the files that are read, acknowledged and not written any more."""
        for file in tail.files if tail.ended else tail.files[:-1]:
            if not file.settled or file.acked.low < file.size():
                break
            self._known[file.identity] = self._entry(file, done=True)
            self._pass(instance, file)
            tail.files = [other for other in tail.files if other is not file]
        if tail.ended and not tail.files and not tail.held and not tail.in_flight:
            del self.tails[instance]
            self._absent.pop(instance, None)

    def _pass(self, instance: Instance, file: LogFile) -> None:
        status = os.fstat(file.descriptor)
        unpacked = (status.st_dev, status.st_ino) != (file.device, file.inode)
        self._passed[file.device, file.inode] = file.stamp if unpacked else stamp(status)
        self._of[file.identity] = instance
        file.close()

    def _forget(self, instances: dict[Instance, list[Found]]) -> None:
        """Drop what is known of files that are gone, so that nothing grows with the node's history."""
        kept = instances.keys() | self.tails.keys()
        for identity, instance in list(self._of.items()):
            if instance not in kept:
                del self._of[identity]
                self._known.pop(identity, None)
        on_disk = {(file.status.st_dev, file.status.st_ino) for files in instances.values() for file in files}
        self._passed = {inode: seen for inode, seen in self._passed.items() if inode in on_disk}

    def _entry(self, file: LogFile, *, done: bool) -> Entry:
        carried = () if done else file.carried
        return Entry(file.identity, file.acked.low, file.acked.above, file.device, file.inode, done, carried)

    def entries(self) -> list[Entry]:
        """What the checkpoint should say now."""
        for tail in self.tails.values():
            for file in tail.files:
                if file.identity:
                    self._known[file.identity] = self._entry(file, done=False)
        return list(self._known.values())
