"""What a worker was busy with in the last minute: bulk requests, and CPU."""

from collections import deque
from typing import NamedTuple

from pipeline.monitoring.measurements.history import RECENT_SAMPLES
from pipeline.monitoring.metric_table import REQUEST_BUCKETS
from pipeline.monitoring.metrics import Metrics, quantile
from pipeline.monitoring.worker_status import WorkerLoad

DURATION = "crisp_worker_bulk_request_duration_seconds"


class _Sample(NamedTuple):
    time: float
    cpu_seconds: float
    durations: tuple[float, ...]
    throttled: float


class LoadMeter:
    """Call `sample` with each sample of the history; `current` is what the samples of the last minute show."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._samples: deque[_Sample] = deque(maxlen=RECENT_SAMPLES + 1)
        self.current = WorkerLoad(0, None, None, 0, 0, 0, None)

    def sample(self, now: float, cpu_seconds: float) -> None:
        """Add a sample at `now`, monotonic seconds; `cpu_seconds` is what the process has used since its start."""
        get = self._metrics.get
        throttled = get("crisp_worker_documents_throttled")
        sample = _Sample(now, cpu_seconds, self._metrics.buckets(DURATION), throttled)
        self._samples.append(sample)
        first = self._samples[0]
        durations = tuple(new - old for new, old in zip(sample.durations, first.durations, strict=True))
        seconds = now - first.time
        self.current = WorkerLoad(
            bulk_requests=int(sum(durations)),
            bulk_p50=quantile(durations, 0.5, REQUEST_BUCKETS),
            bulk_p99=quantile(durations, 0.99, REQUEST_BUCKETS),
            bulk_in_flight=int(get("crisp_worker_bulk_requests_in_flight")),
            bulk_limit=int(get("crisp_worker_bulk_requests_limit")),
            documents_throttled=int(throttled - first.throttled),
            cpu_ratio=(cpu_seconds - first.cpu_seconds) / seconds if seconds else None,
        )
