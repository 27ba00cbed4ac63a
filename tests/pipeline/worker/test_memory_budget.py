"""Back-pressure of a worker: acquisitions wait for free bytes, and growth delays the next acquisition."""

import asyncio

from pipeline.worker.memory_budget import MemoryBudget


async def test_slice_larger_than_the_budget_runs_alone() -> None:
    budget = MemoryBudget(10)
    await budget.acquire(50)
    waiter = asyncio.create_task(budget.acquire(1))
    await asyncio.sleep(0)

    assert not waiter.done()
    budget.release(50)
    await waiter
    assert budget.used == 1


async def test_grown_work_delays_the_next_acquisition_until_its_release() -> None:
    budget = MemoryBudget(10)
    await budget.acquire(4)
    budget.grow(5)
    waiter = asyncio.create_task(budget.acquire(4))
    await asyncio.sleep(0)

    assert not waiter.done()
    budget.release(9)
    await waiter
    assert budget.used == 4


async def test_cancelled_acquisition_reserves_nothing_and_others_go_on() -> None:
    budget = MemoryBudget(10)
    await budget.acquire(10)
    cancelled, waiter = (asyncio.create_task(budget.acquire(6)) for _ in range(2))
    await asyncio.sleep(0)
    cancelled.cancel()
    budget.release(10)
    await asyncio.wait([cancelled, waiter])

    assert cancelled.cancelled()
    assert budget.used == 6
