"""What follows from the facts: is anything wrong, what does it mean for the lines, and which runbook to take."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from pipeline.monitoring.formatting import clock, duration, number, size

LATE_SECONDS = 5.0
FEW = 3  # fewer documents looked up in a minute say nothing of the next
BEHIND_SECONDS = 60.0
RECENT_SECONDS = 900.0
TOLD_SECONDS = 1800.0
"""As long as the alerts on losses and dead letters look back."""
SILENT_SECONDS = 10.0
LONGEST_WORDS = 140


class Severity(IntEnum):
    """How bad a problem is; the greater, the worse. Lines wait or are lost while something is critical."""

    OK = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        """The name in JSON and in style sheets."""
        return self.name.lower()


def severity_of(label: str) -> Severity:
    """The severity with this name in JSON."""
    return Severity[label.upper()]


class Trouble(NamedTuple):
    """One thing that is wrong."""

    level: Severity
    words: str
    runbook: str

    def as_dict(self) -> dict[str, str]:
        """The problem as JSON has it."""
        return {"level": self.level.label, "words": self.words, "runbook": self.runbook}


def critical(words: str, runbook: str) -> Trouble:
    """A problem of the worst severity."""
    return Trouble(Severity.CRITICAL, words, runbook)


def warning(words: str, runbook: str) -> Trouble:
    """A problem that can wait until the morning."""
    return Trouble(Severity.WARNING, words, runbook)


def level(severities: Iterable[Severity]) -> Severity:
    """The worst of them."""
    return max(severities, default=Severity.OK)


def worst_first(troubles: Sequence[Trouble]) -> list[Trouble]:
    """The same, sorted by severity."""
    return sorted(troubles, key=lambda trouble: -trouble.level)


def _fresh(moment: float | None, now: float) -> bool:
    return moment is not None and now - moment < TOLD_SECONDS


def _said(words: str) -> str:
    """A server's own words, not all of them: the section on it has them whole."""
    short = words if len(words) <= LONGEST_WORDS else f"{words[:LONGEST_WORDS].rstrip()}…"
    return f"({short})"


def of_worker(facts: dict[str, Any], now: float) -> list[Trouble]:
    """What is wrong with a worker, the worst first."""
    found = [
        *_elasticsearch(facts, now),
        *_dead_topic(facts),
        *_accounts(facts),
        *_lag(facts),
        *_kept_apart(facts, now),
        *_rules(facts),
    ]
    if facts["lag_trouble"]:
        found.append(warning(f"Kafka cannot be asked: {facts['lag_trouble']}", "lag"))
    elif not facts["partitions"]:
        found.append(warning("No partitions: others have them all, or the group is being divided anew.", "lag"))
    found_by_search = facts["history"]["ages"]["searchable"]
    late = found_by_search["p99"]
    if found_by_search["count"] >= FEW and late is not None and late > LATE_SECONDS:
        found.append(warning(f"Lines are {duration(late)} old before a search finds them (p99).", "search-latency"))
    return worst_first(found)


def _elasticsearch(facts: dict[str, Any], now: float) -> list[Trouble]:
    place = facts["elasticsearch"]
    found = []
    if place["trouble"]:
        words = f"Nothing is indexed: {place['trouble']}. Nothing is lost: Kafka keeps what comes."
        found.append(critical(words, "elasticsearch"))
    if place["failing_since"]:
        since = place["failing_since"]
        found.append(
            critical(
                f"Elasticsearch has taken nothing for {duration(now - since)}, since {clock(since)}. Nothing is lost:"
                f" Kafka keeps what comes, and it is tried again all the time. {_said(place['fault'])}",
                "elasticsearch",
            )
        )
    return found


def _dead_topic(facts: dict[str, Any]) -> list[Trouble]:
    trouble = facts["dead_trouble"]
    return [critical(f"Dead letters wait, and what came after them: {trouble}.", "dead-letters")] if trouble else []


def _accounts(facts: dict[str, Any]) -> list[Trouble]:
    accounts = facts["accounts"]
    if accounts["in_work"] >= 0 and (accounts["in_work"] == 0 or accounts["slices_in_work"]):
        return []
    return [
        critical(
            f"The accounts do not add up: {number(accounts['in_work'], 'event')} unaccounted for.",
            "event-totals-mismatch",
        )
    ]


def _lag(facts: dict[str, Any]) -> list[Trouble]:
    waiting = max((row["seconds"] or 0.0 for row in facts["lag"]), default=0.0)
    records = sum(row["records"] for row in facts["lag"])
    if waiting > facts["retention_seconds"] / 2:
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


def _kept_apart(facts: dict[str, Any], now: float) -> list[Trouble]:
    found = []
    dead = facts["documents"]["dead_lettered"] + facts["records"].get("invalid", 0)
    if _fresh(facts["risen"]["dead"], now):
        found.append(warning(f"{number(dead, 'dead letter')} since start in {facts['topic_dead']}.", "dead-letters"))
    if facts["refusal_flood"]:
        found.append(
            critical("A flood of refusals: look at the template and at the newest service.", "rejected-documents")
        )
    gaps = facts["records"].get("gap", 0) + facts["lost_records"]
    if _fresh(facts["risen"]["gaps"], now):
        words = f"Lines were lost: {number(gaps, 'gap')} since start, each a document with crisp.gap.reason."
        found.append(critical(words, "gap"))
    recent = [refusal for refusal in facts["refusals"] if now - refusal["last"] < RECENT_SECONDS]
    if recent:
        words = ", ".join(sorted({refusal["workload"] for refusal in recent})[:3])
        found.append(
            warning(
                f"Documents are refused for their content and go in in a safe form: {words}.",
                "rejected-documents",
            )
        )
    return found


def _rules(facts: dict[str, Any]) -> list[Trouble]:
    refused = facts["rules"]["refused"]
    if not refused:
        return []
    more = f" (and {number(len(refused) - 1, 'fault')} more)" if len(refused) > 1 else ""
    words = f"The rules file was refused, the rules before it stay in force: {refused[0]}{more}"
    return [warning(words, "rules-reload-failed")]


def of_shipper(facts: dict[str, Any], now: float) -> list[Trouble]:
    """What is wrong with a shipper, the worst first."""
    found = []
    waiting = facts["unread_seconds"]
    if facts["kafka"] != "ok":
        words = (
            "Lines do not reach Kafka. Nothing is lost while the files are there:"
            f" {size(facts['unread_bytes'])} wait in them. {_said(facts['kafka'])}"
        )
        found.append(critical(words, "shipper-backlog"))
    elif facts["silent_seconds"] > SILENT_SECONDS:
        words = (
            f"Kafka has answered nothing for {duration(facts['silent_seconds'])}. Nothing is lost: the files are there."
        )
        found.append(critical(words, "shipper-backlog"))
    elif waiting > BEHIND_SECONDS:
        found.append(
            critical(
                f"{size(facts['unread_bytes'])} are unread, the oldest for {duration(waiting)}.",
                "shipper-backlog",
            )
        )
    gaps = [gap for gap in facts["gaps"] if _fresh(gap["time"], now)]
    if gaps:
        words = f"Lines were lost before they could be read: {number(len(gaps), 'gap')}."
        found.append(critical(words, "gap"))
    if facts["checkpoint"] != "ok":
        words = f"The checkpoint cannot be written: {facts['checkpoint']}. A restart would send again what came since."
        found.append(warning(words, "checkpoint"))
    if facts["pods"] not in {"ok", "not asked"}:
        found.append(warning(f"Pods are not known, their labels will be missing: {facts['pods']}", "pod-metadata"))
    return worst_first(found)


def of(facts: dict[str, Any], now: float) -> list[Trouble]:
    """What is wrong, by the kind of the process."""
    return of_worker(facts, now) if facts["kind"] == "worker" else of_shipper(facts, now)
