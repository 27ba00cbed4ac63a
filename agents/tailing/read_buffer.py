"""Lines of a container that were read and are not yet part of a slice. Reading changes no file's position."""

import enum
from collections.abc import Sequence

from agents.tailing import slice_boundary
from agents.tailing.log_file import LogFile
from agents.tailing.nul_run import NUL
from pipeline.contract.record import MAX_SEGMENTS
from pipeline.grouping.oversized_line import find_oversized_lines

NEWLINE = 10
MAX_CHUNKS = MAX_SEGMENTS // 2

Chunk = slice_boundary.Chunk[LogFile]
"""Complete lines of a file."""
Omission = tuple[LogFile, int, int]
"""NUL bytes of a file that are not sent: start, end."""


class ReadResult(enum.Enum):
    """How far a read got."""

    MORE = "more can be read at once"
    END = "to the current end of the log"
    INCOMPLETE = "to an incomplete line or file, which later files may follow"
    OVERSIZED = "to the end of a part of a raw line that exceeds the maximum event size"


class ReadBuffer:
    """The held lines of a container, followed by new ones of its files. `positions`: how far each file was read."""

    def __init__(self, held: Sequence[Chunk], event_bytes: int, *, ended: bool) -> None:
        self.chunks = list(held)
        self.positions: dict[LogFile, int] = {}
        self.omissions: list[Omission] = []
        self._held_count = len(held)
        self._event_bytes = event_bytes
        self._ended = ended  # the container's last line is complete, also without a newline

    def fill(self, files: Sequence[LogFile], max_bytes: int) -> ReadResult:
        """Read up to `max_bytes` of new complete lines; return how far the read got."""
        for number, file in enumerate(files):
            last = number == len(files) - 1
            if not last and file.finalised and not file.last_size:
                continue
            if not file.identity or file.compressed:
                return ReadResult.END if last and not file.last_size else ReadResult.INCOMPLETE
            fresh = sum(chunk.size() for chunk in self.chunks[self._held_count :])
            result = self._read_file(file, max_bytes - fresh)
            if result is not None:
                return result
            if not last and not file.finalised:
                return ReadResult.INCOMPLETE
        return ReadResult.END

    def _read_file(self, file: LogFile, max_bytes: int) -> ReadResult | None:
        """Append the new lines of one file; return None if it was read to its end."""
        position = file.position
        while max_bytes > 0 and len(self.chunks) <= MAX_CHUNKS:
            offset, data, at_end = file.read(position, max_bytes)
            if data[:1] == NUL and (omitted := file.omissible_bytes(offset, self._event_bytes)):
                is_long = bool(self.omissions) and self.omissions[-1] == (file, self.omissions[-1][1], offset)
                position = self.positions[file] = offset + omitted
                self.omissions.append((file, offset, position))
                if is_long:
                    return ReadResult.INCOMPLETE  # its end is searched in other turns
                continue
            inside = bool(data) and file.is_inside_line(offset)
            if inside and self.chunks:
                return ReadResult.OVERSIZED
            stop = self._end_of_complete_lines(file, data, inside=inside, at_end=at_end)
            if stop:
                self.chunks.append(Chunk(file, offset, data, 0, stop))
                max_bytes -= stop
            position = self.positions[file] = offset + stop
            if stop and (inside or (stop == self._event_bytes and data[stop - 1] != NEWLINE)):
                return ReadResult.OVERSIZED
            if at_end and len(data) - stop < self._event_bytes:
                return ReadResult.INCOMPLETE if stop < len(data) else None
            if not stop:
                return ReadResult.MORE
        return ReadResult.MORE

    def _end_of_complete_lines(self, file: LogFile, data: bytes, *, inside: bool, at_end: bool) -> int:
        """Return the end of the complete lines in `data`; a final rest without newline counts as complete.

        A raw line above the maximum event size is cut into parts of that size; each is sent on its own.
        """
        limit = self._event_bytes
        final = at_end and (self._ended or file.finalised)
        if inside:
            stop = data.find(b"\n", 0, limit) + 1 or (limit if len(data) >= limit else 0)
            return stop or (len(data) if final else 0)
        first = next(find_oversized_lines(data, limit), None)
        if first is not None:
            return first[0] or limit
        return len(data) if final else data.rfind(b"\n") + 1

    def take_unparsed_prefix(self) -> Chunk | None:
        """Return the non-CRI lines at the start of the new ones, and drop what follows them; None if there are none.

        They go before the held lines: their time is that of the line before them.
        """
        if not self._held_count or len(self.chunks) == self._held_count:
            return None
        fresh = self.chunks[self._held_count]
        stop = slice_boundary.end_of_unparsed(fresh)
        if stop == fresh.start:
            return None
        prefix = fresh.subrange(fresh.start, stop)
        self.chunks = self.chunks[: self._held_count]
        self.positions = {fresh.file: prefix.end()}
        return prefix

    def commit(self, rest: list[Chunk]) -> list[Chunk]:
        """Set the position of each file; return what must be held in memory of `rest`, the lines that are not sent.

        What ends at a file's position is read again instead.
        """
        while rest:
            file = rest[-1].file
            if self.positions.get(file, file.position) != rest[-1].end():
                break
            self.positions[file] = rest[-1].offset
            rest = rest[:-1]
        for file, position in self.positions.items():
            file.seek(position)
        # Copies, so that a few held lines do not keep the whole read buffer in memory.
        return [Chunk(chunk.file, chunk.offset, chunk.to_bytes(), 0, chunk.size()) for chunk in rest]
