"""Pauses double up to the maximum; jitter shortens them, but never below half."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.backoff import Backoff


def test_pauses_double_up_to_the_maximum() -> None:
    backoff = Backoff(0.5, 3.0, lambda: 1.0)

    assert [backoff.next_pause() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_starts_with_the_first_pause() -> None:
    backoff = Backoff(0.5, 3.0, lambda: 1.0)
    backoff.next_pause()
    backoff.next_pause()

    backoff.reset()

    assert backoff.next_pause() == 0.5


@given(st.floats(0.0, 1.0))
def test_jitter_leaves_at_least_half_of_a_pause(number: float) -> None:
    backoff = Backoff(2.0, 2.0, lambda: number)

    assert 1.0 <= backoff.next_pause() <= 2.0


def test_first_pause_is_not_longer_than_the_maximum() -> None:
    assert Backoff(5.0, 0.1, lambda: 1.0).next_pause() == pytest.approx(0.1)


def test_pauses_stay_finite_after_any_number_of_retries() -> None:
    backoff = Backoff(0.1, 15.0)

    assert max(backoff.next_pause() for _ in range(5000)) <= 15.0


def test_jitter_leaves_the_global_random_numbers_alone() -> None:
    before = random.getstate()

    Backoff(1.0, 2.0).next_pause()

    assert random.getstate() == before
