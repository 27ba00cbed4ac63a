"""Runs of whole lines of one container instance into slices that end where nothing is open: for audit and parse.

This is not the shipper's way, on purpose: a proof by the code that is to be proved would be none. Both share only
the grouping, which says what an event is. Memory: a block of lines, and what is open at its end.
"""

import itertools
import time
from collections.abc import Iterator

from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.grouper import Grouper

BLOCK_BYTES = 1024 * 1024

LineRun = tuple[int, int, bytes]
"""Whole lines: number of the file, offset of the first byte, the bytes."""


class Slicer:
    """Takes pieces in the order of the log; `files` are those that their numbers name, and the caller's to add to."""

    def __init__(self, grouping: Grouping, pod: bytes, node: str, block_bytes: int) -> None:
        self.files: list[SourceFile] = []
        self._grouping = grouping
        self._pod = pod
        self._node = node
        self._block_bytes = block_bytes
        self._runs: list[LineRun] = []
        self._size = 0
        self._continuations: tuple[Continuation, ...] = ()

    def add(self, run: LineRun) -> Iterator[LogSlice]:
        """A piece more; a slice of what is whole, once there is a block of lines."""
        self._runs.append(run)
        self._size += len(run[2])
        if self._size >= self._block_bytes:
            done, self._runs, carried = split_complete(self._runs, self._grouping, self._continuations)
            self._size = sum(len(data) for _, _, data in self._runs)
            yield from self._make_slice(done, carried)

    def flush(self, *last: LineRun) -> Iterator[LogSlice]:
        """All that is left, with the very last bytes, which need not end with a newline."""
        pieces = [*self._runs, *last]
        self._runs, self._size = [], 0
        yield from self._make_slice(pieces, ())

    def _make_slice(self, runs: list[LineRun], continuations: tuple[Continuation, ...]) -> Iterator[LogSlice]:
        """The pieces as a slice; `carried`: the parts of events that go on behind it."""
        before, self._continuations = self._continuations, continuations
        if runs:
            value = b"".join(data for _, _, data in runs)
            yield LogSlice(
                value=value if value.endswith(b"\n") else value + b"\n",
                files=tuple(self.files),
                segments=tuple(Segment(number, offset, len(data)) for number, offset, data in runs),
                node=self._node,
                read_at=time.time_ns(),
                grouping=self._grouping,
                pod=self._pod,
                continuations=before,
                continued_streams=tuple(one.stream for one in continuations),
            )


def split_complete(
    runs: list[LineRun], grouping: Grouping, continuations: tuple[Continuation, ...] = ()
) -> tuple[list[LineRun], list[LineRun], tuple[Continuation, ...]]:
    """What is whole; what must wait: on each stream, the lines of the event that may still go on; its part, if of many.

    Streams are grouped each by itself, so lines of one may be judged before earlier ones of the other.
    """
    grouper = Grouper(grouping)
    grouper.add_runs(runs, continuations=continuations)
    opened = grouper.open_events()
    held = {event.stream: (event.file, event.offset) for event in opened}
    goes_on = tuple(event.continuation for event in opened if event.continuation)
    if not held:
        return runs, [], ()
    done: list[LineRun] = []
    rest: list[LineRun] = []
    for file, offset, data in runs:
        if (file, offset + len(data)) <= min(held.values()):
            done.append((file, offset, data))
            continue
        at = offset
        for waits, run in itertools.groupby(_split_lines(file, offset, data), lambda line: _is_open(line, held)):
            joined = b"".join(raw for _, _, raw in run)
            (rest if waits else done).append((file, at, joined))
            at += len(joined)
    return done, rest, goes_on


def _split_lines(file: int, offset: int, data: bytes) -> Iterator[LineRun]:
    for raw in data.removesuffix(b"\n").split(b"\n"):
        yield file, offset, raw + b"\n"
        offset += len(raw) + 1


def _is_open(run: LineRun, open_starts: dict[bytes, tuple[int, int]]) -> bool:
    line = cri.parse(run[2][:-1])
    start = open_starts.get(line.stream) if line else None
    return start is not None and run[:2] >= start
