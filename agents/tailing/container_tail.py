"""The log of one container instance: its files in order, read into slices that end between two events.

`next_slice` reads the next slice, `acknowledge` marks it as acked by Kafka; in between it is in flight. Lines of an
open event are held: the next slice begins with them. They stay unacknowledged, so they are read again after a crash.
"""

import dataclasses
import enum
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from agents.tailing import held_memory, pending_slice, slice_boundary
from agents.tailing.held_memory import HeldMemory
from agents.tailing.log_file import LogFile
from agents.tailing.pending_slice import InFlightSlice, PendingSlice
from agents.tailing.read_buffer import Chunk, Omission, ReadBuffer, ReadResult
from agents.tailing.slice_boundary import OpenEventLines
from pipeline.contract import cri
from pipeline.contract.record import Continuation, Grouping, LogSlice
from pipeline.grouping.event import OpenEvent

MARGIN_NS = 500_000_000  # between a line's timestamp and its arrival in the file
IDLE_SECONDS, IDLE_POLL_SECONDS = 5.0, 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes of slices, in bytes."""

    slice_bytes: int
    event_bytes: int


class MetadataState(enum.Enum):
    """State of a container's pod metadata."""

    WAITING = "not received yet: nothing is read"
    MISSING = "not received in time: the lines are read, and flagged"
    RECEIVED = "received, or not needed"


class ContainerTail:
    """One container instance. `discovered_at`: monotonic seconds. Its fields change by its methods only."""

    def __init__(
        self,
        key: bytes,
        pod: bytes,
        node: str,
        grouping: Grouping,
        limits: Limits,
        *,
        discovered_at: float = 0.0,
        metadata: MetadataState = MetadataState.RECEIVED,
        memory: HeldMemory | None = None,
    ) -> None:
        self.key: Final = key
        self.node: Final = node
        self.discovered_at: Final = discovered_at
        self._pod = pod
        self._grouping = grouping
        self._limits = limits
        self._metadata = metadata
        self._files: list[LogFile] = []
        self._held: list[Chunk] = []  # some without their data, see HeldMemory
        self._held_memory = memory or HeldMemory()
        self._continuations: tuple[Continuation, ...] | None = None  # of split events; None: those of the checkpoint
        self._in_flight: deque[InFlightSlice] = deque()
        self._omissions: list[Omission] = []  # to be acknowledged with the next slice
        self._omitted_bytes = 0
        self._ended = False
        self._scanned_at = 0  # wall clock, nanoseconds, before the last scan for new files
        self._idle_seconds = 0.0  # since a file grew, at the last poll
        self._polled_at = 0.0  # monotonic time of the last poll

    # --- what others may know

    @property
    def pod(self) -> bytes:
        """The pod metadata, as JSON."""
        return self._pod

    @property
    def metadata(self) -> MetadataState:
        """The state of the pod metadata."""
        return self._metadata

    @property
    def files(self) -> Sequence[LogFile]:
        """The files, from the oldest to the live one."""
        return self._files

    @property
    def holds_lines(self) -> bool:
        """Whether lines were read and not sent, because an unread line may continue their event."""
        return bool(self._held)

    @property
    def in_flight_count(self) -> int:
        """Slices that Kafka has not acknowledged, or whose predecessors it has not acknowledged."""
        return len(self._in_flight)

    @property
    def ended(self) -> bool:
        """Whether no more lines will be written."""
        return self._ended

    @property
    def slice_bytes(self) -> int:
        """The maximum size of a slice."""
        return self._limits.slice_bytes

    @property
    def event_bytes(self) -> int:
        """The maximum size of an event, and of a part of a raw line."""
        return self._limits.event_bytes

    @property
    def polled_at(self) -> float:
        """The monotonic time of the last poll."""
        return self._polled_at

    def backlog_bytes(self) -> int:
        """Return the bytes that were not read yet, without the held ones."""
        return sum([file.backlog_bytes() for file in self._files])

    def is_idle(self, now: float) -> bool:
        """Return whether polling can be skipped at `now`, monotonic seconds: it is idle and has nothing to send."""
        if self._idle_seconds < IDLE_SECONDS or now - self._polled_at > IDLE_POLL_SECONDS:
            return False
        return not self._held and not self.backlog_bytes()

    # --- what others report

    def describe(self, pod: bytes, grouping: Grouping) -> None:
        """Set the pod metadata that was received, and the grouping that the pod requests."""
        self._pod, self._grouping, self._metadata = pod, grouping, MetadataState.RECEIVED

    def stop_waiting(self, pod: bytes) -> None:
        """Read without the pod's metadata, with `pod` instead: it was not received in time."""
        self._pod, self._metadata = pod, MetadataState.MISSING

    def observe(self, now: float) -> None:
        """Record a poll of the files at `now`, monotonic seconds."""
        self._polled_at = now
        files = self._files
        grew_at = files[0].grew_at if len(files) == 1 else max((file.grew_at for file in files), default=0.0)
        self._idle_seconds = now - grew_at

    def finish_scan(self, started_at: int, *, ended: bool) -> None:
        """Record a scan, and whether more lines will be written. `started_at`: wall clock, nanoseconds."""
        self._scanned_at, self._ended = started_at, ended

    def shrink(self, slice_bytes: int) -> None:
        """Reduce the maximum size of a slice, for the slices that follow."""
        if slice_bytes < self._limits.slice_bytes:
            self._limits = dataclasses.replace(self._limits, slice_bytes=slice_bytes)

    def insert(self, file: LogFile) -> None:
        """Insert a new file in the order of the names. Deleted files have no name, and keep their order."""
        key = file.rotated or "~"
        later = (number for number, other in enumerate(self._files) if other.listed and (other.rotated or "~") > key)
        self._files.insert(next(later, len(self._files)), file)
        self._idle_seconds = 0.0  # so that it is polled soon

    def remove(self, file: LogFile) -> None:
        """Remove a file that needs no more reading."""
        self._files.remove(file)

    def replace(self, old: LogFile, replacement: LogFile) -> None:
        """Replace a truncated file."""
        self._files[self._files.index(old)] = replacement
        self._discard(old)

    def abandon(self, file: LogFile) -> None:
        """Stop reading a file; its slices in flight may still be acked."""
        self._files.remove(file)
        self._discard(file)

    def _discard(self, file: LogFile) -> None:
        self._hold([chunk for chunk in self._held if chunk.file is not file])
        self._omissions = [omission for omission in self._omissions if omission[0] is not file]
        self._continuations = ()
        file.close()

    def _hold(self, chunks: list[Chunk]) -> None:
        self._held = self._held_memory.hold(self, chunks)

    # --- slices

    def next_slice(self, now_ns: int) -> PendingSlice | None:
        """Return the next slice, or None while nothing can be sent. `now_ns`: the node's wall clock."""
        self._open_continuations()
        max_bytes = self._limits.slice_bytes
        held = held_memory.load(self._held)
        if held is None:
            return None  # the next poll notices the truncation
        while True:
            buffer = ReadBuffer(held, self._limits.event_bytes, ended=self._ended)
            result = buffer.fill(self._files, max_bytes)
            pending = self._slice_of(buffer, result, now_ns)
            if pending is None and result is ReadResult.MORE:
                max_bytes += self._limits.slice_bytes
                continue
            if pending is None:
                self._hold(self._commit(buffer, buffer.chunks))
            return pending

    def _commit(self, buffer: ReadBuffer, rest: list[Chunk]) -> list[Chunk]:
        self._omissions += buffer.omissions
        self._omitted_bytes += sum(end - start for _, start, end in buffer.omissions)
        return buffer.commit(rest)

    def take_omitted_bytes(self) -> int:
        """Return how many NUL bytes were left out since the last call."""
        number, self._omitted_bytes = self._omitted_bytes, 0
        return number

    def _slice_of(self, buffer: ReadBuffer, result: ReadResult, now_ns: int) -> PendingSlice | None:
        """Make a slice of what may be sent of the lines that were read, and hold the rest; None if nothing may."""
        if result is ReadResult.OVERSIZED:
            return self._make_slice(buffer, buffer.chunks, [], (), now_ns)
        prefix = buffer.take_unparsed_prefix()
        if prefix is not None:
            return self._make_slice(buffer, [prefix], buffer.chunks, self._open_continuations(), now_ns)
        open_events = self._open_events(buffer.chunks, result, now_ns)
        chosen, rest = slice_boundary.split_off_open(buffer.chunks, open_events) if open_events else (buffer.chunks, [])
        if not chosen:
            return None
        continuations = tuple(event.continuation for event, _ in open_events if event.continuation)
        return self._make_slice(buffer, chosen, rest, continuations, now_ns)

    def _open_continuations(self) -> tuple[Continuation, ...]:
        """Return the continuations of the events that are open before the next slice."""
        if self._continuations is None:
            self._continuations = next((file.continuations for file in self._files if file.continuations), ())
        return self._continuations

    def _open_events(self, chunks: list[Chunk], result: ReadResult, now_ns: int) -> list[OpenEventLines]:
        """Return the events that an unread line may continue."""
        if not chunks:
            return []
        open_events = slice_boundary.find_open_events(chunks, self._grouping, self._open_continuations())
        if result is ReadResult.END:
            return [entry for entry in open_events if not self._is_closed_by_gap(entry.event, now_ns)]
        return open_events

    def _is_closed_by_gap(self, event: OpenEvent, now_ns: int) -> bool:
        """Return whether every unread line starts a new event because of its timestamp.

        Such a line was written after the last scan: all earlier lines were in files that were discovered and read.
        """
        last = cri.nanoseconds(event.last_time) or 0
        if last > now_ns + MARGIN_NS:  # the clock was set back, maybe by hours: count from now
            last = min(last, now_ns - int(self._idle_seconds * 1e9))
        return self._ended or self._scanned_at > last + event.gap + MARGIN_NS

    def _make_slice(
        self,
        buffer: ReadBuffer,
        chosen: list[Chunk],
        rest: list[Chunk],
        continuations: tuple[Continuation, ...],
        now_ns: int,
    ) -> PendingSlice:
        """Make a slice of the chosen chunks, and hold the rest; `continuations`: of the events open after it."""
        ranges = pending_slice.file_ranges(chosen)
        files, segments = pending_slice.source(ranges)
        previous_time, oversized = pending_slice.context(chosen[0], self._limits.event_bytes)
        log_slice = LogSlice(
            value=pending_slice.join(chosen),
            files=files,
            segments=segments,
            node=self.node,
            read_at=now_ns,
            grouping=self._grouping,
            pod=self._pod,
            previous_time=previous_time,
            continuations=self._open_continuations() + oversized,
            continued_streams=tuple(continuation.stream for continuation in continuations),
        )
        self._hold(self._commit(buffer, rest))
        in_flight = InFlightSlice(ranges + self._omissions, continuations)
        self._omissions = []
        self._continuations = continuations
        self._in_flight.append(in_flight)
        return PendingSlice(log_slice, in_flight)

    def acknowledge(self, in_flight: InFlightSlice) -> None:
        """Mark a slice as acked. Slices count in order, since an event depends on the lines before it."""
        in_flight.acked = True
        while self._in_flight and self._in_flight[0].acked:
            first = self._in_flight.popleft()
            for file, start, end in first.ranges:
                file.acknowledge(start, end)
            for file in self._files:
                file.continue_with(first.continuations)

    def rewind(self) -> None:
        """Read everything unacknowledged again: the state of the slices in flight is unknown."""
        self._in_flight.clear()
        self._omissions = []
        self._hold([])
        self._continuations = None
        for file in self._files:
            file.rewind()
