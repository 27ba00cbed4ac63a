"""Bytes in work, bounded: the only back-pressure there is. Whoever takes waits until others have given back."""

import asyncio
from collections import deque


class MemoryBudget:
    """Bytes of slices in work and of what was made of them. A slice larger than the whole budget runs alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.used = 0
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def acquire(self, size: int) -> None:
        """Wait until there is room."""
        while self.used and self.used + size > self._limit:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        self.used += size

    def grow(self, size: int) -> None:
        """Take what something already in work has grown by; whoever comes next waits for it."""
        self.used += size

    def release(self, size: int) -> None:
        """Give room back."""
        self.used -= size
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
