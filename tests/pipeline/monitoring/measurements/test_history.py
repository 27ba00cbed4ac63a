"""Rates, gauges and latencies of the last minutes, from samples at given times."""

from pipeline.monitoring.measurements.history import MAX_SAMPLES, History, HistoryMetrics
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics

SELECTED = HistoryMetrics("crisp_worker_", ("events",), ("consumer_lag_records",), ("indexed",))


def test_rates_gauges_and_latencies_are_computed_per_interval() -> None:
    metrics = Metrics(WORKER)
    history = History(metrics, SELECTED)
    history.sample(0)
    metrics.inc("crisp_worker_events", 50)
    metrics.replace("crisp_worker_consumer_lag_records", "partition", {"0": 3, "1": 4})
    for _ in range(100):
        metrics.observe("crisp_worker_latency_seconds", 1.2, stage="indexed")
    history.sample(5)
    history.sample(10)

    snapshot = history.snapshot()
    assert snapshot.rates["events"] == (10.0, 0.0)
    assert snapshot.gauges["consumer_lag_records"] == (0.0, 7.0, 7.0)
    latency = snapshot.latency["indexed"]
    assert latency.count == 100
    assert 1.0 < (latency.p50 or 0) < (latency.p99 or 0) <= 1.5
    assert latency.p99_series == (latency.p99, None)


def test_samples_older_than_the_window_are_dropped() -> None:
    metrics = Metrics(WORKER)
    history = History(metrics, SELECTED)
    history.sample(0)
    metrics.observe("crisp_worker_latency_seconds", 40, stage="indexed")
    for number in range(1, MAX_SAMPLES + 5):
        history.sample(5 * number)
    metrics.observe("crisp_worker_latency_seconds", 0.2, stage="indexed")

    snapshot = history.snapshot()
    assert len(snapshot.rates["events"]) == MAX_SAMPLES - 1
    assert snapshot.latency["indexed"].count == 1
    assert (snapshot.latency["indexed"].p99 or 9) < 1
