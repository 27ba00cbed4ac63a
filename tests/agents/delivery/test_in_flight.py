"""Bytes in flight: limits of a partition and in total, and how long a partition has not responded."""

import pytest

from agents.delivery import in_flight
from agents.delivery.in_flight import InFlightBytes
from agents.delivery.partitioner import choose_partition

PARTITIONS = [0, 1, 2]


class Clock:
    """A manual monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(in_flight, "time", clock)
    return clock


@pytest.fixture
def counter() -> InFlightBytes:
    counter = InFlightBytes(100, 60)
    counter.assign(PARTITIONS)
    return counter


def key_of(partition: int) -> bytes:
    return next(key for number in range(100) if choose_partition(key := b"%d" % number, PARTITIONS) == partition)


def test_capacity_ends_at_the_limit_and_returns_below_it(counter: InFlightBytes) -> None:
    counter.add(b"a", 99)
    assert counter.capacity.is_set()
    counter.add(b"a", 1)
    assert not counter.capacity.is_set()
    counter.release(b"a", 1)
    assert counter.capacity.is_set()
    assert counter.acked.is_set()
    assert counter.total == 99


def test_full_partition_leaves_capacity_for_others(counter: InFlightBytes) -> None:
    counter.add(key_of(1), 60)

    assert not counter.has_capacity(key_of(1))
    assert counter.has_capacity(key_of(2))
    assert counter.waiting_partitions() == [1]


def test_reset_forgets_everything_and_returns_its_bytes(counter: InFlightBytes) -> None:
    counter.add(b"a", 100)

    assert counter.reset() == 100
    assert (counter.total, counter.waiting_partitions(), counter.capacity.is_set()) == (0, [], True)


def test_response_restarts_the_wait_of_its_partition(counter: InFlightBytes, clock: Clock) -> None:
    counter.add(key_of(0), 10)
    counter.add(key_of(0), 10)
    clock.now += 5
    assert counter.unresponsive_seconds() == 5.0
    counter.release(key_of(0), 10)
    assert counter.unresponsive_seconds() == 0.0
    clock.now += 3
    counter.add(key_of(2), 1)
    assert counter.unresponsive_seconds() == 3.0


def test_ignored_partition_does_not_count_as_unresponsive(counter: InFlightBytes, clock: Clock) -> None:
    counter.add(key_of(0), 10)
    clock.now += 5

    assert counter.unresponsive_seconds([0]) == 0.0
    assert counter.unresponsive_seconds([1]) == 5.0
