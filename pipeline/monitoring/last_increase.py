"""When counts last rose: what happened long ago is still counted, but needs nobody any more. Pure."""

from collections.abc import Callable, Mapping

Read = Callable[[], float]


class Rises:
    """Counts that begin at 0, by name."""

    def __init__(self, counts: Mapping[str, Read]) -> None:
        self._counts = counts
        self._seen = dict.fromkeys(counts, 0.0)
        self._times: dict[str, float | None] = dict.fromkeys(counts)

    def look(self, now: float) -> None:
        """Note at `now`, seconds since the epoch, which have risen since the last look."""
        for name, read in self._counts.items():
            value = read()
            if value > self._seen[name]:
                self._times[name] = now
            self._seen[name] = value

    def facts(self) -> dict[str, float | None]:
        """When each last rose; None for never."""
        return dict(self._times)
