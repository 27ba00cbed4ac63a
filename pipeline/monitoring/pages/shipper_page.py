"""The shipper's page, of the facts that `/status.json` has."""

import time
from typing import Any

from pipeline.monitoring import health
from pipeline.monitoring.formatting import clock, count, duration, rate, size
from pipeline.monitoring.http_server import Answer
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.sparkline import spark

STAGES = {"read": "read", "acked": "acknowledged by Kafka"}


def render(facts: dict[str, Any], query: str) -> Answer:
    """The page as it is now."""
    now = time.time()
    sections = [
        _tiles(facts),
        _backlogs(facts["backlogs"]),
        _gaps(facts["gaps"]),
        *_kept_out(facts["kept_out"], facts["refused_annotations"]),
        page.pair(_stages(facts["history"]["ages"]), _neighbours(facts)),
        page.settings(facts["settings"]),
    ]
    return page.answer(facts, health.of_shipper(facts, now), sections, query, now)


def _tiles(facts: dict[str, Any]) -> Html:
    rates, levels = facts["history"]["rates"], facts["history"]["levels"]
    shipped = rates["crisp_shipper_acked_bytes"]
    waiting = facts["unread_seconds"]
    return page.tiles(
        page.tile(
            "Acknowledged by Kafka", rate_of(shipped), f"{size(facts['acknowledged_bytes'])} since start", shipped
        ),
        page.tile(
            "Unread in the files",
            size(facts["unread_bytes"]),
            f"the oldest line for {duration(waiting)}" if facts["unread_bytes"] else "nothing waits",
            levels["crisp_shipper_backlog_bytes"],
            alarm=waiting > health.BEHIND_SECONDS,
        ),
        page.tile(
            "On the way to Kafka",
            size(facts["in_flight_bytes"]),
            f"no answer for {duration(facts['silent_seconds'])}"
            if facts["silent_seconds"] > 1
            else f"{count(facts['slices']['failed'])} slices failed since start",
            levels["crisp_shipper_in_flight_bytes"],
            alarm=facts["silent_seconds"] > health.SILENT_SECONDS,
        ),
        page.tile(
            "Files open",
            count(facts["open_files"]),
            f"of {count(facts['containers'])} containers; {count(facts['excluded_containers'])} more are kept out",
        ),
    )


def rate_of(line: list[float]) -> str:
    """The newest of a line of bytes a second."""
    return f"{size(line[-1])}/s" if line else rate(0)


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
            clock(row["time"]),
            f"{row['namespace']}/{row['pod']}/{row['container']}",
            "unknown" if row["bytes"] is None else size(row["bytes"]),
            row["reason"],
        )
        for row in gaps
    ]
    return page.section(
        "Gaps", table(("found", "container", "lost", "why"), rows), note="Each is a document in the index too."
    )


def _kept_out(rows: list[dict[str, Any]], refused: list[str]) -> list[Html]:
    found = []
    if rows:
        shown = [(row["namespace"], row["why"], count(row["containers"])) for row in rows]
        found.append(page.section("Kept out", table(("namespace", "why", "containers"), shown)))
    if refused:
        found.append(
            page.section("Annotations that are not used", table(("what is wrong",), [(row,) for row in refused]))
        )
    return found


def _stages(ages: dict[str, Any]) -> Html:
    rows = [
        (
            words,
            count(ages[stage]["count"]),
            duration(ages[stage]["p50"]),
            duration(ages[stage]["p99"]),
            spark(ages[stage]["p99_line"], f"{words}, p99"),
        )
        for stage, words in STAGES.items()
    ]
    head = ("when it was", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Age of lines", table(head, rows), note="Since the runtime wrote it; a slice's first line, the last minute."
    )


def _neighbours(facts: dict[str, Any]) -> Html:
    rows = [("Kafka", facts["kafka"]), ("checkpoint", facts["checkpoint"]), ("pods' metadata", facts["pods"])]
    return page.section("Neighbours, seen from here", table(("what", "state"), rows))
