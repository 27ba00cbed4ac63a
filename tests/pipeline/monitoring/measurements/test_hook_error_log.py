"""Failures of hooks: counted, logged at most once a minute, summed up without log content."""

import logging

import pytest

from pipeline.monitoring.measurements.hook_error_log import MAX_RULES, HookErrorLog
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics

TRACEBACK = """Traceback (most recent call last):
  File "/crisp/actions.py", line 9, in hooked
    result = function(copy)
  File "/rules/words.py", line 2, in count
    return fields["secret words"]
KeyError: 'secret words'
"""


@pytest.fixture
def errors() -> HookErrorLog:
    return HookErrorLog(Metrics(WORKER))


def test_failures_are_counted_by_rule_with_the_last_place(errors: HookErrorLog) -> None:
    errors.add({"a": 3}, {"a": TRACEBACK}, 100.0)
    errors.add({"b": 1}, {"b": "ValueError: x"}, 101.0)
    errors.add({"a": 2}, {"a": TRACEBACK}, 102.0)

    first, second = errors.snapshot()
    assert (first.rule, first.count, first.first_at, first.last_at) == ("a", 5, 100.0, 102.0)
    assert first.error == 'KeyError at "/rules/words.py", line 2'
    assert (second.rule, second.error) == ("b", "ValueError")
    assert errors._metrics.get("crisp_worker_hook_errors", rule="a") == 5


def test_traceback_is_logged_at_once_and_then_once_a_minute(
    errors: HookErrorLog, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        for second in range(572):
            errors.add({"a": 1}, {"a": TRACEBACK}, 1000.0 + second)

    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 10
    assert messages[0].startswith('the hook of the rule "a" failed, 1 events so far')
    assert messages[0].endswith("KeyError: 'secret words'")
    assert "61 events so far" in messages[1]


def test_rules_with_hooks_are_counted_from_zero(errors: HookErrorLog) -> None:
    errors.expect(["a"])

    assert b'crisp_worker_hook_errors_total{rule="a"} 0.0' in errors._metrics.exposition()
    assert errors.snapshot() == ()


def test_number_of_rules_is_bounded(errors: HookErrorLog) -> None:
    for number in range(MAX_RULES + 5):
        errors.add({f"rule {number}": 1}, {}, 1.0)

    assert len(errors.snapshot()) == MAX_RULES == len(errors._logged_at)
