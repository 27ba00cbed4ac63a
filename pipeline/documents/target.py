"""Where the document of an event goes: its index, and the first part of its id. Pure."""

from datetime import UTC, datetime, timedelta

from pipeline.config.settings import DocumentSettings
from pipeline.contract.record import SourceFile

Target = tuple[str, bytes, str, bool]
"""An index, the id up to the offset, the day (YYYY-MM-DD), and whether the day is older than the retention."""

NO_TARGET: Target = ("", b"", "", False)
"""Of an event that is dropped."""


class Targets:
    """The targets of one slice, cached. Days before the start of a route's retention share one index."""

    __slots__ = ("_cache", "_files", "_now", "_oldest_days", "_settings")

    def __init__(self, files: tuple[SourceFile, ...], now_ns: int, settings: DocumentSettings) -> None:
        self._files = files
        self._now = datetime.fromtimestamp(now_ns / 1e9, UTC)
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
        late = day < self._oldest_day(route)
        route_prefix = f"{route}." if route else ""
        index = f"{self._settings.index_prefix}-{'late' if late else route_prefix + day.replace('-', '.')}"
        return index, f"{self._files[file].identity}-".encode(), day, late

    def _oldest_day(self, route: str) -> str:
        """The first day of the route's retention."""
        if route not in self._oldest_days:
            days = self._settings.routes[route] if route else self._settings.retention_days
            self._oldest_days[route] = (self._now - timedelta(days=days)).strftime("%Y-%m-%d")
        return self._oldest_days[route]
