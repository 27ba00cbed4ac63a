"""Which workloads' documents Elasticsearch refuses, why, how often, and an example of each: bounded, for the page."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import orjson

MAX_ENTRIES = 100
MAX_SHOWN = 20
MAX_REASON_LENGTH = 300
_PREVIEW = re.compile(r"Preview of field's value: '.*", re.DOTALL)  # what the log said is not ours to show
_WORKLOAD_KINDS = ("deployment", "statefulset", "daemonset", "cronjob", "job")


@dataclass(slots=True)
class Rejection:
    """One reason for one workload; `example` is the id of the last such document, times are seconds since the epoch."""

    workload: str
    reason: str
    count: int
    first: float
    last: float
    index: str
    example: str


class RejectionLog:
    """Counts by workload and reason; of many, those that were met last."""

    def __init__(self) -> None:
        self._rejections: dict[tuple[str, str], Rejection] = {}

    def add(self, source: bytes, reason: str, location: tuple[str, str], now: float) -> None:
        """A document was refused; `place` is its index and id."""
        fields = orjson.loads(source)
        key = (_workload_name(fields), _normalize_reason(reason))
        known = self._rejections.pop(key, None)
        if known is None:
            if len(self._rejections) >= MAX_ENTRIES:
                del self._rejections[next(iter(self._rejections))]
            known = Rejection(key[0], _strip_preview(reason), 0, now, now, *location)
        known.count += 1
        known.last, known.index, known.example = now, *location
        self._rejections[key] = known

    def snapshot(self) -> list[dict[str, Any]]:
        """The last met first."""
        return [asdict(refusal) for refusal in reversed(list(self._rejections.values())[-MAX_SHOWN:])]


def _workload_name(fields: dict[str, Any]) -> str:
    names = [fields.get(f"kubernetes.{kind}.name") for kind in _WORKLOAD_KINDS]
    name = (
        next(filter(None, names), None) or fields.get("service.name") or fields.get("kubernetes.pod.name") or "unknown"
    )
    return f"{fields.get('kubernetes.namespace', '')}/{name}"


def _strip_preview(reason: str) -> str:
    return _PREVIEW.sub("", reason)[:MAX_REASON_LENGTH].strip()


def _normalize_reason(reason: str) -> str:
    """The reason without what differs from document to document: places in the text, ids."""
    return re.sub(r"\[\d+:\d+\]|id '[^']*'|\d+", "", _strip_preview(reason))
