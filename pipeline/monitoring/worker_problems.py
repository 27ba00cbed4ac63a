"""Problems of a worker, from its status. Pure."""

from collections.abc import Iterator

from pipeline.monitoring import lag_cause
from pipeline.monitoring.formatting import count, duration, latency, percent, quantity, shortened, size, utc_time
from pipeline.monitoring.problem import Problem, critical, warning
from pipeline.monitoring.status import replace_problems
from pipeline.monitoring.worker_status import EventTotals, PartitionLag, WorkerStatus

SEARCH_DELAY_SECONDS = 5.0
MIN_PROBES = 3  # fewer search probes in a minute are not significant
BEHIND_SECONDS = 60.0
RETENTION_RATIO = 0.5
"""That of the alert on retention."""
RECENT_SECONDS = 900.0
REPORTED_SECONDS = 1800.0
"""The time range of the alerts on losses, dead letters and conflicts of ids."""


def with_problems(status: WorkerStatus, now: float) -> WorkerStatus:
    """The status with its problems at `now`, seconds since the epoch."""
    return replace_problems(
        status,
        (
            *_elasticsearch(status, now),
            *_dead_letter_topic(status),
            *_totals(status.totals),
            *_lag(status),
            *_losses(status, now),
            *_rejections(status, now),
            *_rules(status),
            *_hooks(status, now),
            *_search(status),
        ),
    )


def oldest_seconds(lag: tuple[PartitionLag, ...]) -> float | None:
    """The age of the oldest record that is not committed, 0 without such a record; None if no age is known."""
    waiting = [row for row in lag if row.records]
    return max((row.seconds for row in waiting if row.seconds is not None), default=None if waiting else 0.0)


def lag_records(status: WorkerStatus) -> int:
    """The consumer lag as last measured."""
    return sum(row.records for row in status.lag)


def is_lag_unknown(status: WorkerStatus) -> bool:
    """Whether the consumer lag is not known now: Kafka does not answer, or has not been asked yet."""
    return bool(status.lag_problem) or status.lag_measured_at is None


def last_lag(status: WorkerStatus) -> str:
    """The last known consumer lag, while it is unknown."""
    if status.lag_measured_at is None:
        return "never read"
    return f"last {count(lag_records(status))} at {utc_time(status.lag_measured_at)}"


def dead_letters(totals: EventTotals) -> int:
    """The number of dead letters: documents and records."""
    return totals.documents.dead_lettered + totals.records.invalid


def _elasticsearch(status: WorkerStatus, now: float) -> Iterator[Problem]:
    elasticsearch = status.elasticsearch
    if elasticsearch.index_problem:
        message = f"Nothing is indexed: {elasticsearch.index_problem}. Nothing is lost: Kafka keeps the records."
        yield critical(message, "elasticsearch")
    since = elasticsearch.failing_since
    if since:
        yield critical(
            f"Elasticsearch has accepted no documents for {duration(now - since)}, since {utc_time(since)}."
            f" Nothing is lost: Kafka keeps the records; retrying. ({shortened(elasticsearch.last_error)})",
            "elasticsearch",
        )


def _dead_letter_topic(status: WorkerStatus) -> Iterator[Problem]:
    if status.dead_letter_problem:
        yield critical(
            f"Dead letters cannot be sent; later records wait: {status.dead_letter_problem}.", "dead-letters"
        )


def _totals(totals: EventTotals) -> Iterator[Problem]:
    if totals.in_flight < 0 or (totals.in_flight and not totals.slices_in_flight):
        yield critical(
            f"The event totals do not add up: {quantity(totals.in_flight, 'event')} unaccounted for.",
            "event-totals-mismatch",
        )


def _lag(status: WorkerStatus) -> Iterator[Problem]:
    oldest = oldest_seconds(status.lag) or 0.0
    near = [row for row in status.lag if (row.retention_ratio or 0.0) > RETENTION_RATIO]
    if near:
        yield critical(_near_retention(status, near), "retention")
    elif oldest > BEHIND_SECONDS:
        records = quantity(lag_records(status), "record")
        cause = lag_cause.explain(status)
        yield warning(f"Consumer lag: {records}, the oldest waits for {duration(oldest)}. Why: {cause}.", "lag")
    if status.lag_problem:
        problem = shortened(status.lag_problem)
        yield critical(f"Consumer lag unknown ({last_lag(status)}): {problem}.", "lag")
    elif not status.partitions:
        yield warning("No partitions assigned (more workers than partitions, or rebalancing).", "lag")


def _near_retention(status: WorkerStatus, near: list[PartitionLag]) -> str:
    worst = max(near, key=lambda row: row.retention_ratio or 0.0)
    limit = str(duration(status.topic_retention_seconds))
    used = f"its oldest record waits for {duration(worst.seconds)}"
    if worst.retention_limit == "size":
        limit = f"{size(status.topic_retention_bytes)} of each partition"
        used = f"up to {size(worst.bytes)} wait"
    others = f", and {quantity(len(near) - 1, 'more partition')}" if len(near) > 1 else ""
    return (
        "Kafka's retention will soon delete records that are not indexed:"
        f" partition {worst.partition} has used {percent(worst.retention_ratio)} of it ({used}, retained are {limit})"
        f"{others}."
    )


def _losses(status: WorkerStatus, now: float) -> Iterator[Problem]:
    losses, totals = status.losses, status.totals
    if losses.last_dead_letter_at is not None and now - losses.last_dead_letter_at < REPORTED_SECONDS:
        letters = quantity(dead_letters(totals), "dead letter")
        yield warning(f"{letters} since start in {status.topic_dead}.", "dead-letters")
    if losses.last_id_conflict_at is not None and now - losses.last_id_conflict_at < REPORTED_SECONDS:
        lines = quantity(totals.documents.conflicting, "event")
        message = f"Documents of other lines had the ids of {lines} since start; both are indexed (id_conflict)."
        yield warning(message, "id-conflicts")
    if losses.last_gap_at is not None and now - losses.last_gap_at < REPORTED_SECONDS:
        gaps = quantity(totals.records.gap + losses.records_expired, "gap")
        yield critical(f"Lines were lost: {gaps} since start, each a document with crisp.gap.reason.", "gap")


def _rejections(status: WorkerStatus, now: float) -> Iterator[Problem]:
    if status.rejection_rate_high:
        yield critical("High rejection rate: check the index template and recent deployments.", "rejected-documents")
    workloads = sorted({row.workload for row in status.rejections if now - row.last_at < RECENT_SECONDS})
    if workloads:
        yield warning(
            f"Documents are rejected for their content and indexed in a fallback form: {', '.join(workloads[:3])}.",
            "rejected-documents",
        )


def _rules(status: WorkerStatus) -> Iterator[Problem]:
    errors = status.rules.problems
    if errors:
        more = f" (and {quantity(len(errors) - 1, 'more error')})" if len(errors) > 1 else ""
        message = f"The rules file is invalid; the previous rules apply: {errors[0]}{more}"
        yield warning(message, "rules-reload-failed")


def _hooks(status: WorkerStatus, now: float) -> Iterator[Problem]:
    failing = [row for row in status.hook_errors if now - row.last_at < RECENT_SECONDS]
    if failing:
        rules = ", ".join(f"{row.rule} ({quantity(row.count, 'event')}, {row.error})" for row in failing[:3])
        yield warning(f"The hooks of rules fail; their events are indexed without them: {rules}.", "hook-errors")


def _search(status: WorkerStatus) -> Iterator[Problem]:
    searchable = status.history.latency.searchable
    if searchable.count >= MIN_PROBES and searchable.p99 is not None and searchable.p99 > SEARCH_DELAY_SECONDS:
        yield warning(f"Lines are {latency(searchable.p99)} old before a search finds them (p99).", "search-latency")
