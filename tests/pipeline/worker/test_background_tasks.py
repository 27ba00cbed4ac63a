"""An unexpected end of a task crashes the process; its own cancellation does not."""

import asyncio
import contextlib

import pytest

from pipeline.worker.background_tasks import BackgroundTasks


class Crashes:
    """Collects what crashed."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.tasks = BackgroundTasks(self.crash)

    async def crash(self, error: BaseException) -> None:
        self.errors.append(error)


async def test_completed_work_crashes_nothing() -> None:
    crashes = Crashes()
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    crashes.tasks.spawn(work())
    await done.wait()

    assert crashes.errors == []


@pytest.mark.parametrize("error", [KeyError("bug"), asyncio.CancelledError()], ids=["error", "foreign_cancellation"])
async def test_error_of_the_work_crashes_and_is_raised(error: BaseException) -> None:
    crashes = Crashes()

    async def work() -> None:
        raise error

    with pytest.raises(type(error)):
        await crashes.tasks.run_or_crash(work())

    assert crashes.errors == [error]


async def test_cancelled_task_crashes_nothing() -> None:
    crashes = Crashes()
    task = asyncio.create_task(crashes.tasks.run_or_crash(asyncio.sleep(60)))
    await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task

    assert task.cancelled()
    assert crashes.errors == []
