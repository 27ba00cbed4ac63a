"""Where the document of an event goes: its index, and the first part of its id. Pure."""

from datetime import date
from functools import lru_cache

from pipeline.config.settings import DocumentSettings
from pipeline.contract.record import SourceFile

Target = tuple[str, bytes, str, str]
"""An index, the id up to the offset, the day (YYYY-MM-DD), and the flag of a day that has no index: LATE or FUTURE."""

LATE = "late"
"""The day is older than the retention."""
FUTURE = "future"
"""The day is after the next one: the clock of the node was wrong."""

NO_TARGET: Target = ("", b"", "", "")
"""Of an event that is dropped."""


DAY_NS = 86_400 * 10**9
EPOCH_DAY = date(1970, 1, 1).toordinal()
MAX_NS = 250_000_000_000 * 10**9
"""A time in the year 9892; Python has no dates after the year 9999."""


class Targets:
    """The targets of one slice, cached. Days before the start of a route's retention, and future ones, share one index.

    `written_ns` is when the slice was written to Kafka. No other clock counts, so a slice that is processed again has
    the same targets, and a worker's wrong clock changes nothing.
    """

    __slots__ = ("_cache", "_files", "_last_day", "_oldest_days", "_settings", "_written_day")

    def __init__(self, files: tuple[SourceFile, ...], written_ns: int, settings: DocumentSettings) -> None:
        self._files = files
        self._written_day = min(written_ns, MAX_NS) // DAY_NS
        self._last_day = _format_day(self._written_day + 1)
        self._settings = settings
        self._cache: dict[tuple[str, int, bytes], Target] = {}
        self._oldest_days: dict[str, str] = {}

    def get(self, route: str, file: int, day: bytes) -> Target:
        """Return the target of an event: its route (empty: the common one), its file's number, its day in UTC."""
        key = (route, file, day)
        target = self._cache.get(key)
        if target is None:
            target = self._cache[key] = self._make(route, file, day.decode())
        return target

    def _make(self, route: str, file: int, day: str) -> Target:
        flag = LATE if day < self._oldest_day(route) else FUTURE if day > self._last_day else ""
        route_prefix = f"{route}." if route else ""
        index = f"{self._settings.index_prefix}-{'late' if flag else route_prefix + day.replace('-', '.')}"
        return index, f"{self._files[file].identity}-".encode(), day, flag

    def _oldest_day(self, route: str) -> str:
        """The first day of the route's retention."""
        if route not in self._oldest_days:
            days = self._settings.routes[route] if route else self._settings.retention_days
            self._oldest_days[route] = _format_day(self._written_day - days)
        return self._oldest_days[route]


@lru_cache(maxsize=256)
def _format_day(number: int) -> str:
    """Return a day as YYYY-MM-DD; `number` counts from the epoch. Before Python's first day it is that."""
    return date.fromordinal(max(1, EPOCH_DAY + number)).isoformat()
