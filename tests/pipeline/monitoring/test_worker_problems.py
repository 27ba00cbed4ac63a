"""Problems of a worker by its status: each changed value results in one problem."""

from typing import Any

import pytest

from pipeline.monitoring.problem import Severity
from pipeline.monitoring.status import Latency
from pipeline.monitoring.worker_problems import oldest_seconds, with_problems
from pipeline.monitoring.worker_status import HookErrors, PartitionLag
from tests.support.statuses import NOW, WORKER, with_value


def test_status_without_problem_is_healthy() -> None:
    status = with_problems(WORKER, NOW)

    assert (status.problems, status.state) == ((), Severity.OK)


@pytest.mark.parametrize(
    ("path", "value", "severity", "runbook"),
    [
        ("elasticsearch.failing_since", NOW - 30, Severity.CRITICAL, "elasticsearch"),
        ("elasticsearch.index_problem", "no template", Severity.CRITICAL, "elasticsearch"),
        ("totals.in_flight", 3, Severity.CRITICAL, "event-totals-mismatch"),
        ("totals.in_flight", -1, Severity.CRITICAL, "event-totals-mismatch"),
        ("lag", (PartitionLag(0, 3, 9, 70.0, 2, 5, 0, 0.01, "time"),), Severity.WARNING, "lag"),
        ("lag", (PartitionLag(0, 3, 9, 50_000.0, 2, 5, 0, 0.57, "time"),), Severity.CRITICAL, "retention"),
        ("lag_problem", "no broker", Severity.CRITICAL, "lag"),
        ("dead_letter_problem", "no such topic", Severity.CRITICAL, "dead-letters"),
        ("partitions", (), Severity.WARNING, "lag"),
        ("losses.last_dead_letter_at", NOW - 1700, Severity.WARNING, "dead-letters"),
        ("losses.last_id_conflict_at", NOW - 1700, Severity.WARNING, "id-conflicts"),
        ("losses.last_gap_at", NOW - 1700, Severity.CRITICAL, "gap"),
        ("rejection_rate_high", True, Severity.CRITICAL, "rejected-documents"),
        ("rules.problems", ("line 3", "line 4"), Severity.WARNING, "rules-reload-failed"),
        ("hook_errors", (HookErrors("a", 5, NOW - 950, NOW - 890, "KeyError"),), Severity.WARNING, "hook-errors"),
        ("history.latency.searchable", Latency(3, None, 6.0, ()), Severity.WARNING, "search-latency"),
    ],
)
def test_changed_value_is_one_problem(path: str, value: Any, severity: Severity, runbook: str) -> None:
    status = with_problems(with_value(WORKER, path, value), NOW)

    assert [(problem.severity, problem.runbook) for problem in status.problems] == [(severity, runbook)]
    assert status.state is severity


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("losses.last_dead_letter_at", NOW - 1900),
        ("losses.last_id_conflict_at", NOW - 1900),
        ("losses.last_gap_at", NOW - 1900),
        ("hook_errors", (HookErrors("a", 5, NOW - 950, NOW - 910, "KeyError"),)),
        ("history.latency.searchable", Latency(2, None, 6.0, ())),
    ],
)
def test_old_or_rare_event_is_no_problem(path: str, value: Any) -> None:
    assert with_problems(with_value(WORKER, path, value), NOW).problems == ()


def test_slices_in_flight_explain_events_in_flight() -> None:
    totals = with_value(WORKER.totals, "in_flight", 3)

    assert with_problems(with_value(WORKER, "totals", with_value(totals, "slices_in_flight", 1)), NOW).problems == ()


def test_problems_are_sorted_by_severity() -> None:
    status = with_value(
        with_value(WORKER, "losses.last_dead_letter_at", NOW), "elasticsearch.index_problem", "no template"
    )

    severities = [problem.severity for problem in with_problems(status, NOW).problems]

    assert severities == [Severity.CRITICAL, Severity.WARNING]


def test_long_server_error_is_shortened() -> None:
    elasticsearch = with_value(with_value(WORKER.elasticsearch, "failing_since", NOW), "last_error", "x" * 500)
    (problem,) = with_problems(with_value(WORKER, "elasticsearch", elasticsearch), NOW).problems

    assert problem.message.endswith("x…)")
    assert len(problem.message) < 400


@pytest.mark.parametrize(
    ("measured_at", "text"),
    [
        (NOW - 60, "Consumer lag unknown (last 1,004 at 2026-09-21 14:12:20 UTC): no broker."),
        (None, "Consumer lag unknown (never read): no broker."),
    ],
)
def test_unknown_lag_has_the_last_known_one_and_its_time(measured_at: float | None, text: str) -> None:
    status = with_value(with_value(WORKER, "lag_problem", "no broker"), "lag_measured_at", measured_at)
    lag = (PartitionLag(0, 1004, 9, 1.0, 0, 1004, 0, 0.0, "time"),)

    (problem,) = with_problems(with_value(status, "lag", lag), NOW).problems

    assert problem.message == text


@pytest.mark.parametrize(
    ("seconds", "records", "oldest"),
    [((1.0, 5.0), (1, 1), 5.0), ((None, 5.0), (1, 1), 5.0), ((None, 0.0), (1, 0), None), ((0.0, 0.0), (0, 0), 0.0)],
)
def test_unknown_age_of_the_oldest_record_is_not_zero(
    seconds: tuple[float | None, ...], records: tuple[int, ...], oldest: float | None
) -> None:
    lag = tuple(
        PartitionLag(0, number, 9, age, 0, 9, 0, 0.0, "time") for age, number in zip(seconds, records, strict=True)
    )

    assert oldest_seconds(lag) == oldest


def test_partition_near_its_retention_by_size_is_named_with_the_limit() -> None:
    lag = (
        PartitionLag(0, 9, 9, 9.0, 0, 9, 0, 0.2, "time"),
        PartitionLag(3, 9, 6 << 20, 9.0, 0, 9, 0, 0.6, "size"),
        PartitionLag(4, 9, 5 << 20, 9.0, 0, 9, 0, 0.51, "size"),
    )
    status = with_value(with_value(WORKER, "topic_retention_bytes", 10 << 20), "lag", lag)

    (problem,) = with_problems(status, NOW).problems

    assert (problem.severity, problem.runbook) == (Severity.CRITICAL, "retention")
    assert (
        "partition 3 has used 60 % of it (up to 6.0 MiB wait, retained are 10.0 MiB of each partition), and 1 more"
        in problem.message
    )
