"""Limits of reading many statuses: each answer, all of them together, and the time until the last is asked."""

import threading
import time

DEADLINE_SECONDS = 60.0
MAX_ANSWER_BYTES = 1 << 20
MAX_BYTES = 256 << 20


class ReadLimit:
    """The limits of one round over all processes. Threads share it."""

    def __init__(self, seconds: float = DEADLINE_SECONDS, max_bytes: int = MAX_BYTES) -> None:
        self._seconds, self._max_bytes = seconds, max_bytes
        self._deadline = time.monotonic() + seconds
        self._bytes = 0
        self._lock = threading.Lock()

    def problem(self) -> str:
        """Why no further process is asked; empty if the next one is."""
        if time.monotonic() > self._deadline:
            return f"not asked within {self._seconds:.0f} s, after the others"
        if self._bytes > self._max_bytes:
            return f"not asked: the others' answers exceed {self._max_bytes >> 20} MiB"
        return ""

    def timeout(self, seconds: float) -> float:
        """The time for the next request, at most `seconds`."""
        return max(0.1, min(seconds, self._deadline - time.monotonic()))

    def add(self, size: int) -> None:
        """Count the bytes of an answer."""
        with self._lock:
            self._bytes += size
