"""Problems of a shipper, from its status. Pure."""

from collections.abc import Iterator

from pipeline.monitoring.formatting import duration, quantity, shortened, size
from pipeline.monitoring.problem import Problem, critical, warning
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.status import replace_problems

BEHIND_SECONDS = 60.0
UNRESPONSIVE_SECONDS = 10.0
REPORTED_SECONDS = 1800.0
"""The time range of the alerts on losses."""


def with_problems(status: ShipperStatus, now: float) -> ShipperStatus:
    """The status with its problems at `now`, seconds since the epoch."""
    return replace_problems(
        status, (*_backlog(status), *_losses(status, now), *_checkpoint(status), *_pod_metadata(status))
    )


def _backlog(status: ShipperStatus) -> Iterator[Problem]:
    backlog = size(status.backlog_bytes)
    if status.kafka_problem:
        message = (
            "Lines do not reach Kafka. Nothing is lost while the log files exist:"
            f" the backlog is {backlog}. ({shortened(status.kafka_problem)})"
        )
        yield critical(message, "shipper-backlog")
    elif status.kafka_unresponsive_seconds > UNRESPONSIVE_SECONDS:
        unresponsive = duration(status.kafka_unresponsive_seconds)
        message = f"Kafka has not responded for {unresponsive}. Nothing is lost while the log files exist."
        yield critical(message, "shipper-backlog")
    elif status.backlog_age_seconds > BEHIND_SECONDS:
        oldest = duration(status.backlog_age_seconds)
        yield critical(f"The backlog is {backlog}, the oldest line waits for {oldest}.", "shipper-backlog")


def _losses(status: ShipperStatus, now: float) -> Iterator[Problem]:
    recent = [loss for loss in status.recent_losses if now - loss.detected_at < REPORTED_SECONDS]
    if recent:
        yield critical(f"Lines were lost before they could be read: {quantity(len(recent), 'gap')}.", "gap")


def _checkpoint(status: ShipperStatus) -> Iterator[Problem]:
    if status.checkpoint_problem:
        yield warning(
            f"The checkpoint cannot be written: {status.checkpoint_problem}."
            " A restart sends the lines since then again.",
            "checkpoint",
        )


def _pod_metadata(status: ShipperStatus) -> Iterator[Problem]:
    if status.pod_metadata_problem:
        problem = status.pod_metadata_problem
        yield warning(f"Pod metadata unavailable, labels will be missing: {problem}", "pod-metadata")
