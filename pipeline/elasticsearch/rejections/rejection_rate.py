"""Notices a flood of refusals: when many documents are refused for their content, it is hardly their content. Pure."""

WINDOW_SECONDS = 60.0
LEAST = 100
SHARE = 0.1


class Flood:
    """Documents and refusals of the last one or two windows; `now` on a clock that never goes back."""

    def __init__(self) -> None:
        self._began = 0.0
        self._before = (0, 0)
        self._current = (0, 0)

    def add(self, documents: int, refused: int, now: float) -> None:
        """Note answers."""
        if now - self._began >= WINDOW_SECONDS:
            self._before = self._current if now - self._began < 2 * WINDOW_SECONDS else (0, 0)
            self._current, self._began = (0, 0), now
        self._current = (self._current[0] + documents, self._current[1] + refused)

    @property
    def refused(self) -> int:
        """Refusals of late."""
        return self._before[1] + self._current[1]

    @property
    def rises(self) -> bool:
        """Whether it is one: at least so many, and so large a share."""
        return self.refused >= LEAST and self.refused >= SHARE * (self._before[0] + self._current[0])
