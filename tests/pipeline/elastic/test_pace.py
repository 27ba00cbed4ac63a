"""How many bulks go at a time, and when refusals are a flood."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.elastic.flood import Flood
from pipeline.elastic.limit import Limit


def test_quick_answers_let_more_bulks_go_up_to_the_most() -> None:
    limit = Limit(4)
    before = limit.allowed
    for _ in range(20):
        limit.answered(0.1)

    assert (before, limit.allowed) == (2, 4)


def test_too_many_halves_and_it_grows_again() -> None:
    limit = Limit(8)
    for _ in range(60):
        limit.answered(0.1)
    limit.refused()
    assert limit.allowed == 4
    for _ in range(60):
        limit.answered(0.1)
    assert limit.allowed == 8


def test_answers_that_queue_let_fewer_go() -> None:
    limit = Limit(8)
    for _ in range(60):
        limit.answered(0.1)
    for _ in range(30):
        limit.answered(0.5)

    assert limit.allowed < 8


def test_a_server_that_became_slow_for_good_is_not_held_against_itself() -> None:
    limit = Limit(4)
    limit.answered(0.01)
    for _ in range(400):
        limit.answered(1.0)

    assert limit.allowed == 4


@given(st.lists(st.floats(0.001, 60) | st.none(), max_size=200), st.integers(1, 16))
def test_at_least_one_and_at_most_the_most_may_go(answers: list[float | None], most: int) -> None:
    limit = Limit(most)
    for seconds in answers:
        if seconds is None:
            limit.refused()
        else:
            limit.answered(seconds)
        assert 1 <= limit.allowed <= most


def test_one_percent_of_refusals_is_no_flood_and_most_is() -> None:
    few, many = Flood(), Flood()
    few.add(20000, 200, now=1.0)
    many.add(100, 150, now=1.0)

    assert not few.rises
    assert many.rises


def test_a_flood_ends_when_nothing_more_is_refused() -> None:
    flood = Flood()
    flood.add(10, 500, now=1.0)
    flood.add(10, 0, now=70.0)
    assert flood.rises
    flood.add(10, 0, now=131.0)

    assert not flood.rises


def test_a_flood_is_over_also_when_nothing_comes_any_more() -> None:
    flood = Flood()
    flood.add(0, 200, 1.0)
    for now in range(2, 125, 5):
        flood.add(0, 0, float(now))

    assert not flood.rises
