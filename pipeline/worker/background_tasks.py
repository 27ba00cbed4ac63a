"""Tasks of a worker whose unexpected end crashes the process, with the committed offsets unchanged."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pipeline import cancellation

log = logging.getLogger(__name__)


class BackgroundTasks:
    """Runs work and calls `crash` with any exception from it: that is a bug, and a restart is the remedy."""

    def __init__(self, crash: Callable[[BaseException], Awaitable[None]]) -> None:
        self._crash = crash
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Start work as a task of its own."""
        task = asyncio.create_task(self.run_or_crash(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run_or_crash(self, work: Awaitable[None]) -> None:
        """Await work. Cancellation of the running task is no error, but that of another task is."""
        try:
            await work
        except asyncio.CancelledError as error:
            if not cancellation.was_requested():
                await self._report(error)
            raise
        except Exception as error:
            await self._report(error)
            raise

    async def _report(self, error: BaseException) -> None:
        log.critical("unrecoverable error, exiting", exc_info=error)
        await self._crash(error)
