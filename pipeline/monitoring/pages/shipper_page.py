"""The shipper's page, of the facts that `/status.json` has."""

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
    """The page as it is now."""
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
    rates, levels = status["history"]["rates"], status["history"]["levels"]
    shipped = rates["crisp_shipper_acked_bytes"]
    waiting = status["unread_seconds"]
    return page.tiles(
        page.tile(
            "Acknowledged by Kafka", latest_rate(shipped), f"{size(status['acknowledged_bytes'])} since start", shipped
        ),
        page.tile(
            "Unread in the files",
            size(status["unread_bytes"]),
            f"the oldest line for {duration(waiting)}" if status["unread_bytes"] else "nothing waits",
            levels["crisp_shipper_backlog_bytes"],
            alarm=waiting > health.BEHIND_SECONDS,
        ),
        page.tile(
            "On the way to Kafka",
            size(status["in_flight_bytes"]),
            f"no answer for {duration(status['silent_seconds'])}"
            if status["silent_seconds"] > 1
            else f"{count(status['slices']['failed'])} slices failed since start",
            levels["crisp_shipper_in_flight_bytes"],
            alarm=status["silent_seconds"] > health.UNRESPONSIVE_SECONDS,
        ),
        page.tile(
            "Files open",
            count(status["open_files"]),
            f"of {count(status['containers'])} containers; {count(status['excluded_containers'])} more are kept out",
        ),
    )


def latest_rate(series: list[float]) -> str:
    """The newest of a line of bytes a second."""
    return f"{size(series[-1])}/s" if series else rate(0)


def _backlogs(backlogs: list[dict[str, Any]]) -> Html:
    if not backlogs:
        return page.section("Biggest backlogs", tag("p", "Every file is read to its end."))
    rows = [
        (row["namespace"], row["pod"], row["container"], size(row["bytes"]), duration(row["seconds"]))
        for row in backlogs
    ]
    return page.section("Biggest backlogs", table(("namespace", "pod", "container", "unread", "oldest waits"), rows))


def _gaps(gaps: list[dict[str, Any]]) -> Html:
    if not gaps:
        return page.section("Gaps", tag("p", "None since start: no line went away unread."))
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
        "Gaps", table(("found", "container", "lost", "why"), rows), note="Each is a document in the index too."
    )


def _exclusions(rows: list[dict[str, Any]], invalid_annotations: list[str]) -> list[Html]:
    found = []
    if rows:
        shown = [(row["namespace"], row["why"], count(row["containers"])) for row in rows]
        found.append(page.section("Kept out", table(("namespace", "why", "containers"), shown)))
    if invalid_annotations:
        found.append(
            page.section(
                "Annotations that are not used", table(("what is wrong",), [(row,) for row in invalid_annotations])
            )
        )
    return found


def _latency(latency: dict[str, Any]) -> Html:
    rows = [
        (
            words,
            count(latency[stage]["count"]),
            duration(latency[stage]["p50"]),
            duration(latency[stage]["p99"]),
            sparkline(latency[stage]["p99_line"], f"{words}, p99"),
        )
        for stage, words in STAGES.items()
    ]
    head = ("when it was", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Age of lines", table(head, rows), note="Since the runtime wrote it; a slice's first line, the last minute."
    )


def _dependencies(status: dict[str, Any]) -> Html:
    rows = [("Kafka", status["kafka"]), ("checkpoint", status["checkpoint"]), ("pods' metadata", status["pods"])]
    return page.section("Neighbours, seen from here", table(("what", "state"), rows))
