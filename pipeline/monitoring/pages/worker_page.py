"""The worker's page, of the facts that `/status.json` has."""

import time
from typing import Any

from pipeline.monitoring import health
from pipeline.monitoring.formatting import count, duration, number, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.sparkline import sparkline

STAGES = {
    "consumed": "taken from Kafka",
    "indexed": "indexed",
    "searchable": "found by a search",
}


def render(status: dict[str, Any], query: str) -> Response:
    """The page as it is now."""
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
    rates, levels = history["rates"], history["levels"]
    events, documents = rates["crisp_worker_events"], rates["crisp_worker_documents"]
    records = sum(row["records"] for row in status["lag"])
    waiting = max((row["seconds"] or 0.0 for row in status["lag"]), default=0.0)
    raw = rates["crisp_worker_received_bytes"]
    age = history["ages"]["searchable"]
    return page.tiles(
        page.tile("Events in", rate(_latest(events)), f"{size(_latest(raw))}/s", events),
        page.tile(
            "Documents settled",
            rate(_latest(documents)),
            f"{count(status['accounts']['settled'])} since start",
            documents,
        ),
        page.tile(
            "Waiting in Kafka",
            f"{count(records)} records",
            f"the oldest for {duration(waiting)}" if records else "nothing waits",
            levels["crisp_worker_consumer_lag_records"],
            alarm=waiting > health.BEHIND_SECONDS,
        ),
        page.tile(
            "Searchable after",
            duration(age["p99"]),
            f"p99 of {count(age['count'])} in the last minute",
            age["p99_line"],
            alarm=(age["p99"] or 0.0) > health.SEARCH_DELAY_SECONDS,
        ),
    )


def _latest(series: list[float]) -> float:
    return series[-1] if series else 0.0


def _latency(latency: dict[str, Any]) -> Html:
    rows = [
        (
            words,
            count(latency[stage]["count"]),
            duration(latency[stage]["p50"]),
            duration(latency[stage]["p99"]),
            _p99_sparkline(latency, stage),
        )
        for stage, words in STAGES.items()
    ]
    head = ("when it was", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Age of lines", table(head, rows), note="Since the runtime wrote it; a slice's first line, the last minute."
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
    head = ("partition", "records", "bytes, about", "oldest waits", "committed", "end", "Kafka holds from")
    note = f"In work: {size(status['in_work_bytes'])} of at most {size(status['budget_bytes'])}."
    return page.section(f"Partitions of {status['topic_raw']}", table(head, rows), note=note)


def _totals(status: dict[str, Any]) -> Html:
    accounts, documents = status["accounts"], status["documents"]
    rows = [
        ("created", count(documents["created"])),
        ("there already: sent or read twice", count(documents["duplicate"])),
        ("created in a safe form", count(documents["fallback"])),
        (f"dead letters, in {status['topic_dead']}", count(documents["dead_lettered"])),
        *((f"dropped by the rule “{rule}”", count(number)) for rule, number in sorted(status["dropped"].items())),
        ("in work", count(accounts["in_work"])),
        ("events that came", count(status["events"])),
    ]
    beside = [f"{number(status['documents']['extended'], 'longer form')} of events that were there already"]
    beside += [number(found, f"{outcome} record") for outcome, found in sorted(status["records"].items()) if found]
    return page.section(
        "Accounts since start",
        table(("what became of them", "events"), rows, summed=True),
        note="Beside: " + "; ".join(beside),
    )


def _rejections(rejections: list[dict[str, Any]]) -> Html:
    if not rejections:
        return page.section("Refused for their content", tag("p", "None since start."))
    rows = [
        (
            refusal["workload"],
            count(refusal["count"]),
            utc_time(refusal["last"]),
            tag(
                "div",
                refusal["reason"],
                tag("br"),
                tag("code", f"{refusal['index']}/{refusal['example']}"),
                class_="reason",
            ),
        )
        for refusal in rejections
    ]
    return page.section(
        "Refused for their content", table(("workload", "documents", "last", "why, and an example"), rows)
    )


def _elasticsearch(connection: dict[str, Any], now: float) -> Html:
    if connection["trouble"]:
        words = connection["trouble"]
    elif connection["failing_since"]:
        since = connection["failing_since"]
        words = f"Takes nothing since {utc_time(since)} ({duration(now - since)}): {connection['fault']}"
    else:
        words = "Takes documents."
    return page.section(
        "Elasticsearch, seen from here", tag("p", words), tag("p", tag("code", connection["urls"]), class_="quiet")
    )


def _rules(rules: dict[str, Any]) -> Html:
    if not rules["file"]:
        return page.section("Rules", tag("p", "No rules file."))
    if not rules["digest"]:
        return page.section("Rules", tag("p", "No rules are in force."))
    names = tag("ol", *(tag("li", name) for name in rules["rules"]))
    faults = tag("ul", *(tag("li", fault) for fault in rules["refused"]))
    refused = (tag("p", "The file as it is now was refused:"), faults) if rules["refused"] else ()
    return page.section("Rules in force", names, *refused, note=f"{rules['file']}, hash {rules['digest']}")
