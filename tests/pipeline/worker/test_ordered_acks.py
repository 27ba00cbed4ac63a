"""Acks follow the order of the offsets, independent of the order of completion."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.ordered_acks import OrderedAcker
from tests.support.fake_worker import FakeEvent, FakeMessage


@dataclass
class Record:
    """A fake of Faust's event, with the attributes that the acker reads."""

    offset: int
    acked: list[int]
    tp: tuple[str, int] = ("raw", 0)
    generation_id: int = 1
    message: Any = field(init=False)

    def __post_init__(self) -> None:
        self.message = self

    def ack(self) -> None:
        self.acked.append(self.offset)


@given(st.permutations(range(12)))
def test_acks_are_in_order_and_never_pass_a_pending_record(order: list[int]) -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    records = [acker.add(Record(offset, acked)) for offset in range(12)]

    settled: set[int] = set()
    for number in order:
        records[number].settle()
        settled.add(number)
        first_pending = next((offset for offset in range(12) if offset not in settled), 12)
        assert acked == list(range(first_pending))
    assert acker.pending() == 0


def test_record_of_an_older_generation_is_not_acked() -> None:
    acked: list[int] = []
    generation = 1
    acker = OrderedAcker(lambda: generation)
    old = acker.add(Record(7, acked))
    generation = 2
    new = acker.add(Record(6, acked, generation_id=2))

    acker.drop_revoked()
    old.settle()
    assert acked == []
    new.settle()
    assert acked == [6]


def test_barrier_delays_the_acks_of_later_records() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    before = acker.add(Record(1, acked))
    barrier = acker.add_barrier(("raw", 0))
    after = acker.add(Record(9, acked))

    after.settle()
    before.settle()
    assert acked == [1]
    barrier.settle()
    assert acked == [1, 9]


def test_record_of_a_deleted_log_is_never_acked() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    old = acker.add(Record(1000, acked))
    acker.drop_partition(("raw", 0))
    new = acker.add(Record(0, acked))

    old.settle()
    new.settle()

    assert acked == [0]


def test_oldest_timestamp_is_that_of_the_first_pending_record_of_this_generation() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 2)
    acker.add(FakeEvent(FakeMessage(1, tp=TP("raw", 0), timestamp=10.0), acked))  # of an older generation
    first = acker.add(FakeEvent(FakeMessage(4, tp=TP("raw", 1), timestamp=11.0, generation_id=2), acked))
    acker.add(FakeEvent(FakeMessage(5, tp=TP("raw", 1), timestamp=12.0, generation_id=2), acked))
    acker.add(FakeEvent(FakeMessage(6, tp=TP("raw", 2), timestamp=None, generation_id=2), acked))
    acker.add_barrier(TP("raw", 3))

    assert acker.oldest_timestamps() == {1: 11.0}
    first.settle()
    assert acker.oldest_timestamps() == {1: 12.0}


async def test_wait_ends_when_every_record_is_acked_or_dropped() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    await acker.wait_until_empty()
    record = acker.add(FakeEvent(FakeMessage(0), acked))
    acker.add(FakeEvent(FakeMessage(0, tp=TP("raw", 1)), acked))
    waiting = asyncio.create_task(acker.wait_until_empty())
    await asyncio.sleep(0)
    record.settle()
    await asyncio.sleep(0)

    assert not waiting.done()
    acker.drop_partition(TP("raw", 1))
    await waiting
