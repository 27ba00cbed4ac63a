"""Acknowledged byte ranges: a model of single bytes, and the cases at their edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tailing.byte_ranges import ByteRanges

SIZE = 40
ranges = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 12)).map(lambda pair: (pair[0], sum(pair))))


@given(ranges, st.integers(0, SIZE), st.integers(0, SIZE))
def test_ranges_agree_with_a_set_of_bytes(added: list[tuple[int, int]], position: int, size: int) -> None:
    acked, model = ByteRanges(), set()
    for start, end in added:
        acked.add(start, end)
        model |= set(range(start, end))

    assert acked.low == next(byte for byte in range(2 * SIZE) if byte not in model)
    assert acked.unacked_bytes(size) == sum(byte not in model for byte in range(size))
    offset, limit = acked.next_unacked(position)
    assert offset == next(byte for byte in range(position, 2 * SIZE) if byte not in model)
    assert limit == next((byte for byte in range(offset, 2 * SIZE) if byte in model), None)
    assert all(end < start for (_, end), (start, _) in zip(acked.above, acked.above[1:], strict=False))


@given(ranges)
def test_ranges_do_not_depend_on_the_order_of_adding(added: list[tuple[int, int]]) -> None:
    forward, backward = ByteRanges(), ByteRanges()
    for start, end in added:
        forward.add(start, end)
    for start, end in reversed(added):
        backward.add(start, end)

    assert (forward.low, forward.above) == (backward.low, backward.above)


@pytest.mark.parametrize(
    ("low", "above", "merged"),
    [
        (0, None, (0, [])),
        (5, [(5, 7)], (7, [])),
        (5, [(2, 3)], (5, [])),
        (0, [(8, 9), (2, 4), (3, 6)], (0, [(2, 6), (8, 9)])),
        (0, [(2, 4), (4, 6)], (0, [(2, 6)])),
    ],
)
def test_stored_ranges_are_merged(low: int, above: list[tuple[int, int]] | None, merged: tuple[int, object]) -> None:
    acked = ByteRanges(low, above)

    assert (acked.low, acked.above) == merged
