"""The shipper's status page, rendered from its status."""

from pipeline.monitoring import shipper_problems
from pipeline.monitoring.formatting import count, duration, quantity, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.page import Origin
from pipeline.monitoring.shipper_status import (
    Backlog,
    ExcludedContainers,
    RecentLoss,
    ShipperLatencies,
    ShipperStatus,
    UnreadLogs,
)
from pipeline.monitoring.status import Series

HEALTHY = "No backlog: all lines are acknowledged or in flight."


def render(status: ShipperStatus, query: str, origin: Origin | None = None) -> Response:
    """The current page; `origin`: of a status that another process made."""
    sections = [
        _tiles(status),
        *_unread(status.unread),
        _backlogs(status.backlogs),
        _gaps(status.recent_losses),
        *_exclusions(status.exclusions, status.invalid_annotations),
        page.pair(_latency(status.history.latency), _dependencies(status)),
        page.settings(status.settings),
    ]
    return page.response(status, f"shipper {status.name}", HEALTHY, sections, query, origin)


def _tiles(status: ShipperStatus) -> Html:
    rates, gauges = status.history.rates, status.history.gauges
    oldest, unresponsive = status.backlog_age_seconds, status.kafka_unresponsive_seconds
    return page.tiles(
        page.tile(
            "Acknowledged by Kafka",
            latest_rate(rates.acked_bytes),
            f"{size(status.acked_bytes)} since start",
            rates.acked_bytes,
        ),
        page.tile(
            "Backlog",
            size(status.backlog_bytes),
            f"the oldest line waits for {duration(oldest)}" if status.backlog_bytes else "all lines are read",
            gauges.backlog_bytes,
            alarm=oldest > shipper_problems.BEHIND_SECONDS,
        ),
        page.tile(
            "In flight to Kafka",
            size(status.in_flight_bytes),
            f"no response for {duration(unresponsive)}"
            if unresponsive > 1
            else f"{count(status.records_sent.failed)} records failed since start",
            gauges.in_flight_bytes,
            alarm=unresponsive > shipper_problems.UNRESPONSIVE_SECONDS,
        ),
        page.tile(
            "Open files",
            count(status.open_files),
            f"of {count(status.tracked_containers)} containers; {count(status.excluded_containers)} more are excluded",
        ),
    )


def _unread(unread: UnreadLogs) -> list[Html]:
    if not unread.directories and not unread.files:
        return []
    rows = [("", entry.path, entry.reason) for entry in unread.directories]
    rows += [
        ("/".join(filter(None, (entry.namespace, entry.pod, entry.container))), entry.path, entry.reason)
        for entry in unread.files
    ]
    numbers = (
        quantity(unread.directory_count, "log directory", "log directories"),
        quantity(unread.file_count, "log file"),
    )
    return [
        page.section(
            "Not readable", table(("container", "path", "reason"), rows), note=f"In all: {', '.join(numbers)}."
        )
    ]


def latest_rate(series: Series) -> str:
    """The latest value of a series of bytes per second."""
    return f"{size(series[-1])}/s" if series else rate(0)


def _backlogs(backlogs: tuple[Backlog, ...]) -> Html:
    if not backlogs:
        return page.section("Largest backlogs", tag("p", "All files are read to the end."))
    rows = [(row.namespace, row.pod, row.container, size(row.bytes), duration(row.seconds)) for row in backlogs]
    return page.section("Largest backlogs", table(("namespace", "pod", "container", "backlog", "oldest waits"), rows))


def _gaps(losses: tuple[RecentLoss, ...]) -> Html:
    if not losses:
        return page.section("Gaps", tag("p", "None since start: no lines were lost before they were read."))
    rows = [
        (
            utc_time(row.detected_at),
            f"{row.namespace}/{row.pod}/{row.container}",
            "unknown" if row.bytes is None else size(row.bytes),
            row.reason,
        )
        for row in losses
    ]
    return page.section(
        "Gaps",
        table(("detected", "container", "lost", "reason"), rows),
        note="Each gap is also a document in the index.",
    )


def _exclusions(rows: tuple[ExcludedContainers, ...], invalid_annotations: tuple[str, ...]) -> list[Html]:
    sections = []
    if rows:
        cells = [(row.namespace, row.reason, count(row.containers)) for row in rows]
        sections.append(page.section("Excluded containers", table(("namespace", "reason", "containers"), cells)))
    if invalid_annotations:
        sections.append(
            page.section("Invalid annotations", table(("problem",), [(row,) for row in invalid_annotations]))
        )
    return sections


def _latency(latency: ShipperLatencies) -> Html:
    return page.latency((("read", latency.read), ("acknowledged by Kafka", latency.acked)))


def _dependencies(status: ShipperStatus) -> Html:
    pods = status.pod_metadata_problem or "ok" if status.pod_metadata_enabled else "disabled"
    rows = [
        ("Kafka", status.kafka_problem or "ok"),
        ("checkpoint", status.checkpoint_problem or "ok"),
        ("pod metadata", pods),
    ]
    return page.section("Dependencies", table(("dependency", "state"), rows))
