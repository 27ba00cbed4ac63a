"""The worker's status page, rendered from the content of `/status.json`."""

import time
from typing import Any

from pipeline.monitoring import health
from pipeline.monitoring.formatting import count, duration, quantity, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.sparkline import sparkline

STAGES = {
    "consumed": "consumed from Kafka",
    "indexed": "indexed",
    "searchable": "searchable",
}


def render(status: dict[str, Any], query: str) -> Response:
    """The current page."""
    now = time.time()
    sections = [
        _tiles(status),
        _latency(status["history"]["ages"]),
        _lag(status),
        _totals(status),
        _rejections(status["refusals"]),
        page.pair(_elasticsearch(status["elasticsearch"], now), _rules(status["rules"])),
        page.settings(status["settings"]),
    ]
    return page.response(status, health.worker_problems(status, now), sections, query, now)


def _tiles(status: dict[str, Any]) -> Html:
    history = status["history"]
    rates, gauges = history["rates"], history["levels"]
    events, documents = rates["crisp_worker_events"], rates["crisp_worker_documents"]
    records = sum(row["records"] for row in status["lag"])
    oldest = max((row["seconds"] or 0.0 for row in status["lag"]), default=0.0)
    received = rates["crisp_worker_received_bytes"]
    latency = history["ages"]["searchable"]
    return page.tiles(
        page.tile("Events received", rate(_latest(events)), f"{size(_latest(received))}/s", events),
        page.tile(
            "Documents completed",
            rate(_latest(documents)),
            f"{count(status['accounts']['settled'])} since start",
            documents,
        ),
        page.tile(
            "Consumer lag",
            f"{count(records)} records",
            f"the oldest waits for {duration(oldest)}" if records else "all records are committed",
            gauges["crisp_worker_consumer_lag_records"],
            alarm=oldest > health.BEHIND_SECONDS,
        ),
        page.tile(
            "Searchable after",
            duration(latency["p99"]),
            f"p99 of {count(latency['count'])} in the last minute",
            latency["p99_line"],
            alarm=(latency["p99"] or 0.0) > health.SEARCH_DELAY_SECONDS,
        ),
    )


def _latest(series: list[float]) -> float:
    return series[-1] if series else 0.0


def _latency(latency: dict[str, Any]) -> Html:
    rows = [
        (
            label,
            count(latency[stage]["count"]),
            duration(latency[stage]["p50"]),
            duration(latency[stage]["p99"]),
            _p99_sparkline(latency, stage),
        )
        for stage, label in STAGES.items()
    ]
    head = ("stage", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Latency", table(head, rows), note="Time since the runtime wrote a slice's first line, in the last minute."
    )


def _p99_sparkline(latency: dict[str, Any], stage: str) -> Html:
    return sparkline(latency[stage]["p99_line"], f"{STAGES[stage]}, p99")


def _lag(status: dict[str, Any]) -> Html:
    rows = [
        (
            row["partition"],
            count(row["records"]),
            size(row["bytes"]),
            duration(row["seconds"]),
            count(row["committed"]),
            count(row["end"]),
            count(row["held_from"]),
        )
        for row in status["lag"]
    ]
    head = ("partition", "records", "bytes, estimated", "oldest waits", "committed", "end", "log start")
    note = f"In flight: {size(status['in_work_bytes'])} of at most {size(status['budget_bytes'])}."
    return page.section(f"Partitions of {status['topic_raw']}", table(head, rows), note=note)


def _totals(status: dict[str, Any]) -> Html:
    totals, documents = status["accounts"], status["documents"]
    rows = [
        ("created", count(documents["created"])),
        ("duplicates: sent or read twice", count(documents["duplicate"])),
        ("created in a fallback form", count(documents["fallback"])),
        (f"dead letters, in {status['topic_dead']}", count(documents["dead_lettered"])),
        *((f"dropped by the rule “{rule}”", count(events)) for rule, events in sorted(status["dropped"].items())),
        ("in flight", count(totals["in_work"])),
        ("events received", count(status["events"])),
    ]
    notes = [quantity(documents["extended"], "extended document")]
    notes += [quantity(records, f"{kind} record") for kind, records in sorted(status["records"].items()) if records]
    return page.section(
        "Event totals since start",
        table(("result", "events"), rows, summed=True),
        note="In addition: " + "; ".join(notes),
    )


def _rejections(rejections: list[dict[str, Any]]) -> Html:
    if not rejections:
        return page.section("Rejected documents", tag("p", "None since start."))
    rows = [
        (
            rejection["workload"],
            count(rejection["count"]),
            utc_time(rejection["last"]),
            tag(
                "div",
                rejection["reason"],
                tag("br"),
                tag("code", f"{rejection['index']}/{rejection['example']}"),
                class_="reason",
            ),
        )
        for rejection in rejections
    ]
    head = ("workload", "documents", "last", "reason and example")
    return page.section("Rejected documents", table(head, rows))


def _elasticsearch(connection: dict[str, Any], now: float) -> Html:
    if connection["trouble"]:
        state = connection["trouble"]
    elif connection["failing_since"]:
        since = connection["failing_since"]
        state = f"Accepts no documents since {utc_time(since)} ({duration(now - since)}): {connection['fault']}"
    else:
        state = "Accepts documents."
    return page.section("Elasticsearch", tag("p", state), tag("p", tag("code", connection["urls"]), class_="quiet"))


def _rules(rules: dict[str, Any]) -> Html:
    if not rules["file"]:
        return page.section("Rules", tag("p", "No rules file."))
    if not rules["digest"]:
        return page.section("Rules", tag("p", "No rules apply."))
    names = tag("ol", *(tag("li", name) for name in rules["rules"]))
    errors = tag("ul", *(tag("li", error) for error in rules["refused"]))
    invalid = (tag("p", "The current file is invalid:"), errors) if rules["refused"] else ()
    return page.section("Active rules", names, *invalid, note=f"{rules['file']}, hash {rules['digest']}")
