"""The worker's status page, rendered from its status."""

import time

from pipeline.monitoring import formatting, worker_problems
from pipeline.monitoring.formatting import count, duration, quantity, rate, size, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import page
from pipeline.monitoring.pages.html import Child, Html, table, tag
from pipeline.monitoring.pages.page import Origin
from pipeline.monitoring.status import Series
from pipeline.monitoring.worker_status import (
    ElasticsearchStatus,
    HookErrors,
    Rejection,
    RulesStatus,
    Traffic,
    WorkerLatencies,
    WorkerLoad,
    WorkerStatus,
)

MAX_TALKERS = 10
HEALTHY = "Every received line is indexed or in flight."


def render(status: WorkerStatus, query: str, origin: Origin | None = None) -> Response:
    """The current page; `origin`: of a status that another process made."""
    now = time.time()
    sections = [
        _tiles(status),
        _latency(status.history.latency),
        _lag(status),
        *_traffic(status.traffic),
        _totals(status),
        _rejections(status.rejections),
        page.pair(_elasticsearch(status.elasticsearch, status.load, now), _rules(status.rules)),
        *_hook_errors(status.hook_errors),
        page.settings(status.settings),
    ]
    return page.response(status, f"worker {status.name}", HEALTHY, sections, query, origin)


def _tiles(status: WorkerStatus) -> Html:
    rates, gauges = status.history.rates, status.history.gauges
    oldest = worker_problems.oldest_seconds(status.lag)
    latency = status.history.latency.searchable
    return page.tiles(
        page.tile(
            "Events received", rate(_latest(rates.events)), f"{size(_latest(rates.received_bytes))}/s", rates.events
        ),
        page.tile(
            "Documents completed",
            rate(_latest(rates.documents)),
            f"{count(status.totals.settled)} since start",
            rates.documents,
        ),
        page.tile(
            "Consumer lag",
            *_lag_figures(status, oldest),
            gauges.consumer_lag_records,
            alarm=bool(status.lag_problem) or (oldest or 0.0) > worker_problems.BEHIND_SECONDS,
        ),
        page.tile(
            "Searchable after",
            formatting.latency(latency.p99),
            f"p99 of {count(latency.count)} in the last minute",
            latency.p99_series,
            alarm=(latency.p99 or 0.0) > worker_problems.SEARCH_DELAY_SECONDS,
        ),
    )


def _lag_figures(status: WorkerStatus, oldest: float | None) -> tuple[Child, Child]:
    """The value and the note of the lag's tile."""
    if worker_problems.is_lag_unknown(status):
        return "unknown", worker_problems.last_lag(status)
    records = worker_problems.lag_records(status)
    note = f"the oldest waits for {formatting.age(oldest)}" if records else "all records are committed"
    return f"{count(records)} records", note


def _latest(series: Series) -> float:
    return series[-1] if series else 0.0


def _latency(latency: WorkerLatencies) -> Html:
    return page.latency(
        (
            ("consumed from Kafka", latency.consumed),
            ("indexed", latency.indexed),
            ("searchable", latency.searchable),
        )
    )


def _lag(status: WorkerStatus) -> Html:
    rows = [
        (
            row.partition,
            count(row.records),
            size(row.bytes),
            duration(row.seconds),
            count(row.committed),
            count(row.end),
            count(row.log_start),
            formatting.percent(row.retention_ratio),
        )
        for row in status.lag
    ]
    head = (
        "partition",
        "records",
        "bytes, estimated",
        "oldest waits",
        "committed",
        "end",
        "log start",
        "retention used",
    )
    note = f"In flight: {size(status.in_flight_bytes)} of at most {size(status.memory_budget_bytes)}."
    if worker_problems.is_lag_unknown(status):
        note += f" The lag is unknown, {worker_problems.last_lag(status)}."
    return page.section(f"Partitions of {status.topic_raw}", table(head, rows), note=note)


def _totals(status: WorkerStatus) -> Html:
    totals, documents = status.totals, status.totals.documents
    rows = [
        ("created", count(documents.created)),
        ("duplicates: sent or read twice", count(documents.duplicate)),
        ("created in a fallback form", count(documents.fallback)),
        (f"dead letters, in {status.topic_dead}", count(documents.dead_lettered)),
        *((f"dropped by the rule “{rule}”", count(events)) for rule, events in sorted(totals.dropped.items())),
        ("in flight", count(totals.in_flight)),
        ("events received", count(totals.events)),
    ]
    records = (
        ("gap", totals.records.gap),
        ("invalid", totals.records.invalid),
        ("slice", totals.records.slice),
        ("third_party", totals.records.third_party),
    )
    notes = [quantity(documents.extended, "extended document")]
    notes += [quantity(number, f"{kind} record") for kind, number in records if number]
    return page.section(
        "Event totals since start",
        table(("result", "events"), rows, summed=True),
        note="In addition: " + "; ".join(notes),
    )


def _rejections(rejections: tuple[Rejection, ...]) -> Html:
    if not rejections:
        return page.section("Rejected documents", tag("p", "None since start."))
    rows = [
        (
            rejection.workload,
            count(rejection.count),
            utc_time(rejection.last_at),
            tag(
                "div",
                rejection.reason,
                tag("br"),
                tag("code", f"{rejection.index}/{rejection.example}"),
                class_="reason",
            ),
        )
        for rejection in rejections
    ]
    head = ("workload", "documents", "last", "reason and example")
    return page.section("Rejected documents", table(head, rows))


def _hook_errors(errors: tuple[HookErrors, ...]) -> list[Html]:
    if not errors:
        return []
    rows = [(row.rule, count(row.count), utc_time(row.last_at), row.error) for row in errors]
    return [page.section("Failing hooks of rules", table(("rule", "events", "last", "error"), rows))]


def _traffic(traffic: Traffic) -> list[Html]:
    """The containers that write most; nothing before the first lines."""
    if not traffic.bytes or not traffic.seconds:
        return []
    rows = [
        (
            f"{row.namespace}/{row.container}",
            rate(row.lines / traffic.seconds),
            formatting.byte_rate(row.bytes / traffic.seconds),
            formatting.percent(row.bytes / traffic.bytes),
        )
        for row in traffic.containers[:MAX_TALKERS]
    ]
    head = ("container", "lines", "bytes", "share")
    note = f"Raw lines of the last {duration(traffic.seconds)}, by namespace and container."
    return [page.section("Top talkers", table(head, rows), note=note)]


def _elasticsearch(connection: ElasticsearchStatus, load: WorkerLoad, now: float) -> Html:
    if connection.index_problem:
        state = connection.index_problem
    elif connection.failing_since:
        since = connection.failing_since
        state = f"Accepts no documents since {utc_time(since)} ({duration(now - since)}): {connection.last_error}"
    else:
        state = "Accepts documents."
    bulk = (
        f"In the last minute {quantity(load.bulk_requests, 'bulk request')}, {formatting.latency(load.bulk_p50)} at the"
        f" median, {formatting.latency(load.bulk_p99)} p99; {quantity(load.documents_throttled, 'document')} answered"
        f" with 429; this worker used {formatting.percent(load.cpu_ratio)} of a CPU core."
    )
    address = tag("p", tag("code", connection.urls), class_="quiet")
    return page.section("Elasticsearch", tag("p", state), tag("p", bulk), address)


def _rules(rules: RulesStatus) -> Html:
    if not rules.file:
        return page.section("Rules", tag("p", "No rules file."))
    if not rules.digest:
        return page.section("Rules", tag("p", "No rules apply."))
    names = tag("ol", *(tag("li", name) for name in rules.names))
    errors = tag("ul", *(tag("li", error) for error in rules.problems))
    invalid = (tag("p", "The current file is invalid:"), errors) if rules.problems else ()
    return page.section("Active rules", names, *invalid, note=f"{rules.file}, hash {rules.digest}")
