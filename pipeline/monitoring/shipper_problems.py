"""Problems of a shipper, from its status. Pure."""

from collections.abc import Iterator

from pipeline.monitoring.formatting import duration, quantity, shortened, size
from pipeline.monitoring.problem import Problem, Severity, critical, warning
from pipeline.monitoring.shipper_status import ShipperStatus, UnreadLogs
from pipeline.monitoring.status import replace_problems

BEHIND_SECONDS = 60.0
UNRESPONSIVE_SECONDS = 10.0
NO_CONTAINERS_SECONDS = 300.0
DELETED_FILES_RATIO = 0.8
"""Of the disk space that deleted files may hold; the same as that of the alert."""
REPORTED_SECONDS = 1800.0
"""The time range of the alerts on losses."""


def with_problems(status: ShipperStatus, now: float) -> ShipperStatus:
    """The status with its problems at `now`, seconds since the epoch."""
    return replace_problems(
        status,
        (
            *_unread(status.unread),
            *_backlog(status),
            *_deleted_files(status),
            *_losses(status, now),
            *_checkpoint(status),
            *_pod_metadata(status),
        ),
    )


def unreadable_problem(unread: UnreadLogs) -> str:
    """The first of the log directories and files that cannot be read; empty if there are none."""
    return next((problem.message for problem in _unread(unread) if problem.severity is Severity.CRITICAL), "")


def _unread(unread: UnreadLogs) -> Iterator[Problem]:
    if unread.directories:
        first = unread.directories[0]
        number = quantity(unread.directory_count, "log directory", "log directories")
        yield critical(f"{number} cannot be read: {first.path}: {first.reason}.", "unreadable-logs")
    if unread.files:
        first_file = unread.files[0]
        names = "/".join(filter(None, (first_file.namespace, first_file.pod, first_file.container)))
        number = quantity(unread.file_count, "log file")
        where = f"{names} ({first_file.path})" if names else first_file.path
        yield critical(f"{number} cannot be opened: {where}: {first_file.reason}.", "unreadable-logs")
    if not unread.directories and unread.seconds_without_containers > NO_CONTAINERS_SECONDS:
        seconds = duration(unread.seconds_without_containers)
        yield warning(
            f"No container's log found for {seconds}: is CRISP_LOGS_DIR the kubelet's directory of pod logs?",
            "unreadable-logs",
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


def _deleted_files(status: ShipperStatus) -> Iterator[Problem]:
    held, limit = status.deleted_files_held_bytes, status.deleted_files_limit_bytes
    if limit and held > DELETED_FILES_RATIO * limit:
        yield critical(
            f"Deleted log files that are not read yet hold {size(held)} of at most {size(limit)}:"
            " beyond it the largest backlog is abandoned.",
            "shipper-backlog",
        )


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
