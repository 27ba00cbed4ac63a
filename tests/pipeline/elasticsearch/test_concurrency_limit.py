"""How many bulks go at a time."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.elasticsearch.concurrency_limit import ConcurrencyLimit


def test_quick_answers_let_more_bulks_go_up_to_the_most() -> None:
    limit = ConcurrencyLimit(4)
    before = limit.allowed
    for _ in range(20):
        limit.on_success(0.1)

    assert (before, limit.allowed) == (2, 4)


def test_too_many_halves_and_it_grows_again() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(60):
        limit.on_success(0.1)
    limit.on_overload()
    assert limit.allowed == 4
    for _ in range(60):
        limit.on_success(0.1)
    assert limit.allowed == 8


def test_answers_that_queue_let_fewer_go() -> None:
    limit = ConcurrencyLimit(8)
    for _ in range(60):
        limit.on_success(0.1)
    for _ in range(30):
        limit.on_success(0.5)

    assert limit.allowed < 8


def test_a_server_that_became_slow_for_good_is_not_held_against_itself() -> None:
    limit = ConcurrencyLimit(4)
    limit.on_success(0.01)
    for _ in range(400):
        limit.on_success(1.0)

    assert limit.allowed == 4


@given(st.lists(st.floats(0.001, 60) | st.none(), max_size=200), st.integers(1, 16))
def test_at_least_one_and_at_most_the_most_may_go(answers: list[float | None], most: int) -> None:
    limit = ConcurrencyLimit(most)
    for seconds in answers:
        if seconds is None:
            limit.on_overload()
        else:
            limit.on_success(seconds)
        assert 1 <= limit.allowed <= most
