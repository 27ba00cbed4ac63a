"""Metrics of the last minutes of a process, from samples: rates, gauges and latencies, for charts and key figures."""

import itertools
from collections import deque
from dataclasses import dataclass, fields
from typing import NamedTuple

from pipeline.monitoring.metrics import Metrics, quantile
from pipeline.monitoring.status import Latency, Series

SAMPLE_SECONDS = 5.0
MAX_SAMPLES = 61  # five minutes, for the charts
RECENT_SAMPLES = 12  # one minute, for the key figures


class HistoryMetrics(NamedTuple):
    """The metrics of a history: `prefix` and the names of counters and gauges; the stages of PREFIXlatency_seconds.

    A counter or gauge with labels counts as the sum of its series.
    """

    prefix: str
    counters: tuple[str, ...]
    gauges: tuple[str, ...]
    stages: tuple[str, ...]


def field_names(part: type) -> tuple[str, ...]:
    """The names of a dataclass's fields: a status names its metrics by its fields."""
    return tuple(field.name for field in fields(part))


class _Sample(NamedTuple):
    time: float
    counters: dict[str, float]
    gauges: dict[str, float]
    buckets: dict[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class HistorySnapshot:
    """Rates per second and gauges by name, latencies by stage."""

    rates: dict[str, Series]
    gauges: dict[str, Series]
    latency: dict[str, Latency]


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
                {name: self._metrics.total(selected.prefix + name) for name in selected.counters},
                {name: self._metrics.total(selected.prefix + name) for name in selected.gauges},
                {stage: self._buckets(stage) for stage in selected.stages},
            )
        )

    def snapshot(self) -> HistorySnapshot:
        """One value per interval, oldest first. Count and quantiles of the latencies are those of the last minute."""
        samples = list(self._samples)
        pairs = list(itertools.pairwise(samples))
        return HistorySnapshot(
            {name: tuple(_rate(*pair, name) for pair in pairs) for name in self._selected.counters},
            {name: tuple(sample.gauges[name] for sample in samples) for name in self._selected.gauges},
            {stage: self._latency(stage, pairs) for stage in self._selected.stages},
        )

    def _buckets(self, stage: str) -> tuple[float, ...]:
        return self._metrics.buckets(f"{self._selected.prefix}latency_seconds", stage=stage)

    def _latency(self, stage: str, pairs: list[tuple[_Sample, _Sample]]) -> Latency:
        oldest = pairs[-RECENT_SAMPLES][0].buckets[stage] if len(pairs) >= RECENT_SAMPLES else ()
        counts = _difference(self._buckets(stage), oldest)
        return Latency(
            int(sum(counts)),
            quantile(counts, 0.5),
            quantile(counts, 0.99),
            tuple(quantile(_difference(after.buckets[stage], before.buckets[stage]), 0.99) for before, after in pairs),
        )


def _rate(before: _Sample, after: _Sample, name: str) -> float:
    return round((after.counters[name] - before.counters[name]) / max(0.001, after.time - before.time), 1)


def _difference(newer: tuple[float, ...], older: tuple[float, ...]) -> tuple[float, ...]:
    """The increase of each bucket; a histogram without observations has no buckets."""
    return tuple(new - old for new, old in zip(newer, older, strict=False)) if older else newer
