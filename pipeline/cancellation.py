"""A task that ends although nobody asked it to: a library let another task's end out. Never to be believed."""

import asyncio


def was_requested() -> bool:
    """Whether the running task was asked to end; False when a CancelledError only came through it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
