"""The shipper's status page, rendered from the content of `/status.json`."""

import time
from typing import Any

from pipeline.monitoring import health
from pipeline.monitoring.formatting import count, duration, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.sparkline import sparkline

STAGES = {"read": "read", "acked": "acknowledged by Kafka"}


def render(status: dict[str, Any], query: str) -> Response:
    """The current page."""
    now = time.time()
    sections = [
        _tiles(status),
        _backlogs(status["backlogs"]),
        _gaps(status["gaps"]),
        *_exclusions(status["kept_out"], status["refused_annotations"]),
        page.pair(_latency(status["history"]["ages"]), _dependencies(status)),
        page.settings(status["settings"]),
    ]
    return page.response(status, health.shipper_problems(status, now), sections, query, now)


def _tiles(status: dict[str, Any]) -> Html:
    rates, gauges = status["history"]["rates"], status["history"]["levels"]
    acked = rates["crisp_shipper_acked_bytes"]
    oldest = status["unread_seconds"]
    return page.tiles(
        page.tile(
            "Acknowledged by Kafka", latest_rate(acked), f"{size(status['acknowledged_bytes'])} since start", acked
        ),
        page.tile(
            "Backlog",
            size(status["unread_bytes"]),
            f"the oldest line waits for {duration(oldest)}" if status["unread_bytes"] else "all lines are read",
            gauges["crisp_shipper_backlog_bytes"],
            alarm=oldest > health.BEHIND_SECONDS,
        ),
        page.tile(
            "In flight to Kafka",
            size(status["in_flight_bytes"]),
            f"no response for {duration(status['silent_seconds'])}"
            if status["silent_seconds"] > 1
            else f"{count(status['slices']['failed'])} records failed since start",
            gauges["crisp_shipper_in_flight_bytes"],
            alarm=status["silent_seconds"] > health.UNRESPONSIVE_SECONDS,
        ),
        page.tile(
            "Open files",
            count(status["open_files"]),
            f"of {count(status['containers'])} containers; {count(status['excluded_containers'])} more are excluded",
        ),
    )


def latest_rate(series: list[float]) -> str:
    """The latest value of a series of bytes per second."""
    return f"{size(series[-1])}/s" if series else rate(0)


def _backlogs(backlogs: list[dict[str, Any]]) -> Html:
    if not backlogs:
        return page.section("Largest backlogs", tag("p", "All files are read to the end."))
    rows = [
        (row["namespace"], row["pod"], row["container"], size(row["bytes"]), duration(row["seconds"]))
        for row in backlogs
    ]
    return page.section("Largest backlogs", table(("namespace", "pod", "container", "backlog", "oldest waits"), rows))


def _gaps(gaps: list[dict[str, Any]]) -> Html:
    if not gaps:
        return page.section("Gaps", tag("p", "None since start: no lines were lost before they were read."))
    rows = [
        (
            utc_time(row["time"]),
            f"{row['namespace']}/{row['pod']}/{row['container']}",
            "unknown" if row["bytes"] is None else size(row["bytes"]),
            row["reason"],
        )
        for row in gaps
    ]
    return page.section(
        "Gaps",
        table(("detected", "container", "lost", "reason"), rows),
        note="Each gap is also a document in the index.",
    )


def _exclusions(rows: list[dict[str, Any]], invalid_annotations: list[str]) -> list[Html]:
    sections = []
    if rows:
        cells = [(row["namespace"], row["why"], count(row["containers"])) for row in rows]
        sections.append(page.section("Excluded containers", table(("namespace", "reason", "containers"), cells)))
    if invalid_annotations:
        sections.append(
            page.section("Invalid annotations", table(("problem",), [(row,) for row in invalid_annotations]))
        )
    return sections


def _latency(latency: dict[str, Any]) -> Html:
    rows = [
        (
            label,
            count(latency[stage]["count"]),
            duration(latency[stage]["p50"]),
            duration(latency[stage]["p99"]),
            sparkline(latency[stage]["p99_line"], f"{label}, p99"),
        )
        for stage, label in STAGES.items()
    ]
    head = ("stage", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Latency", table(head, rows), note="Time since the runtime wrote a slice's first line, in the last minute."
    )


def _dependencies(status: dict[str, Any]) -> Html:
    rows = [("Kafka", status["kafka"]), ("checkpoint", status["checkpoint"]), ("pod metadata", status["pods"])]
    return page.section("Dependencies", table(("dependency", "state"), rows))
