"""Slices runs of complete lines of one container instance where no event is open: for audit and parse.

This is deliberately not the shipper's code: an audit by the code under audit would prove nothing. Both share only the
grouping, which defines an event. Memory: a block of lines, and the events that are open at its end.
"""

import itertools
import time
from collections.abc import Iterator

from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping, LogSlice, Segment, SourceFile
from pipeline.grouping.grouper import Grouper

BLOCK_BYTES = 1024 * 1024

LineRun = tuple[int, int, bytes]
"""Complete lines: number of the file, offset of the first byte, the bytes."""


class Slicer:
    """Slices runs in the order of the log. `files`, filled by the caller: the files that the runs' numbers refer to."""

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
        """Add a run; yield a slice of the complete events when a block of lines is full."""
        self._runs.append(run)
        self._size += len(run[2])
        if self._size >= self._block_bytes:
            complete, self._runs, continuations = split_complete(self._runs, self._grouping, self._continuations)
            self._size = sum(len(data) for _, _, data in self._runs)
            yield from self._make_slice(complete, continuations)

    def flush(self, *last: LineRun) -> Iterator[LogSlice]:
        """Yield a slice of all remaining lines and of `last`, which need not end with a newline."""
        runs = [*self._runs, *last]
        self._runs, self._size = [], 0
        yield from self._make_slice(runs, ())

    def _make_slice(self, runs: list[LineRun], continuations: tuple[Continuation, ...]) -> Iterator[LogSlice]:
        """Yield the runs as a slice; `continuations`: the parts of events that continue in the next slice."""
        previous, self._continuations = self._continuations, continuations
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
                continuations=previous,
                continued_streams=tuple(continuation.stream for continuation in continuations),
            )


def split_complete(
    runs: list[LineRun], grouping: Grouping, continuations: tuple[Continuation, ...] = ()
) -> tuple[list[LineRun], list[LineRun], tuple[Continuation, ...]]:
    """Split runs into complete events, lines of open events, and the continuations of open multi-part events.

    Streams are grouped independently, so lines of one stream may be complete before earlier lines of the other.
    """
    grouper = Grouper(grouping)
    grouper.add_runs(runs, continuations=continuations)
    open_events = grouper.open_events()
    open_starts = {event.stream: (event.file, event.offset) for event in open_events}
    open_continuations = tuple(event.continuation for event in open_events if event.continuation)
    if not open_starts:
        return runs, [], ()
    complete: list[LineRun] = []
    rest: list[LineRun] = []
    for file, offset, data in runs:
        if (file, offset + len(data)) <= min(open_starts.values()):
            complete.append((file, offset, data))
            continue
        position = offset
        lines = _split_lines(file, offset, data)
        for is_open, group in itertools.groupby(lines, lambda line: _is_open(line, open_starts)):
            joined = b"".join(raw for _, _, raw in group)
            (rest if is_open else complete).append((file, position, joined))
            position += len(joined)
    return complete, rest, open_continuations


def _split_lines(file: int, offset: int, data: bytes) -> Iterator[LineRun]:
    for raw in data.removesuffix(b"\n").split(b"\n"):
        yield file, offset, raw + b"\n"
        offset += len(raw) + 1


def _is_open(run: LineRun, open_starts: dict[bytes, tuple[int, int]]) -> bool:
    line = cri.parse(run[2][:-1])
    start = open_starts.get(line.stream) if line else None
    return start is not None and run[:2] >= start
