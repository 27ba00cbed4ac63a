"""Back-pressure: bounds the bytes in flight. A consumer waits until bytes are released."""

import asyncio
from collections import deque


class MemoryBudget:
    """Bytes of slices in flight and of their documents. A slice larger than the whole budget runs alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def acquire(self, size: int, held: int = 0) -> None:
        """Wait until the bytes fit, then reserve them. `held` are reserved bytes that cannot be released before."""
        while self.used > held and self.used + size > self._limit:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self.used += size

    def grow(self, size: int) -> None:
        """Add the growth of work already in flight, without waiting; later calls of `acquire` wait for it."""
        self.used += size

    def release(self, size: int) -> None:
        """Release bytes."""
        self.used -= size
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
