"""The shipper's memory across restarts: for each file what Kafka has acknowledged of it, and how far it reached.

One JSON file, versioned, with a checksum; written beside, synced and renamed, the copy before kept. A checkpoint
that cannot be read, also one of another version, is told and put aside: then everything still on disk is sent again,
which is harmless, since ids say where a line stood. So one may go back to an older release; a newer one has to read
what the release before it wrote (before 0.1.0 there was none, so nothing is to be migrated yet). A lock on the
directory makes a second shipper of the same node wait.
"""

import fcntl
import hashlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agents.tailing.byte_ranges import ByteRanges
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Continuation

VERSION = 2
log = logging.getLogger(__name__)


ContainerIdentity = tuple[str, str, str, str]
"""Namespace, pod, uid, container: an instance without its restart number."""


@dataclass(slots=True)
class Entry:
    """What is known of one file. `done`: read and acknowledged to its end, and not written any more.

    `size` and `grown` (its modification time, ns) are from the last look; `size` is None where it was never seen.
    `random`: its identity is its own, nothing in the file tells it. `lost`: why what is not acknowledged will never
    be read; the entry stays until Kafka has the gap.
    `carried`: parts of events that were too long, which go on where the acknowledged bytes end.
    """

    identity: str
    low: int
    above: list[tuple[int, int]]
    device: int
    inode: int
    done: bool
    instance: Instance
    path: str
    size: int | None
    modified: int
    random_identity: bool = False
    lost_reason: str = ""
    continuations: tuple[Continuation, ...] = ()

    def ranges(self) -> ByteRanges:
        """The acknowledged ranges."""
        return ByteRanges(self.low, [(start, end) for start, end in self.above])


@dataclass(slots=True)
class State:
    """All that is remembered: the files, and the newest restart of each container whose log was ever found."""

    entries: list[Entry] = field(default_factory=list)
    newest_restarts: dict[ContainerIdentity, int] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint file of one state directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "checkpoint.json"
        self._previous = directory / "checkpoint.previous.json"
        self._lock = -1
        self._directory = directory
        self._last_written = b""

    def lock(self, on_wait: Callable[[], None]) -> None:
        """Wait until no other shipper holds the directory; calls `waiting` once if it has to.

        The lock is on the directory itself: a disk that is full or read-only takes no file for it. One that cannot be
        made is told, and is no reason to leave the logs unread.
        """
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as fault:
            log.error("the state directory cannot be used, a restart would send everything again: %s", fault)

    def load(self) -> State | None:
        """The newest copy that can be read; None when there is none."""
        for path in (self.path, self._previous):
            try:
                return decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as fault:
                aside = path.with_suffix(".refused")
                log.warning(
                    "checkpoint refused, files are read again from an older copy or from their start: %s", fault
                )
                try:
                    path.rename(aside)
                except OSError as again:
                    log.warning("the refused checkpoint cannot be put aside: %s", again)
        return None

    def store(self, state: State) -> None:
        """Replace the checkpoint. Raises OSError; the copies there are then stay as they were."""
        encoded = encode(state)
        if encoded == self._last_written:
            return
        beside = self.path.with_suffix(".new")
        with beside.open("wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self._previous)
        beside.replace(self.path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._last_written = encoded


def encode(state: State) -> bytes:
    """The checkpoint's bytes: a line with version and checksum, a line with what is remembered."""
    body = orjson.dumps(
        {
            "files": [[getattr(entry, name) for name in Entry.__slots__] for entry in state.entries],
            "containers": [[*container, newest] for container, newest in state.newest_restarts.items()],
        },
        default=list,  # named tuples
    )
    head = orjson.dumps({"crisp_checkpoint": VERSION, "blake2b": hashlib.blake2b(body, digest_size=16).hexdigest()})
    return head + b"\n" + body + b"\n"


def decode(encoded: bytes) -> State:
    """Read a checkpoint's bytes. Raises ValueError that says what is wrong with them."""
    head, _, body = encoded.partition(b"\n")
    body = body.removesuffix(b"\n")
    try:
        about: Any = orjson.loads(head)
        version, checksum = about["crisp_checkpoint"], about["blake2b"]
    except (ValueError, TypeError, KeyError) as fault:
        raise ValueError("its first line is not a checkpoint's") from fault
    if version != VERSION:
        raise ValueError(f"its version is {version!r}, known here is {VERSION}")
    if hashlib.blake2b(body, digest_size=16).hexdigest() != checksum:
        raise ValueError("its checksum is wrong: it was cut or changed")
    try:
        return _state(orjson.loads(body))
    except (TypeError, KeyError, IndexError, ValueError) as fault:
        raise ValueError(f"what it holds is not what version {VERSION} has: {fault!r}") from fault


def _state(found: Any) -> State:
    entries = [Entry(*row) for row in found["files"]]
    for entry in entries:
        entry.instance = Instance(*entry.instance)
        entry.continuations = tuple(Continuation(*one) for one in entry.continuations)
        entry.above = [(start, end) for start, end in entry.above]
    newest = {(row[0], row[1], row[2], row[3]): row[4] for row in found["containers"]}
    return State(entries, newest)
