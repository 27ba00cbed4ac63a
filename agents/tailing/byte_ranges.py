"""Which bytes of a file were acknowledged: a low-water mark and the ranges above it."""

from bisect import insort


class ByteRanges:
    """Half-open byte ranges; touching ranges are merged. `low`: everything below it is acknowledged."""

    __slots__ = ("above", "low")

    def __init__(self, low: int = 0, above: list[tuple[int, int]] | None = None) -> None:
        self.low = low
        self.above: list[tuple[int, int]] = sorted(above or [])
        self._merge()

    def add(self, start: int, end: int) -> None:
        """Mark the bytes from `start` to `end` as acknowledged. Idempotent."""
        if end <= self.low:
            return
        insort(self.above, (start, end))
        self._merge()

    def _merge(self) -> None:
        merged: list[tuple[int, int]] = []
        for start, end in self.above:
            if start <= self.low:
                self.low = max(self.low, end)
            elif merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        self.above = merged

    def next_unacked(self, position: int) -> tuple[int, int | None]:
        """Return the first unacknowledged byte from `position` on, and the start of the next acknowledged range."""
        position = max(position, self.low)
        for start, end in self.above:
            if position < start:
                return position, start
            position = max(position, end)
        return position, None

    def unacked_bytes(self, size: int) -> int:
        """Return how many of the first `size` bytes are not acknowledged."""
        covered = min(self.low, size) + sum(max(0, min(end, size) - start) for start, end in self.above)
        return size - covered
