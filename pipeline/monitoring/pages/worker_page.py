"""The worker's page, of the facts that `/status.json` has."""

import time
from typing import Any

from pipeline.monitoring import health
from pipeline.monitoring.formatting import clock, count, duration, number, rate, size
from pipeline.monitoring.http_server import Answer
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.pages.sparkline import spark

STAGES = {
    "consumed": "taken from Kafka",
    "indexed": "indexed",
    "searchable": "found by a search",
}


def render(facts: dict[str, Any], query: str) -> Answer:
    """The page as it is now."""
    now = time.time()
    sections = [
        _tiles(facts),
        _stages(facts["history"]["ages"]),
        _lag(facts),
        _accounts(facts),
        _refusals(facts["refusals"]),
        page.pair(_elasticsearch(facts["elasticsearch"], now), _rules(facts["rules"])),
        page.settings(facts["settings"]),
    ]
    return page.answer(facts, health.of_worker(facts, now), sections, query, now)


def _tiles(facts: dict[str, Any]) -> Html:
    history = facts["history"]
    rates, levels = history["rates"], history["levels"]
    events, documents = rates["crisp_worker_events"], rates["crisp_worker_documents"]
    records = sum(row["records"] for row in facts["lag"])
    waiting = max((row["seconds"] or 0.0 for row in facts["lag"]), default=0.0)
    raw = rates["crisp_worker_received_bytes"]
    age = history["ages"]["searchable"]
    return page.tiles(
        page.tile("Events in", rate(_last(events)), f"{size(_last(raw))}/s", events),
        page.tile(
            "Documents settled", rate(_last(documents)), f"{count(facts['accounts']['settled'])} since start", documents
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
            alarm=(age["p99"] or 0.0) > health.LATE_SECONDS,
        ),
    )


def _last(line: list[float]) -> float:
    return line[-1] if line else 0.0


def _stages(ages: dict[str, Any]) -> Html:
    rows = [
        (
            words,
            count(ages[stage]["count"]),
            duration(ages[stage]["p50"]),
            duration(ages[stage]["p99"]),
            _drawn(ages, stage),
        )
        for stage, words in STAGES.items()
    ]
    head = ("when it was", "slices", "p50", "p99", "p99, last minutes")
    return page.section(
        "Age of lines", table(head, rows), note="Since the runtime wrote it; a slice's first line, the last minute."
    )


def _drawn(ages: dict[str, Any], stage: str) -> Html:
    return spark(ages[stage]["p99_line"], f"{STAGES[stage]}, p99")


def _lag(facts: dict[str, Any]) -> Html:
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
        for row in facts["lag"]
    ]
    head = ("partition", "records", "bytes, about", "oldest waits", "committed", "end", "Kafka holds from")
    note = f"In work: {size(facts['in_work_bytes'])} of at most {size(facts['budget_bytes'])}."
    return page.section(f"Partitions of {facts['topic_raw']}", table(head, rows), note=note)


def _accounts(facts: dict[str, Any]) -> Html:
    accounts, documents = facts["accounts"], facts["documents"]
    rows = [
        ("created", count(documents["created"])),
        ("there already: sent or read twice", count(documents["duplicate"])),
        ("created in a safe form", count(documents["fallback"])),
        (f"dead letters, in {facts['topic_dead']}", count(documents["dead_lettered"])),
        *((f"dropped by the rule “{rule}”", count(number)) for rule, number in sorted(facts["dropped"].items())),
        ("in work", count(accounts["in_work"])),
        ("events that came", count(facts["events"])),
    ]
    beside = [f"{number(facts['documents']['extended'], 'longer form')} of events that were there already"]
    beside += [number(found, f"{outcome} record") for outcome, found in sorted(facts["records"].items()) if found]
    return page.section(
        "Accounts since start",
        table(("what became of them", "events"), rows, summed=True),
        note="Beside: " + "; ".join(beside),
    )


def _refusals(refusals: list[dict[str, Any]]) -> Html:
    if not refusals:
        return page.section("Refused for their content", tag("p", "None since start."))
    rows = [
        (
            refusal["workload"],
            count(refusal["count"]),
            clock(refusal["last"]),
            tag(
                "div",
                refusal["reason"],
                tag("br"),
                tag("code", f"{refusal['index']}/{refusal['example']}"),
                class_="reason",
            ),
        )
        for refusal in refusals
    ]
    return page.section(
        "Refused for their content", table(("workload", "documents", "last", "why, and an example"), rows)
    )


def _elasticsearch(place: dict[str, Any], now: float) -> Html:
    if place["trouble"]:
        words = place["trouble"]
    elif place["failing_since"]:
        since = place["failing_since"]
        words = f"Takes nothing since {clock(since)} ({duration(now - since)}): {place['fault']}"
    else:
        words = "Takes documents."
    return page.section(
        "Elasticsearch, seen from here", tag("p", words), tag("p", tag("code", place["urls"]), class_="quiet")
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
