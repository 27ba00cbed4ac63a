"""Log of rejected documents by workload: reason, count and an example of each; bounded, for the status page."""

import re
from dataclasses import replace

import orjson

from pipeline.documents.container_fields import workload_of
from pipeline.monitoring.worker_status import Rejection

MAX_ENTRIES = 100
MAX_SHOWN = 20
MAX_REASON_LENGTH = 300
_PREVIEW = re.compile(r"Preview of field's value: '.*", re.DOTALL)  # the status page shows no log content


class RejectionLog:
    """Counts rejections by workload and reason; keeps the most recent ones."""

    def __init__(self) -> None:
        self._rejections: dict[tuple[str, str], Rejection] = {}

    def add(self, source: bytes, reason: str, location: tuple[str, str], now: float) -> None:
        """Record a rejected document; `location` is its index and id."""
        fields = orjson.loads(source)
        key = (workload_of(fields), _normalize_reason(reason))
        rejection = self._rejections.pop(key, None)
        if rejection is None:
            if len(self._rejections) >= MAX_ENTRIES:
                del self._rejections[next(iter(self._rejections))]
            rejection = Rejection(key[0], _strip_preview(reason), 0, now, now, *location)
        index, example = location
        self._rejections[key] = replace(rejection, count=rejection.count + 1, last_at=now, index=index, example=example)

    def snapshot(self) -> tuple[Rejection, ...]:
        """Return the rejections, the most recent first."""
        return tuple(reversed(list(self._rejections.values())[-MAX_SHOWN:]))


def _strip_preview(reason: str) -> str:
    return _PREVIEW.sub("", reason)[:MAX_REASON_LENGTH].strip()


def _normalize_reason(reason: str) -> str:
    """Remove from a reason what differs between documents: positions in the text, ids, numbers."""
    return re.sub(r"\[\d+:\d+\]|id '[^']*'|\d+", "", _strip_preview(reason))
