"""Adaptive concurrency limit for bulk requests: grows while responses are fast, halves on overload. Pure.

Additive increase, multiplicative decrease (AIMD), as in TCP. Responses much slower than the fastest recent one mean
that requests queue in Elasticsearch: the limit then stops growing and slowly shrinks.
"""

SLOW_FACTOR = 2.0
"""A response this many times slower than the fastest recent one has waited in a queue."""
INITIAL = 2
_BASELINE_DRIFT = 1.02


class ConcurrencyLimit:
    """The allowed number of concurrent bulk requests, from 1 to `maximum`. Times in seconds."""

    def __init__(self, maximum: int) -> None:
        self._maximum = float(maximum)
        self._allowed = min(self._maximum, INITIAL)
        self._fastest = 0.0

    @property
    def allowed(self) -> int:
        """The number of bulk requests that may be in flight now."""
        return int(self._allowed)

    def on_success(self, seconds: float) -> None:
        """Adapt to the response time of a full bulk request; smaller ones show nothing."""
        slow = bool(self._fastest) and seconds > SLOW_FACTOR * self._fastest
        # The server may never be as fast again: the baseline drifts towards the current response times.
        self._fastest = min(seconds, self._fastest * _BASELINE_DRIFT) if self._fastest else seconds
        step = -0.5 if slow else 1.0
        self._allowed = min(self._maximum, max(1.0, self._allowed + step / self._allowed))

    def on_overload(self) -> None:
        """Halve the limit: Elasticsearch was overloaded or did not answer in time."""
        self._allowed = max(1.0, self._allowed / 2)
