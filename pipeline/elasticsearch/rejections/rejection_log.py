"""Which workloads' documents Elasticsearch refuses, why, how often, and an example of each: bounded, for the page."""

import re
from dataclasses import asdict, dataclass
from typing import Any

import orjson

MOST = 100
SHOWN = 20
LONGEST = 300
_PREVIEW = re.compile(r"Preview of field's value: '.*", re.DOTALL)  # what the log said is not ours to show
_WORKLOADS = ("deployment", "statefulset", "daemonset", "cronjob", "job")


@dataclass(slots=True)
class Refusal:
    """One reason for one workload; `example` is the id of the last such document, times are seconds since the epoch."""

    workload: str
    reason: str
    count: int
    first: float
    last: float
    index: str
    example: str


class Refusals:
    """Counts by workload and reason; of many, those that were met last."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Refusal] = {}

    def add(self, source: bytes, reason: str, place: tuple[str, str], now: float) -> None:
        """A document was refused; `place` is its index and id."""
        fields = orjson.loads(source)
        key = (_workload(fields), _kind(reason))
        known = self._known.pop(key, None)
        if known is None:
            if len(self._known) >= MOST:
                del self._known[next(iter(self._known))]
            known = Refusal(key[0], _without_value(reason), 0, now, now, *place)
        known.count += 1
        known.last, known.index, known.example = now, *place
        self._known[key] = known

    def facts(self) -> list[dict[str, Any]]:
        """The last met first."""
        return [asdict(refusal) for refusal in reversed(list(self._known.values())[-SHOWN:])]


def _workload(fields: dict[str, Any]) -> str:
    names = [fields.get(f"kubernetes.{kind}.name") for kind in _WORKLOADS]
    name = (
        next(filter(None, names), None) or fields.get("service.name") or fields.get("kubernetes.pod.name") or "unknown"
    )
    return f"{fields.get('kubernetes.namespace', '')}/{name}"


def _without_value(reason: str) -> str:
    return _PREVIEW.sub("", reason)[:LONGEST].strip()


def _kind(reason: str) -> str:
    """The reason without what differs from document to document: places in the text, ids."""
    return re.sub(r"\[\d+:\d+\]|id '[^']*'|\d+", "", _without_value(reason))
