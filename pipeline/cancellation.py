"""Whether a CancelledError is meant for this task: libraries let another task's cancellation escape."""

import asyncio


def was_requested() -> bool:
    """Return whether the running task was cancelled; False if a CancelledError of another task passed through it."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
