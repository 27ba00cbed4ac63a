"""What follows from the facts: is anything wrong, what does it mean for the lines, and which runbook to take."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from pipeline.monitoring.formatting import duration, number, size, utc_time

SEARCH_DELAY_SECONDS = 5.0
MIN_PROBES = 3  # fewer documents looked up in a minute say nothing of the next
BEHIND_SECONDS = 60.0
RECENT_SECONDS = 900.0
REPORTED_SECONDS = 1800.0
"""As long as the alerts on losses and dead letters look back."""
UNRESPONSIVE_SECONDS = 10.0
MAX_ERROR_CHARACTERS = 140


class Severity(IntEnum):
    """How bad a problem is; the greater, the worse. Lines wait or are lost while something is critical."""

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
    """One thing that is wrong."""

    severity: Severity
    message: str
    runbook: str

    def as_dict(self) -> dict[str, str]:
        """The problem as JSON has it."""
        return {"level": self.severity.label, "words": self.message, "runbook": self.runbook}


def critical(message: str, runbook: str) -> Problem:
    """A problem of the worst severity."""
    return Problem(Severity.CRITICAL, message, runbook)


def warning(message: str, runbook: str) -> Problem:
    """A problem that can wait until the morning."""
    return Problem(Severity.WARNING, message, runbook)


def worst_severity(severities: Iterable[Severity]) -> Severity:
    """The worst of them."""
    return max(severities, default=Severity.OK)


def worst_first(problems: Sequence[Problem]) -> list[Problem]:
    """The same, sorted by severity."""
    return sorted(problems, key=lambda trouble: -trouble.severity)


def _is_recent(moment: float | None, now: float) -> bool:
    return moment is not None and now - moment < REPORTED_SECONDS


def _shortened(message: str) -> str:
    """A server's own words, not all of them: the section on it has them whole."""
    short = message if len(message) <= MAX_ERROR_CHARACTERS else f"{message[:MAX_ERROR_CHARACTERS].rstrip()}…"
    return f"({short})"


def worker_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """What is wrong with a worker, the worst first."""
    found = [
        *_elasticsearch(status, now),
        *_dead_letter_topic(status),
        *_totals(status),
        *_lag(status),
        *_losses_and_rejections(status, now),
        *_rules(status),
    ]
    if status["lag_trouble"]:
        found.append(warning(f"Kafka cannot be asked: {status['lag_trouble']}", "lag"))
    elif not status["partitions"]:
        found.append(warning("No partitions: others have them all, or the group is being divided anew.", "lag"))
    found_by_search = status["history"]["ages"]["searchable"]
    late = found_by_search["p99"]
    if found_by_search["count"] >= MIN_PROBES and late is not None and late > SEARCH_DELAY_SECONDS:
        found.append(warning(f"Lines are {duration(late)} old before a search finds them (p99).", "search-latency"))
    return worst_first(found)


def _elasticsearch(status: dict[str, Any], now: float) -> list[Problem]:
    place = status["elasticsearch"]
    found = []
    if place["trouble"]:
        words = f"Nothing is indexed: {place['trouble']}. Nothing is lost: Kafka keeps what comes."
        found.append(critical(words, "elasticsearch"))
    if place["failing_since"]:
        since = place["failing_since"]
        found.append(
            critical(
                f"Elasticsearch has taken nothing for {duration(now - since)}, since {utc_time(since)}."
                f" Nothing is lost: Kafka keeps the records; retrying. {_shortened(place['fault'])}",
                "elasticsearch",
            )
        )
    return found


def _dead_letter_topic(status: dict[str, Any]) -> list[Problem]:
    trouble = status["dead_trouble"]
    return [critical(f"Dead letters wait, and what came after them: {trouble}.", "dead-letters")] if trouble else []


def _totals(status: dict[str, Any]) -> list[Problem]:
    accounts = status["accounts"]
    if accounts["in_work"] >= 0 and (accounts["in_work"] == 0 or accounts["slices_in_work"]):
        return []
    return [
        critical(
            f"The accounts do not add up: {number(accounts['in_work'], 'event')} unaccounted for.",
            "event-totals-mismatch",
        )
    ]


def _lag(status: dict[str, Any]) -> list[Problem]:
    waiting = max((row["seconds"] or 0.0 for row in status["lag"]), default=0.0)
    records = sum(row["records"] for row in status["lag"])
    if waiting > status["retention_seconds"] / 2:
        words = f"Kafka's retention is about to overtake this worker: its oldest record has waited {duration(waiting)}."
        return [critical(words, "retention")]
    if waiting > BEHIND_SECONDS:
        return [
            warning(
                f"Behind: {number(records, 'record')} in Kafka, the oldest for {duration(waiting)}.",
                "lag",
            )
        ]
    return []


def _losses_and_rejections(status: dict[str, Any], now: float) -> list[Problem]:
    found = []
    dead = status["documents"]["dead_lettered"] + status["records"].get("invalid", 0)
    if _is_recent(status["risen"]["dead"], now):
        found.append(warning(f"{number(dead, 'dead letter')} since start in {status['topic_dead']}.", "dead-letters"))
    if status["refusal_flood"]:
        found.append(
            critical("A flood of refusals: look at the template and at the newest service.", "rejected-documents")
        )
    gaps = status["records"].get("gap", 0) + status["lost_records"]
    if _is_recent(status["risen"]["gaps"], now):
        words = f"Lines were lost: {number(gaps, 'gap')} since start, each a document with crisp.gap.reason."
        found.append(critical(words, "gap"))
    recent = [refusal for refusal in status["refusals"] if now - refusal["last"] < RECENT_SECONDS]
    if recent:
        words = ", ".join(sorted({refusal["workload"] for refusal in recent})[:3])
        found.append(
            warning(
                f"Documents are refused for their content and go in in a safe form: {words}.",
                "rejected-documents",
            )
        )
    return found


def _rules(status: dict[str, Any]) -> list[Problem]:
    refused = status["rules"]["refused"]
    if not refused:
        return []
    more = f" (and {number(len(refused) - 1, 'fault')} more)" if len(refused) > 1 else ""
    words = f"The rules file was refused, the rules before it stay in force: {refused[0]}{more}"
    return [warning(words, "rules-reload-failed")]


def shipper_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """What is wrong with a shipper, the worst first."""
    found = []
    waiting = status["unread_seconds"]
    if status["kafka"] != "ok":
        words = (
            "Lines do not reach Kafka. Nothing is lost while the files are there:"
            f" {size(status['unread_bytes'])} wait in them. {_shortened(status['kafka'])}"
        )
        found.append(critical(words, "shipper-backlog"))
    elif status["silent_seconds"] > UNRESPONSIVE_SECONDS:
        silence = duration(status["silent_seconds"])
        words = f"Kafka has answered nothing for {silence}. Nothing is lost: the files are there."
        found.append(critical(words, "shipper-backlog"))
    elif waiting > BEHIND_SECONDS:
        found.append(
            critical(
                f"{size(status['unread_bytes'])} are unread, the oldest for {duration(waiting)}.",
                "shipper-backlog",
            )
        )
    gaps = [gap for gap in status["gaps"] if _is_recent(gap["time"], now)]
    if gaps:
        words = f"Lines were lost before they could be read: {number(len(gaps), 'gap')}."
        found.append(critical(words, "gap"))
    if status["checkpoint"] != "ok":
        words = f"The checkpoint cannot be written: {status['checkpoint']}. A restart would send again what came since."
        found.append(warning(words, "checkpoint"))
    if status["pods"] not in {"ok", "not asked"}:
        found.append(warning(f"Pods are not known, their labels will be missing: {status['pods']}", "pod-metadata"))
    return worst_first(found)


def find_problems(status: dict[str, Any], now: float) -> list[Problem]:
    """What is wrong, by the kind of the process."""
    return worker_problems(status, now) if status["kind"] == "worker" else shipper_problems(status, now)
