"""A raw line longer than an event: split into numbered pieces, each an event. Pure."""

from collections.abc import Iterator

from pipeline.contract import cri
from pipeline.grouping.event import SPLIT, UNPARSED, Event


class OversizedLine:
    """Splits oversized raw lines, one after the other, into pieces of `limit` bytes. A line may span runs."""

    __slots__ = ("_end", "_limit", "_next_piece")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._next_piece = 0  # its number; 0: no line is open
        self._end: tuple[int, int] | None = None  # file and offset of the next piece, if known

    def resume(self, piece: int) -> None:
        """Resume a line whose next piece has this number."""
        self._next_piece = piece

    def continues_at(self, file: int, offset: int) -> bool:
        """Return whether a line is open that continues here; one that does not is closed."""
        if self._next_piece and self._end not in (None, (file, offset)):
            self._next_piece = 0
        return self._next_piece > 0

    def begin(self, file: int, offset: int, data: bytes, previous_time: bytes) -> Iterator[Event]:
        """Begin a line; yield its pieces. Without a time of its own, it has that of the line before it."""
        piece = data[: self._limit]
        line = cri.parse(piece.removesuffix(b"\n"))
        if line is None:
            time = previous_time
            yield (file, offset, self._limit, time, b"", piece, SPLIT | UNPARSED, 1)
        else:
            time = line.time
            yield (file, offset, self._limit, time, line.stream, line.content, SPLIT, 1)
        self._next_piece = 2
        yield from self.add(file, offset + self._limit, data[self._limit :], time)

    def add(self, file: int, offset: int, data: bytes, time: bytes) -> Iterator[Event]:
        """Yield the next pieces of the open line; a newline, which can only be the last byte, ends it."""
        for start in range(0, len(data), self._limit):
            piece = data[start : start + self._limit]
            content = piece.removesuffix(b"\n")
            yield (file, offset + start, len(piece), time, b"", content, SPLIT | UNPARSED, self._next_piece)
            self._next_piece += 1
        self._end = (file, offset + len(data))
        if data.endswith(b"\n"):
            self._next_piece = 0


def find_oversized_lines(data: bytes, limit: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each raw line of more than `limit` bytes; the last one may continue after `data`."""
    start = 0
    while len(data) - start >= limit:
        newline = data.rfind(b"\n", start, start + limit)
        end = newline + 1
        if newline < 0:
            end = data.find(b"\n", start + limit) + 1 or len(data)
            yield start, end
        start = end
