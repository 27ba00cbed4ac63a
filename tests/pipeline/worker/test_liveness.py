"""What counts as hung, and what is only waiting."""

import dataclasses

import pytest

from pipeline.config import settings
from pipeline.errors import SettingsError
from pipeline.worker import liveness
from pipeline.worker.liveness import HealthSigns

WELL = HealthSigns(heartbeat_at=1000.0, consuming_at=1000.0, idle_at=1000.0, progress_at=1000.0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        pytest.param({}, "", id="well"),
        pytest.param({"heartbeat_at": 930.0}, "loop has not turned for 70 s", id="loop"),
        pytest.param({"consumer_thread_alive": False}, "thread", id="thread"),
        pytest.param({"consuming_at": 690.0}, "no records are let in", id="rebalancing_for_ever"),
        pytest.param({"consuming_at": 710.0}, "", id="a_long_rebalance"),
        pytest.param({"idle_at": 300.0, "progress_at": 390.0}, "none was taken or settled for 610 s", id="stuck"),
        pytest.param({"idle_at": 300.0}, "", id="busy"),
        pytest.param({"progress_at": 300.0}, "", id="nothing_to_do_or_a_neighbour_away"),
    ],
)
def test_trouble(changed: dict[str, float], words: str) -> None:
    said = liveness.failure_reason(dataclasses.replace(WELL, **changed), 1000.0)

    assert (words in said) if words else said == ""


def test_a_node_that_is_frozen_is_noticed_before_the_worker_counts_as_hung() -> None:
    """While no request has failed, nobody knows that Elasticsearch is away."""
    with pytest.raises(SettingsError, match="CRISP_ES_TIMEOUT_SECONDS: more than 300"):
        settings.load({"CRISP_ES_TIMEOUT_SECONDS": "301"})
    assert (
        2 * settings.load({"CRISP_ES_TIMEOUT_SECONDS": "300"}).es_timeout_seconds <= liveness.PROGRESS_TIMEOUT_SECONDS
    )
