"""Registry of log files: how much of each Kafka has, by identity, and which unchanged files need no reading.

The checkpoint keeps it across restarts.
"""

from collections.abc import Collection, Iterable, Iterator, KeysView

from agents.discovery.scanner import DiscoveredFile, Inode, Scan
from agents.state.checkpoint import Entry, State
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from agents.tailing.open_file import Signature, file_signature
from pipeline.contract.pod_metadata import Instance

REMEMBER_SECONDS = 120.0
"""A file that was read and deleted is known for so long: the next shipper may hold it open already, in a rollout."""
MAX_REMEMBERED = 1000


def make_entry(instance: Instance, file: LogFile, *, done: bool) -> Entry:
    """Make the checkpoint entry of a file. `done`: it is read to its end and no longer written."""
    return Entry(
        identity=file.identity,
        low=file.acked.low,
        above=file.acked.above,
        device=file.device,
        inode=file.inode,
        done=done,
        instance=instance,
        path=str(file.path),
        size=file.last_size,
        modified=file.modified,
        random_identity=file.random_identity,
        continuations=() if done else file.continuations,
    )


class FileRegistry:
    """Known files."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_inode: dict[Inode, Entry] = {}  # those of the checkpoint
        self._absent_since: dict[str, float] = {}  # monotonic, of read files that were deleted
        self._skipped: dict[Inode, Signature] = {}  # files on disk that need no reading unless they change

    def restore(self, state: State) -> None:
        """Know the files of an earlier shipper's checkpoint."""
        self._entries = {entry.identity: entry for entry in state.entries}
        self._by_inode = {(entry.device, entry.inode): entry for entry in state.entries}

    @property
    def identities(self) -> KeysView[str]:
        """The identities of the known files."""
        return self._entries.keys()

    def needs_opening(self, discovered: DiscoveredFile) -> bool:
        """Return whether a file that is not open should be opened."""
        return self._skipped.get(discovered.inode) != file_signature(discovered.status)

    def resume(self, file: LogFile) -> None:
        """Resume a file that was just identified where an earlier shipper was acknowledged."""
        entry = self._entries.get(file.identity)
        if entry is None and file.random_identity:
            entry = self._by_inode.get((file.device, file.inode))
            if entry is not None and not entry.random_identity:
                return
        if entry is not None and entry.low <= file.size():
            file.resume(entry.identity, entry.ranges(), entry.continuations)

    def is_read(self, file: LogFile) -> bool:
        """Return whether Kafka has the whole file, if it is no longer written."""
        entry = self._entries.get(file.identity)
        return entry is not None and entry.low >= file.size() and (entry.done or file.compressed)

    def is_known(self, discovered: DiscoveredFile) -> bool:
        """Return whether the checkpoint has this file, and it did not change since it was last polled."""
        entry = self._by_inode.get(discovered.inode)
        unchanged = entry is not None and entry.modified == discovered.status.st_mtime_ns
        return unchanged and entry is not None and entry.instance == discovered.instance

    def close(self, file: LogFile) -> None:
        """Close a file that needs no more reading unless it changes."""
        if self.is_read(file):
            self._entries[file.identity].done = True
        self._skipped[file.device, file.inode] = file.current_signature()
        file.close()

    def update(self, instance: Instance, file: LogFile, *, done: bool) -> None:
        """Record how far a file was acknowledged; a file without identity is ignored."""
        if file.identity:
            self._entries[file.identity] = make_entry(instance, file, done=done)

    def remove(self, identity: str) -> None:
        """Remove a file."""
        self._entries.pop(identity, None)

    def prune(self, kept: Collection[Instance], scan: Scan) -> None:
        """Drop containers and files that no longer exist, so that nothing grows with the node's history."""
        absent = [
            identity
            for identity, entry in self._entries.items()
            if entry.instance not in kept and not scan.is_unreadable(entry.path)
        ]
        self._absent_since = {identity: self._absent_since.get(identity, scan.now) for identity in absent}
        remembered = set(sorted(absent, key=self._absent_since.__getitem__)[-MAX_REMEMBERED:])
        for identity in absent:
            expired = scan.now - self._absent_since[identity] > REMEMBER_SECONDS
            if expired or identity not in remembered or not self._entries[identity].done:
                del self._entries[identity], self._absent_since[identity]
        self._skipped = {inode: signature for inode, signature in self._skipped.items() if inode in scan.inodes}

    def entries(self, tails: Iterable[tuple[Instance, ContainerTail]]) -> Iterator[Entry]:
        """Yield all entries, those of the tailed files updated."""
        for instance, tail in tails:
            for file in tail.files:
                written = not tail.ended and not file.finalised
                self.update(instance, file, done=not written and _is_acknowledged(file))
        yield from self._entries.values()


def _is_acknowledged(file: LogFile) -> bool:
    """Return whether Kafka has all that the file has now; False if that is unknown."""
    if not 0 < file.last_size <= file.acked.low:
        return False
    try:
        return file.stat() is not None and file.acked.low >= file.size()
    except OSError:
        return False  # polling it reports the error
