"""The number of concurrent bulk requests."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.elasticsearch.concurrency_limit import ConcurrencyLimit


def test_limit_grows_to_the_maximum_with_fast_responses() -> None:
    limit = ConcurrencyLimit(4)
    before = limit.allowed
    for _ in range(20):
        limit.on_success(0.1)

    assert (before, limit.allowed) == (2, 4)


def test_limit_halves_on_overload_and_grows_again() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(60):
        limit.on_success(0.1)
    limit.on_overload()
    assert limit.allowed == 4
    for _ in range(60):
        limit.on_success(0.1)
    assert limit.allowed == 8


def test_limit_shrinks_with_queued_responses() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(60):
        limit.on_success(0.1)
    for _ in range(30):
        limit.on_success(0.5)

    assert limit.allowed < 8


def test_limit_adapts_to_a_permanently_slower_server() -> None:
    limit = ConcurrencyLimit(4)
    limit.on_success(0.01)
    for _ in range(400):
        limit.on_success(1.0)

    assert limit.allowed == 4


@given(st.lists(st.floats(0.001, 60) | st.none(), max_size=200), st.integers(1, 16))
def test_limit_stays_between_one_and_the_maximum(durations: list[float | None], maximum: int) -> None:
    limit = ConcurrencyLimit(maximum)
    for seconds in durations:
        if seconds is None:
            limit.on_overload()
        else:
            limit.on_success(seconds)
        assert 1 <= limit.allowed <= maximum
