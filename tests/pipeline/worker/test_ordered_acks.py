"""Acks come in the order of the offsets, whatever order the work ends in."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker.ordered_acks import OrderedAcker


@dataclass
class Record:
    """An event as Faust hands it over, as far as the acker looks at it."""

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
def test_acks_are_in_order_and_never_pass_a_record_in_work(order: list[int]) -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    slots = [acker.add(Record(offset, acked)) for offset in range(12)]

    done: set[int] = set()
    for number in order:
        acker.settle(slots[number])
        done.add(number)
        reached = next((offset for offset in range(12) if offset not in done), 12)
        assert acked == list(range(reached))
    assert acker.pending() == 0


def test_what_an_older_generation_did_is_not_acked() -> None:
    acked: list[int] = []
    generation = 1
    acker = OrderedAcker(lambda: generation)
    old = acker.add(Record(7, acked))
    generation = 2
    new = acker.add(Record(6, acked, generation_id=2))

    acker.drop_revoked()
    acker.settle(old)
    assert acked == []
    acker.settle(new)
    assert acked == [6]


def test_what_is_held_keeps_the_records_after_it_from_being_acked() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    before = acker.add(Record(1, acked))
    held = acker.add_barrier(1, ("raw", 0))
    after = acker.add(Record(9, acked))

    acker.settle(after)
    acker.settle(before)
    assert acked == [1]
    acker.settle(held)
    assert acked == [1, 9]


def test_offsets_of_a_log_that_is_gone_are_never_acked() -> None:
    acked: list[int] = []
    acker = OrderedAcker(lambda: 1)
    gone = acker.add(Record(1000, acked))
    acker.drop_partition(("raw", 0))
    new = acker.add(Record(0, acked))

    acker.settle(gone)
    acker.settle(new)

    assert acked == [0]
