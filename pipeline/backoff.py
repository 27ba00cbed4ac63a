"""The pauses between retries: exponential, up to a maximum, with jitter. Pure, apart from the default random numbers.

Jitter keeps clients that failed together from retrying together.
"""

import random
from collections.abc import Callable

# A generator of its own: the pauses of a background thread must not change the state of the seeded global one.
_jitter = random.Random()  # noqa: S311 - not for cryptography


class Backoff:
    """Pauses in seconds: `first`, then each twice the previous one, up to `maximum`; jitter shortens each up to half.

    `random_number` returns numbers from 0 to 1: 1 for no jitter.
    """

    def __init__(self, first: float, maximum: float, random_number: Callable[[], float] = _jitter.random) -> None:
        self._first = min(first, maximum)
        self._maximum = maximum
        self._random_number = random_number
        self._pause = self._first

    def next_pause(self) -> float:
        """Return the pause before the next retry."""
        pause = self._pause
        self._pause = min(self._maximum, 2 * pause)
        return pause * (0.5 + 0.5 * self._random_number())

    def reset(self) -> None:
        """Start again with the first pause, after a success."""
        self._pause = self._first
