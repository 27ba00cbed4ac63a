"""Where the shipper stands with its containers: what is unread, since when, and whose the biggest backlogs are."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from agents.tail import Tail
from pipeline import cri
from pipeline.metrics import Metrics
from pipeline.pod import Instance

MOST_BACKLOGS = 10


@dataclass(frozen=True, slots=True)
class Backlog:
    """One container with unread bytes; `seconds`: the age of its oldest unread line, None where that has no time."""

    namespace: str
    pod: str
    container: str
    bytes: int
    seconds: float | None


def backlogs(tails: Mapping[Instance, Tail]) -> list[Backlog]:
    """Every container with unread bytes, the biggest first."""
    now = time.time()
    found = [
        Backlog(instance.namespace, instance.pod, instance.container, unread, _age(tail, now))
        for instance, tail in list(tails.items())
        if (unread := tail.unread())
    ]
    return sorted(found, key=lambda backlog: -backlog.bytes)


def measure(metrics: Metrics, tails: Mapping[Instance, Tail]) -> list[Backlog]:
    """Set the gauges of what is read; returns the biggest backlogs."""
    found = backlogs(tails)
    metrics.set("crisp_shipper_containers", len(tails))
    metrics.set("crisp_shipper_open_files", sum(len(tail.files) for tail in tails.values()))
    metrics.set("crisp_shipper_unread_bytes", sum(backlog.bytes for backlog in found))
    metrics.set("crisp_shipper_unread_seconds", max((backlog.seconds or 0.0 for backlog in found), default=0.0))
    return found[:MOST_BACKLOGS]


def _age(tail: Tail, now: float) -> float | None:
    """How long the first line that was not read has waited, by its own time."""
    for file in tail.files:
        if file.seen > file.position and not file.closed:
            written = cri.first_time(os.pread(file.descriptor, 64, file.position))
            return None if written is None else max(0.0, now - written / 1e9)
    return None
