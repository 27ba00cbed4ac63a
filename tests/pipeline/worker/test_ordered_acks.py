"""Acks follow the order of the offsets, independent of the order of completion."""

import asyncio

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.ordered_acks import OrderedAcker, PendingRecord
from pipeline.worker.record_mark import RecordMark
from tests.support.fake_worker import RAW


class Acks:
    """What a consumer is asked to commit, and an acker that asks it."""

    def __init__(self, generation: int = 1) -> None:
        self.generation = generation
        self.acked: list[int] = []
        self.acker = OrderedAcker(lambda: self.generation, lambda _, mark: self.acked.append(mark.offset))

    def add(self, offset: int, tp: TP = RAW, generation: int = 1, timestamp: int = 1) -> PendingRecord:
        """Add a record."""
        return self.acker.add(tp, generation, RecordMark(offset, timestamp, 0))


@given(st.permutations(range(12)))
def test_acks_are_in_order_and_never_pass_a_pending_record(order: list[int]) -> None:
    acks = Acks()
    records = [acks.add(offset) for offset in range(12)]

    settled: set[int] = set()
    for number in order:
        records[number].settle()
        settled.add(number)
        first_pending = next((offset for offset in range(12) if offset not in settled), 12)
        assert (acks.acked or [-1])[-1] == first_pending - 1
    assert acks.acked == sorted(acks.acked)
    assert acks.acker.pending() == 0


def test_record_of_an_older_generation_is_not_acked() -> None:
    acks = Acks()
    old = acks.add(7)
    acks.generation = 2
    new = acks.add(6, generation=2)

    acks.acker.drop_revoked()
    old.settle()
    assert acks.acked == []
    new.settle()
    assert acks.acked == [6]


def test_barrier_delays_the_acks_of_later_records() -> None:
    acks = Acks()
    before = acks.add(1)
    barrier = acks.acker.add_barrier(RAW)
    after = acks.add(9)

    after.settle()
    before.settle()
    assert acks.acked == [1]
    barrier.settle()
    assert acks.acked == [1, 9]


def test_settled_barrier_before_a_pending_record_does_not_hide_the_record_before_it() -> None:
    acks = Acks()
    record, barrier = acks.add(1), acks.acker.add_barrier(RAW)
    acks.add(2)

    barrier.settle()
    record.settle()
    assert acks.acked == [1]


def test_record_of_a_deleted_log_is_never_acked() -> None:
    acks = Acks()
    old = acks.add(1000)
    acks.acker.drop_partition(RAW)
    new = acks.add(0)

    old.settle()
    new.settle()

    assert acks.acked == [0]


def test_oldest_timestamp_is_that_of_the_first_pending_record_of_this_generation() -> None:
    acks = Acks(generation=2)
    acks.add(1, timestamp=10_000)  # of an older generation
    first = acks.add(4, TP("raw", 1), 2, 11_000)
    acks.add(5, TP("raw", 1), 2, 12_000)
    acks.add(6, TP("raw", 2), 2, -1)
    acks.acker.add_barrier(TP("raw", 3))

    assert acks.acker.oldest_timestamps() == {1: 11.0}
    first.settle()
    assert acks.acker.oldest_timestamps() == {1: 12.0}


async def test_wait_ends_when_every_record_is_acked_or_dropped() -> None:
    acks = Acks()
    await acks.acker.wait_until_empty()
    record = acks.add(0)
    acks.add(0, TP("raw", 1))
    waiting = asyncio.create_task(acks.acker.wait_until_empty())
    await asyncio.sleep(0)
    record.settle()
    await asyncio.sleep(0)

    assert not waiting.done()
    acks.acker.drop_partition(TP("raw", 1))
    await waiting
