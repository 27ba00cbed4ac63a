"""Detect a high rejection rate: if many documents are rejected, the mapping is the likely cause. Pure."""

WINDOW_SECONDS = 60.0
MIN_REJECTED = 100
MIN_SHARE = 0.1


class RejectionRate:
    """Documents and rejections of the last one or two windows; `now` on a monotonic clock."""

    def __init__(self) -> None:
        self._window_start = 0.0
        self._previous = (0, 0)
        self._current = (0, 0)

    def add(self, documents: int, rejected: int, now: float) -> None:
        """Add the numbers of created and rejected documents."""
        if now - self._window_start >= WINDOW_SECONDS:
            self._previous = self._current if now - self._window_start < 2 * WINDOW_SECONDS else (0, 0)
            self._current, self._window_start = (0, 0), now
        self._current = (self._current[0] + documents, self._current[1] + rejected)

    @property
    def rejected(self) -> int:
        """Rejections in the last one or two windows."""
        return self._previous[1] + self._current[1]

    @property
    def exceeded(self) -> bool:
        """Whether the rejections reach both `MIN_REJECTED` and `MIN_SHARE`."""
        return self.rejected >= MIN_REJECTED and self.rejected >= MIN_SHARE * (self._previous[0] + self._current[0])
