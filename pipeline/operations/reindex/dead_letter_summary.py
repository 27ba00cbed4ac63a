"""Summary of dead letters by reason: count, workloads, first and last time, and a sample. Pure."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from pipeline.contract import pod_metadata
from pipeline.contract.dead_letter import DeadLetter

MAX_WORKLOADS = 5
_SAMPLE_BYTES = 200
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d+")


def normalize_reason(reason: str) -> str:
    """Replace the variable parts of a reason: numbers, quoted values, names in brackets."""
    return _VARIABLE.sub(lambda match: "[…]" if match[0].startswith("[") else "…", reason.split("Preview of")[0])[:160]


def workload(dead_letter: DeadLetter) -> str:
    """Return the workload that logged it: namespace, with owner or pod if known; empty if unknown."""
    return pod_metadata.workload_name(dict(dead_letter.headers).get("pod", b"{}"))


@dataclass(slots=True)
class ReasonGroup:
    """Dead letters with the same normalized reason. Times in milliseconds since the epoch."""

    count: int = 0
    first: int = 0
    last: int = 0
    workloads: Counter[str] = field(default_factory=Counter)
    sample: dict[str, Any] = field(default_factory=dict)


class DeadLetterSummary:
    """Counts dead letters; repeated ones (a worker died before its commit) count once."""

    def __init__(self) -> None:
        self.groups: dict[str, ReasonGroup] = {}
        self._seen: set[tuple[str, ...]] = set()

    def add(self, dead_letter: DeadLetter, position: str) -> None:
        """Count a dead letter; `position` is its own in the dead-letter topic."""
        if is_repeated(dead_letter, self._seen):
            return
        group = self.groups.setdefault(normalize_reason(dead_letter.reason), ReasonGroup())
        timestamp = dead_letter.origin.timestamp
        group.count += 1
        group.first = min(group.first or timestamp, timestamp)
        group.last = max(group.last, timestamp)
        group.workloads[workload(dead_letter)] += 1
        if not group.sample:
            group.sample = sample(dead_letter, position)

    def rows(self) -> list[dict[str, Any]]:
        """Return the groups, the largest first."""
        ordered = sorted(self.groups.items(), key=lambda item: -item[1].count)
        return [
            {
                "reason": reason,
                "count": group.count,
                "workloads": dict(group.workloads.most_common(MAX_WORKLOADS)),
                "first": group.first,
                "last": group.last,
                "sample": group.sample,
            }
            for reason, group in ordered
        ]


def is_repeated(dead_letter: DeadLetter, seen: set[tuple[str, ...]]) -> bool:
    """Return whether the same document or record was seen before; add it to `seen`."""
    key = (dead_letter.index, dead_letter.id) if dead_letter.id else (*map(str, dead_letter.origin), _part(dead_letter))
    if key in seen:
        return True
    seen.add(key)
    return False


def _part(dead_letter: DeadLetter) -> str:
    """Return what distinguishes the parts of one bundle, which have one origin."""
    fields = dict(dead_letter.headers)
    source = fields.get("files", b"") + fields.get("segments", b"")
    return hashlib.blake2b(source, digest_size=12).hexdigest()


def sample(dead_letter: DeadLetter, position: str) -> dict[str, Any]:
    """Return details for an investigation: positions of the dead letter and its raw record, first bytes."""
    topic, partition, offset, _ = dead_letter.origin
    return {
        "reason": dead_letter.reason,
        "dead_letter": position,
        "raw_record": f"{topic}/{partition}/{offset}",
        "index": dead_letter.index,
        "id": dead_letter.id,
        "begins": dead_letter.value[:_SAMPLE_BYTES].decode("utf-8", "replace"),
    }
