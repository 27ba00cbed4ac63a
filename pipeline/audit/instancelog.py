"""The log of one container instance, read from its files into slices that end where nothing is open.

This is not the shipper's reader, on purpose: a proof by the code that is to be proved would be none. Both share only
the grouping, which says what an event is. Memory: a block of lines, and what is open at its end.
"""

import gzip
import itertools
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline import cri, record
from pipeline.grouping import Grouper
from pipeline.pod import Instance
from pipeline.record import Carried, Grouping, LogSlice, Segment, SourceFile

BLOCK_BYTES = 1024 * 1024
_UNNAMED = -1  # its first line is not there yet
_NAMELESS = -2  # its first line has no time: the shipper gave it a random name
_TWICE = -3  # the same file as it was and packed, while the kubelet packs it

Piece = tuple[int, int, bytes]
"""Whole lines: number of the file, offset of the first byte, the bytes."""


@dataclass(frozen=True, slots=True)
class Unjudged:
    """What of a file cannot be judged: how much of it, and why (the unit is in the words)."""

    path: str
    amount: int
    reason: str


@dataclass(slots=True)
class OpenFile:
    """A log file held open; `size` as it was then, so that what is written meanwhile is not read."""

    path: Path
    stream: BinaryIO
    size: int
    rotated: bool

    def blocks(self) -> Iterator[bytes]:
        """The bytes, some at a time. Raises OSError, EOFError or zlib.error for a broken archive."""
        if self.path.suffix == ".gz":
            with gzip.GzipFile(fileobj=self.stream) as unpacked:
                while block := unpacked.read(BLOCK_BYTES):
                    yield block
            return
        left = self.size
        while left and (block := self.stream.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block


def open_files(paths: list[Path]) -> list[OpenFile]:
    """Open all files of an instance, before any is read: what is rotated meanwhile stays in our hands.

    Raises OSError. The paths are in order, the live file last.
    """
    opened: list[OpenFile] = []
    try:
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            stream = os.fdopen(descriptor, "rb", buffering=0)
            opened.append(OpenFile(path, stream, os.fstat(descriptor).st_size, not path.name.endswith(".log")))
    except OSError:
        for file in opened:
            file.stream.close()
        raise
    return opened


class InstanceLog:
    """Reads the files of one instance. `ended`: a later instance is there, so nothing more is written."""

    def __init__(
        self, instance: Instance, files: list[OpenFile], grouping: Grouping, pod: bytes, node: str, *, ended: bool
    ) -> None:
        self._instance = instance
        self._opened = files
        self._grouping = grouping
        self._pod = pod
        self._node = node
        self._ended = ended
        self._files: list[SourceFile] = []
        self._pieces: list[Piece] = []
        self._carried: tuple[Carried, ...] = ()
        self._size = 0

    def slices(self) -> Iterator[LogSlice | Unjudged]:
        """All whole events, and what cannot be judged."""
        for number, file in enumerate(self._opened):
            last = number == len(self._opened) - 1
            try:
                yield from self._file(file, last=last)
            except (OSError, EOFError, zlib.error) as fault:
                yield Unjudged(str(file.path), 1, f"file that cannot be read ({fault})")
            finally:
                file.stream.close()
        yield from self._emit(self._pieces)

    def _file(self, file: OpenFile, *, last: bool) -> Iterator[LogSlice | Unjudged]:
        final = file.rotated or self._ended or not last
        offset, rest, number = 0, b"", _UNNAMED
        for block in file.blocks():
            data = rest + block
            end = data.rfind(b"\n") + 1
            if number == _UNNAMED and (end or len(data) >= record.FIRST_LINE_BYTES):
                number = self._name(file, data)
                if number < 0:
                    break
            rest = data[end:]
            if end:
                yield from self._take((number, offset, data[:end]))
                offset += end
            elif len(rest) > 2 * self._grouping.max_bytes:
                yield Unjudged(str(file.path), file.size - offset, "bytes behind a line that has no end")
                return
        if number == _UNNAMED and rest and final:
            number = self._name(file, rest)
        if number == _NAMELESS:
            yield Unjudged(str(file.path), file.size, "bytes of a file whose first line has no time")
        elif number >= 0 and rest and final:
            yield from self._emit([*self._pieces, (number, offset, rest)])
            self._pieces, self._size = [], 0
        elif rest and number != _TWICE:
            yield Unjudged(str(file.path), len(rest), "bytes of a line that is still being written")

    def _name(self, file: OpenFile, data: bytes) -> int:
        """The number of the file, now that its first line is known, or why it has none."""
        first = data.partition(b"\n")[0]
        if not cri.is_stamped(first):
            return _NAMELESS
        name = record.identity(self._instance.uid, self._instance.container, self._instance.restart, first)
        if any(known.identity == name for known in self._files):
            return _TWICE
        self._files.append(SourceFile(name, str(file.path)))
        return len(self._files) - 1

    def _take(self, piece: Piece) -> Iterator[LogSlice]:
        self._pieces.append(piece)
        self._size += len(piece[2])
        if self._size >= BLOCK_BYTES:
            done, self._pieces, carried = divide(self._pieces, self._grouping, self._carried)
            self._size = sum(len(data) for _, _, data in self._pieces)
            yield from self._emit(done, carried)

    def _emit(self, pieces: list[Piece], carried: tuple[Carried, ...] = ()) -> Iterator[LogSlice]:
        """The pieces as a slice; `carried`: the parts of events that go on behind it."""
        before, self._carried = self._carried, carried
        if pieces:
            value = b"".join(data for _, _, data in pieces)
            yield LogSlice(
                value=value if value.endswith(b"\n") else value + b"\n",
                files=tuple(self._files),
                segments=tuple(Segment(number, offset, len(data)) for number, offset, data in pieces),
                node=self._node,
                read=time.time_ns(),
                grouping=self._grouping,
                pod=self._pod,
                carried=before,
                goes_on=tuple(one.stream for one in carried),
            )


def divide(
    pieces: list[Piece], grouping: Grouping, carried: tuple[Carried, ...] = ()
) -> tuple[list[Piece], list[Piece], tuple[Carried, ...]]:
    """What is whole; what must wait: on each stream, the lines of the event that may still go on; its part, if of many.

    Streams are grouped each by itself, so lines of one may be judged before earlier ones of the other.
    """
    grouper = Grouper(grouping)
    grouper.feed(pieces, carried=carried)
    opened = grouper.open()
    held = {event.stream: (event.file, event.offset) for event in opened}
    goes_on = tuple(event.carried for event in opened if event.carried)
    if not held:
        return pieces, [], ()
    done: list[Piece] = []
    rest: list[Piece] = []
    for file, offset, data in pieces:
        if (file, offset + len(data)) <= min(held.values()):
            done.append((file, offset, data))
            continue
        at = offset
        for waits, run in itertools.groupby(_lines(file, offset, data), lambda line: _waits(line, held)):
            joined = b"".join(raw for _, _, raw in run)
            (rest if waits else done).append((file, at, joined))
            at += len(joined)
    return done, rest, goes_on


def _lines(file: int, offset: int, data: bytes) -> Iterator[Piece]:
    for raw in data.removesuffix(b"\n").split(b"\n"):
        yield file, offset, raw + b"\n"
        offset += len(raw) + 1


def _waits(piece: Piece, held: dict[bytes, tuple[int, int]]) -> bool:
    line = cri.parse(piece[2][:-1])
    start = held.get(line.stream) if line else None
    return start is not None and piece[:2] >= start
