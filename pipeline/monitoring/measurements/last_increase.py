"""The times when counters last increased: an old increase is still counted, but is no longer a problem. Pure."""

from collections.abc import Callable, Mapping

ReadCount = Callable[[], float]


class LastIncrease:
    """Counters that start at 0, by name."""

    def __init__(self, counts: Mapping[str, ReadCount]) -> None:
        self._counts = counts
        self._previous = dict.fromkeys(counts, 0.0)
        self._times: dict[str, float | None] = dict.fromkeys(counts)

    def update(self, now: float) -> None:
        """Record which have increased since the last update, at `now`, seconds since the epoch."""
        for name, read in self._counts.items():
            value = read()
            if value > self._previous[name]:
                self._times[name] = now
            self._previous[name] = value

    def snapshot(self) -> dict[str, float | None]:
        """The time of each counter's last increase; None for never."""
        return dict(self._times)
