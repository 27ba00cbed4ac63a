"""Metrics of the last minutes of a process, from samples: rates, gauges and latencies, for charts and key figures."""

import itertools
from collections import deque
from typing import Any, NamedTuple

from pipeline.monitoring.metrics import Metrics, quantile

SAMPLE_SECONDS = 5.0
MAX_SAMPLES = 61  # five minutes, for the charts
RECENT_SAMPLES = 12  # one minute, for the key figures


class HistoryMetrics(NamedTuple):
    """The metrics of a history: counters, gauges, and a histogram of latencies with its stages.

    A counter or gauge with labels counts as the sum of its series.
    """

    counters: tuple[str, ...]
    gauges: tuple[str, ...]
    histogram: str
    stages: tuple[str, ...]


class _Sample(NamedTuple):
    time: float
    counters: dict[str, float]
    gauges: dict[str, float]
    buckets: dict[str, tuple[float, ...]]


class History:
    """Samples of the last minutes."""

    def __init__(self, metrics: Metrics, selected: HistoryMetrics) -> None:
        self._metrics = metrics
        self._selected = selected
        self._samples: deque[_Sample] = deque(maxlen=MAX_SAMPLES)

    def sample(self, now: float) -> None:
        """Add a sample at `now`, seconds of a monotonic clock."""
        selected = self._selected
        self._samples.append(
            _Sample(
                now,
                {name: self._metrics.total(name) for name in selected.counters},
                {name: self._metrics.total(name) for name in selected.gauges},
                {stage: self._metrics.buckets(selected.histogram, stage=stage) for stage in selected.stages},
            )
        )

    def snapshot(self) -> dict[str, Any]:
        """For `/status.json`: one value per interval, oldest first; latencies in seconds, None without observations.

        Count and quantiles of the latencies are those of the last minute.
        """
        samples = list(self._samples)
        pairs = list(itertools.pairwise(samples))
        return {
            "every_seconds": SAMPLE_SECONDS,
            "rates": {name: [_rate(*pair, name) for pair in pairs] for name in self._selected.counters},
            "levels": {name: [sample.gauges[name] for sample in samples] for name in self._selected.gauges},
            "ages": {stage: self._latency(stage, pairs) for stage in self._selected.stages},
        }

    def _latency(self, stage: str, pairs: list[tuple[_Sample, _Sample]]) -> dict[str, Any]:
        newest = self._metrics.buckets(self._selected.histogram, stage=stage)
        oldest = pairs[-RECENT_SAMPLES][0].buckets[stage] if len(pairs) >= RECENT_SAMPLES else ()
        counts = _difference(newest, oldest)
        return {
            "count": int(sum(counts)),
            "p50": quantile(counts, 0.5),
            "p99": quantile(counts, 0.99),
            "p99_line": [
                quantile(_difference(after.buckets[stage], before.buckets[stage]), 0.99) for before, after in pairs
            ],
        }


def _rate(before: _Sample, after: _Sample, name: str) -> float:
    return round((after.counters[name] - before.counters[name]) / max(0.001, after.time - before.time), 1)


def _difference(newer: tuple[float, ...], older: tuple[float, ...]) -> tuple[float, ...]:
    """The increase of each bucket; a histogram without observations has no buckets."""
    return tuple(new - old for new, old in zip(newer, older, strict=False)) if older else newer
