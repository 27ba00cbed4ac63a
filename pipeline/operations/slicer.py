"""Runs of whole lines of one container instance into slices that end where nothing is open: for audit and parse.

This is not the shipper's way, on purpose: a proof by the code that is to be proved would be none. Both share only
the grouping, which says what an event is. Memory: a block of lines, and what is open at its end.
"""

import itertools
import time
from collections.abc import Iterator

from pipeline.contract import cri
from pipeline.contract.record import Carried, Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.grouper import Grouper

BLOCK_BYTES = 1024 * 1024

Piece = tuple[int, int, bytes]
"""Whole lines: number of the file, offset of the first byte, the bytes."""


class Slicing:
    """Takes pieces in the order of the log; `files` are those that their numbers name, and the caller's to add to."""

    def __init__(self, grouping: Grouping, pod: bytes, node: str, block_bytes: int) -> None:
        self.files: list[SourceFile] = []
        self._grouping = grouping
        self._pod = pod
        self._node = node
        self._block_bytes = block_bytes
        self._pieces: list[Piece] = []
        self._size = 0
        self._carried: tuple[Carried, ...] = ()

    def take(self, piece: Piece) -> Iterator[LogSlice]:
        """A piece more; a slice of what is whole, once there is a block of lines."""
        self._pieces.append(piece)
        self._size += len(piece[2])
        if self._size >= self._block_bytes:
            done, self._pieces, carried = divide(self._pieces, self._grouping, self._carried)
            self._size = sum(len(data) for _, _, data in self._pieces)
            yield from self._slice(done, carried)

    def end(self, *last: Piece) -> Iterator[LogSlice]:
        """All that is left, with the very last bytes, which need not end with a newline."""
        pieces = [*self._pieces, *last]
        self._pieces, self._size = [], 0
        yield from self._slice(pieces, ())

    def _slice(self, pieces: list[Piece], carried: tuple[Carried, ...]) -> Iterator[LogSlice]:
        """The pieces as a slice; `carried`: the parts of events that go on behind it."""
        before, self._carried = self._carried, carried
        if pieces:
            value = b"".join(data for _, _, data in pieces)
            yield LogSlice(
                value=value if value.endswith(b"\n") else value + b"\n",
                files=tuple(self.files),
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
