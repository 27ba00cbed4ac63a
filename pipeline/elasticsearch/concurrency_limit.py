"""How many bulks may be in flight: more while Elasticsearch answers quickly, half when it says it has too many. Pure.

Additive increase, multiplicative decrease, as TCP does it. Answers that take much longer than the quickest of late
mean that bulks queue up over there: then there are no more of them, and one less after a while.
"""

SLOW_FACTOR = 2.0
"""An answer this many times slower than the quickest of late has waited in a queue."""
INITIAL = 2
_BASELINE_DRIFT = 1.02


class ConcurrencyLimit:
    """The bulks allowed at a time, from 1 to `most`. Times in seconds."""

    def __init__(self, maximum: int) -> None:
        self._maximum = float(maximum)
        self._allowed = min(self._maximum, INITIAL)
        self._fastest = 0.0

    @property
    def allowed(self) -> int:
        """Bulks that may be in flight now."""
        return int(self._allowed)

    def on_success(self, seconds: float) -> None:
        """A full bulk was answered after so long; smaller ones tell nothing."""
        slow = bool(self._fastest) and seconds > SLOW_FACTOR * self._fastest
        # What was quick once may never come again: the mark drifts towards what is seen.
        self._fastest = min(seconds, self._fastest * _BASELINE_DRIFT) if self._fastest else seconds
        step = -0.5 if slow else 1.0
        self._allowed = min(self._maximum, max(1.0, self._allowed + step / self._allowed))

    def on_overload(self) -> None:
        """Elasticsearch had too much to do, or did not answer in time."""
        self._allowed = max(1.0, self._allowed / 2)
