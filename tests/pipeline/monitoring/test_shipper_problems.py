"""Problems of a shipper by its status: each changed value results in one problem."""

from typing import Any

import pytest

from pipeline.monitoring.problem import Severity
from pipeline.monitoring.shipper_problems import with_problems
from pipeline.monitoring.shipper_status import RecentLoss
from tests.support.statuses import NOW, SHIPPER, with_value


def loss(age: float) -> RecentLoss:
    return RecentLoss(NOW - age, "shop", "pay-1", "pay", 5, "vanished file")


def test_status_without_problem_is_healthy() -> None:
    status = with_problems(SHIPPER, NOW)

    assert (status.problems, status.state) == ((), Severity.OK)


@pytest.mark.parametrize(
    ("path", "value", "severity", "runbook"),
    [
        ("kafka_problem", "Kafka cannot be reached", Severity.CRITICAL, "shipper-backlog"),
        ("kafka_unresponsive_seconds", 11.0, Severity.CRITICAL, "shipper-backlog"),
        ("backlog_age_seconds", 61.0, Severity.CRITICAL, "shipper-backlog"),
        ("checkpoint_problem", "No space left", Severity.WARNING, "checkpoint"),
        ("pod_metadata_problem", "no answer", Severity.WARNING, "pod-metadata"),
        ("recent_losses", (loss(1700),), Severity.CRITICAL, "gap"),
    ],
)
def test_changed_value_is_one_problem(path: str, value: Any, severity: Severity, runbook: str) -> None:
    status = with_problems(with_value(SHIPPER, path, value), NOW)

    assert [(problem.severity, problem.runbook) for problem in status.problems] == [(severity, runbook)]
    assert status.state is severity


def test_old_loss_is_no_problem() -> None:
    assert with_problems(with_value(SHIPPER, "recent_losses", (loss(1900),)), NOW).problems == ()
