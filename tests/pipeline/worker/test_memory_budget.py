"""The one back-pressure of a worker: what is taken waits for room, and what grows makes the next one wait."""

import asyncio

from pipeline.worker.memory_budget import MemoryBudget


async def test_a_slice_larger_than_the_budget_runs_alone() -> None:
    budget = MemoryBudget(10)
    await budget.acquire(50)
    next_one = asyncio.create_task(budget.acquire(1))
    await asyncio.sleep(0)

    assert not next_one.done()
    budget.release(50)
    await next_one
    assert budget.used == 1


async def test_what_has_grown_makes_the_next_one_wait_until_all_of_it_is_given_back() -> None:
    budget = MemoryBudget(10)
    await budget.acquire(4)
    budget.grow(5)
    next_one = asyncio.create_task(budget.acquire(4))
    await asyncio.sleep(0)

    assert not next_one.done()
    budget.release(9)
    await next_one
    assert budget.used == 4
