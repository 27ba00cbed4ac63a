"""How many bulks may be in flight: more while Elasticsearch answers quickly, half when it says it has too many. Pure.

Additive increase, multiplicative decrease, as TCP does it. Answers that take much longer than the quickest of late
mean that bulks queue up over there: then there are no more of them, and one less after a while.
"""

SLOW = 2.0
"""An answer this many times slower than the quickest of late has waited in a queue."""
START = 2
_DRIFT = 1.02


class Limit:
    """The bulks allowed at a time, from 1 to `most`. Times in seconds."""

    def __init__(self, most: int) -> None:
        self._most = float(most)
        self._allowed = min(self._most, START)
        self._quickest = 0.0

    @property
    def allowed(self) -> int:
        """Bulks that may be in flight now."""
        return int(self._allowed)

    def answered(self, seconds: float) -> None:
        """A full bulk was answered after so long; smaller ones tell nothing."""
        slow = bool(self._quickest) and seconds > SLOW * self._quickest
        # What was quick once may never come again: the mark drifts towards what is seen.
        self._quickest = min(seconds, self._quickest * _DRIFT) if self._quickest else seconds
        step = -0.5 if slow else 1.0
        self._allowed = min(self._most, max(1.0, self._allowed + step / self._allowed))

    def refused(self) -> None:
        """Elasticsearch had too much to do, or did not answer in time."""
        self._allowed = max(1.0, self._allowed / 2)
