"""Bounds the memory of all held lines together: a tenant can keep an event open in each of hundreds of containers."""

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

from agents.tailing.read_buffer import Chunk

MAX_BYTES: Final = 16 << 20


class HeldMemory:
    """Counts the held lines of each container. What exceeds the limit is not kept, but read again when it is needed."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._sizes: WeakKeyDictionary[object, int] = WeakKeyDictionary()

    @property
    def total(self) -> int:
        """The bytes in memory of all containers."""
        return sum(self._sizes.values())

    def hold(self, holder: object, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Return the held lines of one container, in place of its earlier ones; without their data if it is too much.

        `load` returns them with their data.
        """
        self._sizes.pop(holder, None)
        size = sum(chunk.size() for chunk in chunks)
        if not size:
            return list(chunks)
        if self.total + size > self._max_bytes:
            return [chunk._replace(data=b"", start=0, stop=chunk.size()) for chunk in chunks]
        self._sizes[holder] = size
        return list(chunks)


def load(chunks: Sequence[Chunk]) -> list[Chunk] | None:
    """Return held lines with their data; None if a file no longer has them: it was truncated."""
    loaded = []
    for chunk in chunks:
        data = chunk.data or chunk.file.read_at(chunk.offset, chunk.size())
        if len(data) < chunk.stop:
            return None
        loaded.append(chunk._replace(data=data))
    return loaded
