"""Dead letters by reason: how many, of which workloads, since when, with one of each as a sample. Pure."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import orjson

from pipeline.contract.dead_letter import DeadLetter

MAX_WORKLOADS = 5
_SHOWN_BYTES = 200
_VARIABLE = re.compile(r"'[^']*'|\"[^\"]*\"|\[[^\]]*\]|\d+")


def normalize_reason(reason: str) -> str:
    """A reason without what differs from letter to letter: numbers, quoted values, names in brackets."""
    return _VARIABLE.sub(lambda met: "[…]" if met[0].startswith("[") else "…", reason.split("Preview of")[0])[:160]


def workload(letter: DeadLetter) -> str:
    """The workload that logged it: namespace and owner, pod or container; empty where nothing tells."""
    try:
        about = orjson.loads(dict(letter.headers).get("pod", b"{}"))
        namespace, owner = about.get("namespace", ""), about.get("owner") or {}
        name = owner.get("name") or about.get("pod") or ""
    except (ValueError, AttributeError):
        return ""
    return f"{namespace}/{name}" if name else str(namespace)


@dataclass(slots=True)
class ReasonGroup:
    """Letters of one kind of reason. Times in milliseconds since the epoch."""

    count: int = 0
    first: int = 0
    last: int = 0
    workloads: Counter[str] = field(default_factory=Counter)
    sample: dict[str, Any] = field(default_factory=dict)


class DeadLetterSummary:
    """Takes letters; a letter that came twice (a worker died between it and its commit) counts once."""

    def __init__(self) -> None:
        self.groups: dict[str, ReasonGroup] = {}
        self._seen: set[tuple[str, ...]] = set()

    def add(self, letter: DeadLetter, position: str) -> None:
        """Count a letter that lies at that place of the dead-letter topic."""
        if is_repeated(letter, self._seen):
            return
        group = self.groups.setdefault(normalize_reason(letter.reason), ReasonGroup())
        moment = letter.origin.timestamp
        group.count += 1
        group.first = min(group.first or moment, moment)
        group.last = max(group.last, moment)
        group.workloads[workload(letter)] += 1
        if not group.sample:
            group.sample = sample(letter, position)

    def rows(self) -> list[dict[str, Any]]:
        """The groups, the largest first."""
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


def is_repeated(letter: DeadLetter, seen: set[tuple[str, ...]]) -> bool:
    """Whether the same was met before; from now on it was."""
    key = (letter.index, letter.id) if letter.id else tuple(map(str, letter.origin))
    if key in seen:
        return True
    seen.add(key)
    return False


def sample(letter: DeadLetter, position: str) -> dict[str, Any]:
    """What to look into: where the letter and its raw record lie, and how its bytes begin."""
    topic, partition, offset, _ = letter.origin
    return {
        "reason": letter.reason,
        "letter": position,
        "raw_record": f"{topic}/{partition}/{offset}",
        "index": letter.index,
        "id": letter.id,
        "begins": letter.value[:_SHOWN_BYTES].decode("utf-8", "replace"),
    }
