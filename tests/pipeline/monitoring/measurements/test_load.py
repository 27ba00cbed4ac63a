"""The load of the last minute, from counters since the start."""

from pipeline.monitoring.measurements.history import RECENT_SAMPLES
from pipeline.monitoring.measurements.load import DURATION, LoadMeter
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.worker_status import WorkerLoad


def test_load_is_that_of_the_last_minute() -> None:
    metrics = Metrics(WORKER)
    meter = LoadMeter(metrics)
    metrics.observe(DURATION, 30.0)
    metrics.inc("crisp_worker_documents_throttled", 500)
    meter.sample(0.0, 7.0)
    assert meter.current == WorkerLoad(0, None, None, 0, 0, 0, None)

    for _ in range(10):
        metrics.observe(DURATION, 0.03)
    metrics.inc("crisp_worker_documents_throttled", 4)
    meter.sample(5.0, 9.0)
    assert (meter.current.bulk_requests, meter.current.documents_throttled, meter.current.cpu_ratio) == (10, 4, 0.4)
    assert meter.current.bulk_p50 is not None
    assert 0.025 <= meter.current.bulk_p50 <= 0.05

    for number in range(RECENT_SAMPLES + 1):
        meter.sample(10.0 + 5 * number, 9.0)
    assert meter.current == WorkerLoad(0, None, None, 0, 0, 0, 0.0)
