"""Problems of a shipper or worker, from its status: severity, consequence for the lines, and runbook."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from pipeline.monitoring.formatting import duration, quantity, size, utc_time

SEARCH_DELAY_SECONDS = 5.0
MIN_PROBES = 3  # fewer search probes in a minute are not significant
BEHIND_SECONDS = 60.0
RECENT_SECONDS = 900.0
REPORTED_SECONDS = 1800.0
"""The time range of the alerts on losses and dead letters."""
UNRESPONSIVE_SECONDS = 10.0
MAX_ERROR_CHARACTERS = 140


class Severity(IntEnum):
    """Severity of a problem, in ascending order. Critical: lines wait or are lost."""

    OK = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        """The name in JSON and in style sheets."""
        return self.name.lower()


def parse_severity(label: str) -> Severity:
    """The severity with this name in JSON."""
    return Severity[label.upper()]


class Problem(NamedTuple):
    """A problem, as the pages and `crisp status` show it."""

    severity: Severity
    message: str
    runbook: str

    def as_dict(self) -> dict[str, str]:
        """The problem for `/status.json`."""
        return {"level": self.severity.label, "words": self.message, "runbook": self.runbook}


def critical(message: str, runbook: str) -> Problem:
    """A problem that needs action now."""
    return Problem(Severity.CRITICAL, message, runbook)


def warning(message: str, runbook: str) -> Problem:
    """A problem that can wait for working hours."""
    return Problem(Severity.WARNING, message, runbook)


def worst_severity(severities: Iterable[Severity]) -> Severity:
    """The highest severity; OK if there is none."""
    return max(severities, default=Severity.OK)


def worst_first(problems: Sequence[Problem]) -> list[Problem]:
    """The problems, by descending severity."""
    return sorted(problems, key=lambda problem: -problem.severity)


def _is_recent(time: float | None, now: float) -> bool:
    return time is not None and now - time < REPORTED_SECONDS


def _shortened(message: str) -> str:
    """The beginning of a server's error message; the server's section has the whole."""
    short = message if len(message) <= MAX_ERROR_CHARACTERS else f"{message[:MAX_ERROR_CHARACTERS].rstrip()}…"
    return f"({short})"


def worker_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """Problems of a worker, by descending severity."""
    problems = [
        *_elasticsearch(status, now),
        *_dead_letter_topic(status),
        *_totals(status),
        *_lag(status),
        *_losses_and_rejections(status, now),
        *_rules(status),
    ]
    if status["lag_trouble"]:
        problems.append(warning(f"Consumer lag unknown: {status['lag_trouble']}", "lag"))
    elif not status["partitions"]:
        problems.append(warning("No partitions assigned (more workers than partitions, or rebalancing).", "lag"))
    search_latency = status["history"]["ages"]["searchable"]
    p99 = search_latency["p99"]
    if search_latency["count"] >= MIN_PROBES and p99 is not None and p99 > SEARCH_DELAY_SECONDS:
        problems.append(warning(f"Lines are {duration(p99)} old before a search finds them (p99).", "search-latency"))
    return worst_first(problems)


def _elasticsearch(status: dict[str, Any], now: float) -> list[Problem]:
    connection = status["elasticsearch"]
    problems = []
    if connection["trouble"]:
        message = f"Nothing is indexed: {connection['trouble']}. Nothing is lost: Kafka keeps the records."
        problems.append(critical(message, "elasticsearch"))
    if connection["failing_since"]:
        since = connection["failing_since"]
        problems.append(
            critical(
                f"Elasticsearch has accepted no documents for {duration(now - since)}, since {utc_time(since)}."
                f" Nothing is lost: Kafka keeps the records; retrying. {_shortened(connection['fault'])}",
                "elasticsearch",
            )
        )
    return problems


def _dead_letter_topic(status: dict[str, Any]) -> list[Problem]:
    problem = status["dead_trouble"]
    if not problem:
        return []
    return [critical(f"Dead letters cannot be sent; later records wait: {problem}.", "dead-letters")]


def _totals(status: dict[str, Any]) -> list[Problem]:
    totals = status["accounts"]
    if totals["in_work"] >= 0 and (totals["in_work"] == 0 or totals["slices_in_work"]):
        return []
    return [
        critical(
            f"The event totals do not add up: {quantity(totals['in_work'], 'event')} unaccounted for.",
            "event-totals-mismatch",
        )
    ]


def _lag(status: dict[str, Any]) -> list[Problem]:
    oldest = max((row["seconds"] or 0.0 for row in status["lag"]), default=0.0)
    records = sum(row["records"] for row in status["lag"])
    if oldest > status["retention_seconds"] / 2:
        message = (
            f"Kafka's retention will soon delete records that are not indexed: the oldest waits for {duration(oldest)}."
        )
        return [critical(message, "retention")]
    if oldest > BEHIND_SECONDS:
        return [
            warning(
                f"Consumer lag: {quantity(records, 'record')}, the oldest waits for {duration(oldest)}.",
                "lag",
            )
        ]
    return []


def _losses_and_rejections(status: dict[str, Any], now: float) -> list[Problem]:
    problems = []
    dead = status["documents"]["dead_lettered"] + status["records"].get("invalid", 0)
    if _is_recent(status["risen"]["dead"], now):
        problems.append(
            warning(f"{quantity(dead, 'dead letter')} since start in {status['topic_dead']}.", "dead-letters")
        )
    if status["refusal_flood"]:
        problems.append(
            critical("High rejection rate: check the index template and recent deployments.", "rejected-documents")
        )
    gaps = status["records"].get("gap", 0) + status["lost_records"]
    if _is_recent(status["risen"]["gaps"], now):
        message = f"Lines were lost: {quantity(gaps, 'gap')} since start, each a document with crisp.gap.reason."
        problems.append(critical(message, "gap"))
    rejections = [rejection for rejection in status["refusals"] if now - rejection["last"] < RECENT_SECONDS]
    if rejections:
        workloads = ", ".join(sorted({rejection["workload"] for rejection in rejections})[:3])
        problems.append(
            warning(
                f"Documents are rejected for their content and indexed in a fallback form: {workloads}.",
                "rejected-documents",
            )
        )
    return problems


def _rules(status: dict[str, Any]) -> list[Problem]:
    errors = status["rules"]["refused"]
    if not errors:
        return []
    more = f" (and {quantity(len(errors) - 1, 'more error')})" if len(errors) > 1 else ""
    message = f"The rules file is invalid; the previous rules apply: {errors[0]}{more}"
    return [warning(message, "rules-reload-failed")]


def shipper_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """Problems of a shipper, by descending severity."""
    problems = []
    oldest = status["unread_seconds"]
    if status["kafka"] != "ok":
        message = (
            "Lines do not reach Kafka. Nothing is lost while the log files exist:"
            f" the backlog is {size(status['unread_bytes'])}. {_shortened(status['kafka'])}"
        )
        problems.append(critical(message, "shipper-backlog"))
    elif status["silent_seconds"] > UNRESPONSIVE_SECONDS:
        unresponsive = duration(status["silent_seconds"])
        message = f"Kafka has not responded for {unresponsive}. Nothing is lost while the log files exist."
        problems.append(critical(message, "shipper-backlog"))
    elif oldest > BEHIND_SECONDS:
        problems.append(
            critical(
                f"The backlog is {size(status['unread_bytes'])}, the oldest line waits for {duration(oldest)}.",
                "shipper-backlog",
            )
        )
    gaps = [gap for gap in status["gaps"] if _is_recent(gap["time"], now)]
    if gaps:
        message = f"Lines were lost before they could be read: {quantity(len(gaps), 'gap')}."
        problems.append(critical(message, "gap"))
    if status["checkpoint"] != "ok":
        message = (
            f"The checkpoint cannot be written: {status['checkpoint']}. A restart sends the lines since then again."
        )
        problems.append(warning(message, "checkpoint"))
    if status["pods"] not in {"ok", "disabled"}:
        problems.append(warning(f"Pod metadata unavailable, labels will be missing: {status['pods']}", "pod-metadata"))
    return worst_first(problems)


def find_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """Problems of a worker or shipper, by descending severity."""
    return worker_problems(status, now) if status["kind"] == "worker" else shipper_problems(status, now)
