"""Liveness: hung workers are reported, waiting ones are not."""

import dataclasses
from typing import Any

import pytest

from pipeline.config.environment import load_settings
from pipeline.errors import SettingsError
from pipeline.worker import liveness
from pipeline.worker.liveness import HealthSigns

HEALTHY = HealthSigns(heartbeat_at=1000.0, consuming_at=1000.0, idle_at=1000.0, progress_at=1000.0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, "", id="healthy"),
        pytest.param({"heartbeat_at": 930.0}, "event loop blocked for 70 s", id="loop_blocked"),
        pytest.param({"consumer_thread_alive": False}, "thread", id="thread_ended"),
        pytest.param({"consuming_at": 690.0}, "consumer paused", id="rebalancing_indefinitely"),
        pytest.param({"consuming_at": 710.0}, "", id="long_rebalance"),
        pytest.param({"idle_at": 300.0, "progress_at": 390.0}, "no record processed for 610 s", id="stalled"),
        pytest.param({"idle_at": 300.0}, "", id="busy"),
        pytest.param({"progress_at": 300.0}, "", id="idle_or_dependency_unavailable"),
    ],
)
def test_failure_reason(changes: dict[str, Any], expected: str) -> None:
    reason = liveness.failure_reason(dataclasses.replace(HEALTHY, **changes), 1000.0)

    assert (expected in reason) if expected else reason == ""


def test_frozen_node_is_detected_before_the_worker_counts_as_hung() -> None:
    """Elasticsearch counts as unavailable only after a request has failed."""
    with pytest.raises(SettingsError, match="CRISP_ES_TIMEOUT_SECONDS: more than 300"):
        load_settings({"CRISP_ES_TIMEOUT_SECONDS": "301"})
    assert (
        2 * load_settings({"CRISP_ES_TIMEOUT_SECONDS": "300"}).es_timeout_seconds <= liveness.PROGRESS_TIMEOUT_SECONDS
    )
