"""Where the shipper stands with its containers: what is unread, since when, and whose the biggest backlogs are."""

import dataclasses
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.containers import Fleet
from agents.delivery.delivery import Delivery
from agents.kubernetes.pod_watch import PodWatch
from agents.tailing.container_tail import Tail
from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring import process_info
from pipeline.monitoring.history import EVERY_SECONDS, History, Watched
from pipeline.monitoring.metrics import Metrics

MOST_BACKLOGS = 10
MOST_KEPT_OUT = 50
WELL = "Every line that stands in the files is in Kafka or on its way."
WATCHED = Watched(
    ("crisp_shipper_acked_bytes", "crisp_shipper_records_sent"),
    ("crisp_shipper_backlog_bytes", "crisp_shipper_in_flight_bytes"),
    "crisp_shipper_latency_seconds",
    ("read", "acked"),
)


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
    metrics.set("crisp_shipper_tracked_containers", len(tails))
    metrics.set("crisp_shipper_open_files", sum(len(tail.files) for tail in tails.values()))
    metrics.set("crisp_shipper_backlog_bytes", sum(backlog.bytes for backlog in found))
    metrics.set("crisp_shipper_backlog_age_seconds", max((backlog.seconds or 0.0 for backlog in found), default=0.0))
    return found[:MOST_BACKLOGS]


def _age(tail: Tail, now: float) -> float | None:
    """How long the first line that was not read has waited, by its own time."""
    for file in tail.files:
        if file.seen > file.position and not file.closed:
            written = cri.first_time(os.pread(file.descriptor, 64, file.position))
            return None if written is None else max(0.0, now - written / 1e9)
    return None


class Standing:
    """What metrics and `/status.json` tell. `measure` is for the shipper's loop, `facts` for any thread."""

    def __init__(
        self, settings: Settings, metrics: Metrics, delivery: Delivery, fleet: Fleet, pods: PodWatch | None
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._delivery = delivery
        self._fleet = fleet
        self._pods = pods
        self._history = History(metrics, WATCHED)
        self._backlogs: list[Backlog] = []
        self._unstored, self._unstored_since = "", 0.0
        self._sample_at = 0.0

    def sample(self, now: float) -> None:
        """Add to the history, where it is time."""
        if now >= self._sample_at:
            self._history.sample(now)
            self._sample_at = now + EVERY_SECONDS

    def stored(self, fault: OSError | None, now: float) -> None:
        """The checkpoint was written, or could not be."""
        if not self._unstored:
            self._unstored_since = now
        self._unstored = str(fault or "")
        self._metrics.set("crisp_shipper_checkpoint_failing_seconds", now - self._unstored_since if fault else 0.0)

    def measure(self) -> None:
        """Set the gauges."""
        self._metrics.set("crisp_shipper_unreported_losses", len(self._fleet.losses))
        self._metrics.set("crisp_shipper_deleted_files_held_bytes", self._fleet.deleted_bytes)
        excluded = Counter(instance.namespace for instance in self._fleet.excluded)
        self._metrics.replace("crisp_shipper_excluded_containers", "namespace", {**excluded})
        self._backlogs = measure(self._metrics, self._fleet.tails)
        self._metrics.set("crisp_shipper_in_flight_bytes", self._delivery.in_flight)
        self._metrics.set("crisp_shipper_invalid_annotations", len(self._fleet.refused_annotations))
        self._metrics.set("crisp_shipper_kafka_unresponsive_seconds", self._delivery.silent())

    def facts(self) -> dict[str, Any]:
        """Where the shipper stands, for `/status.json`."""
        value = self._metrics.get
        found = {
            **process_info.facts("shipper", self._settings.node_name, WELL, self._settings),
            "node": self._settings.node_name,
            "kafka": self._delivery.trouble or "ok",
            "checkpoint": self._unstored or "ok",
            "pods": "not asked" if self._pods is None else self._pods.trouble or "ok",
            "excluded_containers": len(self._fleet.excluded),
            "kept_out": [
                {"namespace": namespace, "why": why, "containers": number}
                for (namespace, why), number in self._fleet.kept_out().most_common(MOST_KEPT_OUT)
            ],
            "refused_annotations": sorted(self._fleet.refused_annotations)[:MOST_KEPT_OUT],
            "unlabelled_containers": self._fleet.unlabelled(),
            "gaps": self._fleet.losses.recent(),
            "lost": self._lost(),
            "deleted_bytes": int(value("crisp_shipper_deleted_files_held_bytes")),
            "containers": int(value("crisp_shipper_tracked_containers")),
            "open_files": int(value("crisp_shipper_open_files")),
            "unread_bytes": int(value("crisp_shipper_backlog_bytes")),
            "in_flight_bytes": int(value("crisp_shipper_in_flight_bytes")),
            "silent_seconds": value("crisp_shipper_kafka_unresponsive_seconds"),
            "unread_seconds": value("crisp_shipper_backlog_age_seconds"),
            "taken_bytes": int(value("crisp_shipper_read_bytes")),
            "acknowledged_bytes": int(value("crisp_shipper_acked_bytes")),
            "again_bytes": int(value("crisp_shipper_retried_bytes")),
            "slices": {name: int(value("crisp_shipper_records_sent", result=name)) for name in ("acked", "failed")},
            "backlogs": [dataclasses.asdict(backlog) for backlog in self._backlogs],
            "history": self._history.facts(),
        }
        return process_info.judged(found)

    def _lost(self) -> dict[str, Any]:
        """What was lost: bytes by reason, the containers that lost most, and how many gaps Kafka does not know yet."""
        most = self._fleet.losses.of_containers.most_common(MOST_BACKLOGS)
        names = ("namespace", "pod", "container", "bytes")
        by_reason = self._metrics.by("crisp_shipper_lost_bytes", "reason")
        return {
            "bytes": {reason: int(size) for reason, size in by_reason.items() if size},
            "containers": [dict(zip(names, (*name, size), strict=True)) for name, size in most],
            "untold": len(self._fleet.losses),
        }
