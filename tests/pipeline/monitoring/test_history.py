"""The last minutes, from samples taken at times that the test says."""

from pipeline.monitoring.history import MAX_SAMPLES, History, HistoryMetrics
from pipeline.monitoring.metrics import WORKER, Metrics

SELECTED = HistoryMetrics(
    ("crisp_worker_events",), ("crisp_worker_consumer_lag_records",), "crisp_worker_latency_seconds", ("indexed",)
)


def test_rates_levels_and_ages_are_those_of_the_intervals() -> None:
    metrics = Metrics(WORKER)
    history = History(metrics, SELECTED)
    history.sample(0)
    metrics.inc("crisp_worker_events", 50)
    metrics.replace("crisp_worker_consumer_lag_records", "partition", {"0": 3, "1": 4})
    for _ in range(100):
        metrics.observe("crisp_worker_latency_seconds", 1.2, stage="indexed")
    history.sample(5)
    history.sample(10)

    facts = history.snapshot()
    assert facts["rates"]["crisp_worker_events"] == [10.0, 0.0]
    assert facts["levels"]["crisp_worker_consumer_lag_records"] == [0.0, 7.0, 7.0]
    ages = facts["ages"]["indexed"]
    assert ages["count"] == 100
    assert 1.0 < ages["p50"] < ages["p99"] <= 1.5
    assert ages["p99_line"] == [ages["p99"], None]


def test_what_is_older_than_the_window_is_forgotten() -> None:
    metrics = Metrics(WORKER)
    history = History(metrics, SELECTED)
    history.sample(0)
    metrics.observe("crisp_worker_latency_seconds", 40, stage="indexed")
    for number in range(1, MAX_SAMPLES + 5):
        history.sample(5 * number)
    metrics.observe("crisp_worker_latency_seconds", 0.2, stage="indexed")

    facts = history.snapshot()
    assert len(facts["rates"]["crisp_worker_events"]) == MAX_SAMPLES - 1
    assert facts["ages"]["indexed"]["count"] == 1
    assert facts["ages"]["indexed"]["p99"] < 1
