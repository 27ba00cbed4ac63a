"""The status of the shipper: gauges, `/status.json`, and the largest backlogs."""

import time
from collections import Counter
from collections.abc import Mapping

from agents.containers import ContainerLogs
from agents.delivery.delivery import Delivery
from agents.delivery.link import KafkaLink
from agents.kubernetes.pod_watch import PodWatch
from agents.tailing.container_tail import ContainerTail
from agents.unread import UnreadLogTracker
from pipeline.config.environment import non_defaults
from pipeline.config.settings import Settings
from pipeline.contract import cri
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring import shipper_problems
from pipeline.monitoring.measurements.history import SAMPLE_SECONDS, History, HistoryMetrics, field_names
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.shipper_status import (
    Backlog,
    ContainerLoss,
    ExcludedContainers,
    LossTotals,
    SentRecords,
    ShipperGauges,
    ShipperHistory,
    ShipperLatencies,
    ShipperRates,
    ShipperStatus,
)

MAX_BACKLOGS = 10
MAX_EXCLUSIONS = 50
HISTORY_METRICS = HistoryMetrics(
    "crisp_shipper_", field_names(ShipperRates), field_names(ShipperGauges), field_names(ShipperLatencies)
)


def backlogs(tails: Mapping[Instance, ContainerTail]) -> list[Backlog]:
    """Return the backlog of every container that has one, the largest first."""
    now = time.time()
    result = [
        Backlog(instance.namespace, instance.pod, instance.container, size, _backlog_age(tail, now))
        for instance, tail in list(tails.items())
        if (size := tail.backlog_bytes())
    ]
    return sorted(result, key=lambda backlog: -backlog.bytes)


def update_backlog_gauges(metrics: Metrics, tails: Mapping[Instance, ContainerTail]) -> list[Backlog]:
    """Set the gauges of containers, files and backlogs; return the largest backlogs."""
    tail_backlogs = backlogs(tails)
    metrics.set("crisp_shipper_tracked_containers", len(tails))
    metrics.set("crisp_shipper_open_files", sum(len(tail.files) for tail in tails.values()))
    metrics.set("crisp_shipper_backlog_bytes", sum(backlog.bytes for backlog in tail_backlogs))
    metrics.set(
        "crisp_shipper_backlog_age_seconds", max((backlog.seconds or 0.0 for backlog in tail_backlogs), default=0.0)
    )
    return tail_backlogs[:MAX_BACKLOGS]


def _backlog_age(tail: ContainerTail, now: float) -> float | None:
    """Return the age of the first unread line in seconds, by its own time; None if that is unknown."""
    for file in tail.files:
        if file.backlog_bytes() and not file.closed:
            try:
                written = cri.first_time(file.read_at(file.position, 64))
            except OSError:
                return None  # reading it reports the error
            return None if written is None else max(0.0, now - written / 1e9)
    return None


class StatusReporter:
    """Gauges and `/status.json`. Call `update_gauges` in the shipper's event loop, `snapshot` in any thread."""

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        link: KafkaLink,
        delivery: Delivery,
        containers: ContainerLogs,
        pods: PodWatch | None,
        unread: UnreadLogTracker,
    ) -> None:
        self._started_at = time.time()
        self._settings = settings
        self._metrics = metrics
        self._link = link
        self._delivery = delivery
        self._containers = containers
        self._pods = pods
        self._unread = unread
        self._history = History(metrics, HISTORY_METRICS)
        metrics.set("crisp_shipper_deleted_files_limit_bytes", settings.deleted_max_bytes)
        self._backlogs: list[Backlog] = []
        self._checkpoint_problem, self._checkpoint_failing_since = "", 0.0
        self._next_sample_at = 0.0

    def sample(self, now: float) -> None:
        """Add a sample to the history when one is due at `now`, monotonic seconds."""
        if now >= self._next_sample_at:
            self._history.sample(now)
            self._next_sample_at = now + SAMPLE_SECONDS

    def checkpoint_written(self, error: OSError | None, now: float) -> None:
        """Note that the checkpoint was written at `now`, monotonic seconds, or failed with `error`."""
        if not self._checkpoint_problem:
            self._checkpoint_failing_since = now
        self._checkpoint_problem = str(error or "")
        self._metrics.set(
            "crisp_shipper_checkpoint_failing_seconds", now - self._checkpoint_failing_since if error else 0.0
        )

    def update_gauges(self) -> None:
        """Set the gauges of the shipper."""
        self._metrics.set("crisp_shipper_unreported_losses", len(self._containers.losses))
        self._metrics.set("crisp_shipper_deleted_files_held_bytes", self._containers.deleted_bytes)
        excluded = Counter(instance.namespace for instance in self._containers.excluded)
        self._metrics.replace("crisp_shipper_excluded_containers", "log_namespace", {**excluded})
        self._metrics.set("crisp_shipper_metadata_missing_containers", self._containers.metadata_missing_count())
        self._backlogs = update_backlog_gauges(self._metrics, self._containers.tails)
        self._metrics.set("crisp_shipper_in_flight_bytes", self._link.in_flight.total)
        self._metrics.set("crisp_shipper_invalid_annotations", len(self._containers.invalid_annotations))
        self._metrics.set("crisp_shipper_kafka_unresponsive_seconds", self._link.in_flight.unresponsive_seconds())

    def snapshot(self) -> ShipperStatus:
        """Return the status of the shipper, with its problems."""
        value = self._metrics.get
        pods = self._pods
        status = ShipperStatus(
            name=self._settings.node_name,
            started_at=self._started_at,
            settings=non_defaults(self._settings),
            node=self._settings.node_name,
            kafka_problem=self._delivery.problem,
            kafka_unresponsive_seconds=value("crisp_shipper_kafka_unresponsive_seconds"),
            checkpoint_problem=self._checkpoint_problem,
            pod_metadata_enabled=pods is not None,
            pod_metadata_problem=pods.problem if pods else "",
            unread=self._unread.current,
            tracked_containers=int(value("crisp_shipper_tracked_containers")),
            excluded_containers=len(self._containers.excluded),
            exclusions=self._largest_exclusions(),
            invalid_annotations=tuple(sorted(self._containers.invalid_annotations)[:MAX_EXCLUSIONS]),
            metadata_missing_containers=self._containers.metadata_missing_count(),
            open_files=int(value("crisp_shipper_open_files")),
            deleted_files_held_bytes=int(value("crisp_shipper_deleted_files_held_bytes")),
            deleted_files_limit_bytes=self._settings.deleted_max_bytes,
            backlog_bytes=int(value("crisp_shipper_backlog_bytes")),
            backlog_age_seconds=value("crisp_shipper_backlog_age_seconds"),
            backlogs=tuple(self._backlogs),
            in_flight_bytes=int(value("crisp_shipper_in_flight_bytes")),
            read_bytes=int(value("crisp_shipper_read_bytes")),
            acked_bytes=int(value("crisp_shipper_acked_bytes")),
            retried_bytes=int(value("crisp_shipper_retried_bytes")),
            records_sent=SentRecords(
                *(int(value("crisp_shipper_records_sent", result=r)) for r in ("acked", "failed"))
            ),
            recent_losses=tuple(self._containers.losses.recent()),
            losses=self._loss_totals(),
            history=self._history_snapshot(),
        )
        return shipper_problems.with_problems(status, time.time())

    def _largest_exclusions(self) -> tuple[ExcludedContainers, ...]:
        return tuple(
            ExcludedContainers(namespace, reason, number)
            for (namespace, reason), number in self._containers.exclusions().most_common(MAX_EXCLUSIONS)
        )

    def _loss_totals(self) -> LossTotals:
        losses = self._containers.losses
        by_reason = self._metrics.values_by_label("crisp_shipper_lost_bytes", "reason")
        return LossTotals(
            {reason: int(size) for reason, size in by_reason.items() if size},
            tuple(ContainerLoss(*name, size) for name, size in losses.bytes_by_container.most_common(MAX_BACKLOGS)),
            len(losses),
        )

    def _history_snapshot(self) -> ShipperHistory:
        history = self._history.snapshot()
        return ShipperHistory(
            SAMPLE_SECONDS,
            ShipperRates(**history.rates),
            ShipperGauges(**history.gauges),
            ShipperLatencies(**history.latency),
        )
