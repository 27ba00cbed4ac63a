"""When counts last rose: what happened long ago is still counted, but needs nobody any more. Pure."""

from collections.abc import Callable, Mapping

ReadCount = Callable[[], float]


class LastIncrease:
    """Counts that begin at 0, by name."""

    def __init__(self, counts: Mapping[str, ReadCount]) -> None:
        self._counts = counts
        self._previous = dict.fromkeys(counts, 0.0)
        self._times: dict[str, float | None] = dict.fromkeys(counts)

    def update(self, now: float) -> None:
        """Note at `now`, seconds since the epoch, which have risen since the last look."""
        for name, read in self._counts.items():
            value = read()
            if value > self._previous[name]:
                self._times[name] = now
            self._previous[name] = value

    def snapshot(self) -> dict[str, float | None]:
        """When each last rose; None for never."""
        return dict(self._times)
