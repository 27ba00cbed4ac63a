"""What is known of log files: how much of each Kafka has, by identity, and which need no reading as they are.

Kept from one shipper to the next by the checkpoint.
"""

import os
from collections.abc import Collection, Iterable, Iterator, KeysView

from agents.discovery.scanner import DiscoveredFile
from agents.state.checkpoint import Entry, State
from agents.state.missing_files import Inode, is_unreadable
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile, Signature, file_signature
from pipeline.contract.pod_metadata import Instance


def make_entry(instance: Instance, file: LogFile, *, done: bool) -> Entry:
    """What the checkpoint should say of a file. `done`: it is read to its end, and not written any more."""
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
    """`state` is what an earlier shipper remembered."""

    def __init__(self, state: State | None) -> None:
        self._entries = {one.identity: one for one in state.entries} if state else {}
        self._by_inode = {(one.device, one.inode): one for one in self._entries.values()}
        self._skipped: dict[Inode, Signature] = {}  # files on disk that need no reading while they are as they were

    @property
    def identities(self) -> KeysView[str]:
        """Of the files that are known."""
        return self._entries.keys()

    def needs_opening(self, discovered: DiscoveredFile) -> bool:
        """Whether a file that is not open should be opened."""
        return self._skipped.get(discovered.inode) != file_signature(discovered.status)

    def resume(self, file: LogFile) -> None:
        """A file that was just named goes on where an earlier shipper was acknowledged."""
        known = self._entries.get(file.identity)
        if known is None and file.random_identity:
            known = self._by_inode.get((file.device, file.inode))
            if known is not None and known.random_identity and known.low <= file.size():
                file.identity = known.identity
            else:
                known = None
        if known is not None and known.low <= file.size():
            file.resume(known.ranges(), known.continuations)

    def is_read(self, file: LogFile) -> bool:
        """Whether Kafka has the file to its end, if it is not written any more."""
        known = self._entries.get(file.identity)
        return known is not None and known.low >= file.size() and (known.done or file.compressed)

    def close(self, file: LogFile) -> None:
        """Close a file that needs no more reading while it is as it is."""
        if self.is_read(file):
            self._entries[file.identity].done = True
        unpacked = file.archive and not file.compressed
        self._skipped[file.device, file.inode] = (
            file.signature if unpacked else file_signature(os.fstat(file.descriptor))
        )
        file.close()

    def update(self, instance: Instance, file: LogFile, *, done: bool) -> None:
        """Note how far a file was acknowledged; one without identity has nothing to be known by."""
        if file.identity:
            self._entries[file.identity] = make_entry(instance, file, done=done)

    def remove(self, identity: str) -> None:
        """Nothing more is to be remembered of a file."""
        self._entries.pop(identity, None)

    def prune(self, kept: Collection[Instance], unreadable: Collection[str], on_disk: Collection[Inode]) -> None:
        """Drop what is known of files that are gone, so that nothing grows with the node's history."""
        self._entries = {
            identity: known
            for identity, known in self._entries.items()
            if known.instance in kept or is_unreadable(known.path, unreadable)
        }
        self._skipped = {inode: seen for inode, seen in self._skipped.items() if inode in on_disk}

    def entries(self, tails: Iterable[tuple[Instance, ContainerTail]]) -> Iterator[Entry]:
        """All that is known, of the files that are read as it is now."""
        for instance, tail in tails:
            for file in tail.files:
                self.update(instance, file, done=tail.ended and 0 < file.last_size <= file.acked.low)
        yield from self._entries.values()
