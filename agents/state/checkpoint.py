"""The shipper's state across restarts: the acknowledged byte ranges and the size of each file.

One JSON file, versioned, with a checksum; written to a temporary file, synced and renamed; the previous copy is kept.
An unreadable checkpoint, also one of another version, is logged and renamed. Then everything still on disk is sent
again, which is harmless: document ids are derived from file and offset. So a downgrade is possible; a newer release
must read the format of the release before it (0.1.0 is the first, so there is nothing to migrate yet). A lock on the
directory makes a second shipper of the same node wait. A directory that was removed or replaced is made and locked
again before the next write.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agents.tailing.byte_ranges import ByteRanges
from pipeline.contract.pod_metadata import Instance
from pipeline.contract.record import Continuation
from pipeline.errors import StateError

VERSION = 2
log = logging.getLogger(__name__)


ContainerIdentity = tuple[str, str, str, str]
"""Namespace, pod, uid, container: an instance without its restart number."""


@dataclass(slots=True)
class Entry:
    """State of one file. `done`: read and acknowledged to its end, and no longer written.

    `size` and `modified` (mtime, ns) are from the last poll; `size` is None if it was never polled.
    `random_identity`: the identity is not derived from the file's content. `lost_reason`: why the unacknowledged bytes
    will never be read; the entry stays until Kafka has the gap. `continuations`: parts of split events that continue
    where the acknowledged bytes end. Stored as an array, in the order of the fields.
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
        """Return the acknowledged ranges."""
        return ByteRanges(self.low, [(start, end) for start, end in self.above])


@dataclass(slots=True)
class State:
    """Contents of a checkpoint: the files, and the newest restart of each container that ever had a log."""

    entries: list[Entry] = field(default_factory=list)
    newest_restarts: dict[ContainerIdentity, int] = field(default_factory=dict)


class Checkpoint:
    """The checkpoint file of one state directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "checkpoint.json"
        self._previous = directory / "checkpoint.previous.json"
        self._lock = -1
        self._lock_requested = False
        self._directory = directory
        self._last_written = b""

    def lock(self) -> bool:
        """Lock the directory; return False while another shipper holds it.

        The lock is on the directory itself: a full or read-only disk accepts no lock file. Another failure to lock is
        logged and does not stop the shipper.
        """
        self._lock_requested = True
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            return False
        except OSError as error:
            log.error("the state directory cannot be used, a restart would send everything again: %s", error)
        return True

    def unlock(self) -> None:
        """Let another shipper lock the directory. Idempotent."""
        self._lock_requested = False
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _lock_again(self) -> None:
        """Make and lock the directory again if the locked one was removed or replaced. Raises StateError."""
        if not self._lock_requested or self._holds_lock():
            return
        if self._lock >= 0:
            log.error("the state directory was removed or replaced; it is made again: %s", self._directory)
        self.unlock()
        self._last_written = b""
        locked = self.lock()
        self._lock_requested = True  # also after a failure: nothing may be written without the lock
        if not locked:
            raise StateError(f"the state directory was replaced, and another shipper uses it: {self._directory}")

    def _holds_lock(self) -> bool:
        """Return whether the path still names the locked directory."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._lock >= 0 and os.path.samestat(os.fstat(self._lock), os.stat(self._directory))
        return False

    def load(self) -> State | None:
        """Return the newest readable copy; None if there is none."""
        for path in (self.path, self._previous):
            try:
                return decode(path.read_bytes())
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                renamed = path.with_suffix(".refused")
                log.warning("checkpoint unreadable; falling back to previous copy or start of files: %s", error)
                try:
                    path.rename(renamed)
                except OSError as rename_error:
                    log.warning("the unreadable checkpoint cannot be renamed: %s", rename_error)
        return None

    def store(self, state: State) -> None:
        """Replace the checkpoint. Raises OSError; then the existing copies are unchanged.

        Raises StateError if the directory was replaced, and another shipper has locked the new one.
        """
        self._lock_again()
        encoded = encode(state)
        if encoded == self._last_written:
            return
        temporary = self.path.with_suffix(".new")
        with temporary.open("wb") as file:
            file.write(encoded)
            file.flush()
            os.fsync(file.fileno())
        if self.path.exists():
            self.path.replace(self._previous)
        temporary.replace(self.path)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._last_written = encoded


def encode(state: State) -> bytes:
    """Encode a checkpoint: a line with version and checksum, a line with the state."""
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
    """Decode a checkpoint. Raises ValueError with the reason."""
    head, _, body = encoded.partition(b"\n")
    body = body.removesuffix(b"\n")
    try:
        header: Any = orjson.loads(head)
        version, checksum = header["crisp_checkpoint"], header["blake2b"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError("its first line is not a checkpoint header") from error
    if version != VERSION:
        raise ValueError(f"its version is {version!r}, supported is {VERSION}")
    if hashlib.blake2b(body, digest_size=16).hexdigest() != checksum:
        raise ValueError("its checksum is wrong: it was truncated or changed")
    try:
        return _state(orjson.loads(body))
    except (TypeError, KeyError, IndexError, ValueError) as error:
        raise ValueError(f"its content does not match version {VERSION}: {error!r}") from error


def _state(body: Any) -> State:
    entries = [Entry(*row) for row in body["files"]]
    for entry in entries:
        entry.instance = Instance(*entry.instance)
        entry.continuations = tuple(Continuation(*fields) for fields in entry.continuations)
        entry.above = [(start, end) for start, end in entry.above]
    newest = {(row[0], row[1], row[2], row[3]): row[4] for row in body["containers"]}
    return State(entries, newest)
