"""The last minutes of a process, from samples of its metrics: rates, levels and ages, for lines and figures."""

import itertools
from collections import deque
from typing import Any, NamedTuple

from pipeline.monitoring.metrics import Metrics, quantile

EVERY_SECONDS = 5.0
MOST_SAMPLES = 61  # five minutes, for the lines
RECENT_SAMPLES = 12  # one minute, for the figures


class Watched(NamedTuple):
    """Which metrics a process's history has: counters, gauges, and the stages of its histogram of ages.

    A counter or gauge with labels is the sum of its series.
    """

    counters: tuple[str, ...]
    gauges: tuple[str, ...]
    ages: str
    stages: tuple[str, ...]


class _Sample(NamedTuple):
    time: float
    counts: dict[str, float]
    levels: dict[str, float]
    ages: dict[str, tuple[float, ...]]


class History:
    """Samples of the last minutes. `sample` adds one; the rest reads."""

    def __init__(self, metrics: Metrics, watched: Watched) -> None:
        self._metrics = metrics
        self._watched = watched
        self._samples: deque[_Sample] = deque(maxlen=MOST_SAMPLES)

    def sample(self, now: float) -> None:
        """Take a sample at `now`, seconds of any steady clock."""
        watched = self._watched
        self._samples.append(
            _Sample(
                now,
                {name: self._metrics.total(name) for name in watched.counters},
                {name: self._metrics.total(name) for name in watched.gauges},
                {stage: self._metrics.buckets(watched.ages, stage=stage) for stage in watched.stages},
            )
        )

    def facts(self) -> dict[str, Any]:
        """For `/status.json`: a point for each interval, oldest first; ages in seconds, None where none was seen.

        Count and quantiles of the ages are those of the last minute.
        """
        samples = list(self._samples)
        pairs = list(itertools.pairwise(samples))
        return {
            "every_seconds": EVERY_SECONDS,
            "rates": {name: [_rate(*pair, name) for pair in pairs] for name in self._watched.counters},
            "levels": {name: [sample.levels[name] for sample in samples] for name in self._watched.gauges},
            "ages": {stage: self._ages(stage, pairs) for stage in self._watched.stages},
        }

    def _ages(self, stage: str, pairs: list[tuple[_Sample, _Sample]]) -> dict[str, Any]:
        newest = self._metrics.buckets(self._watched.ages, stage=stage)
        oldest = pairs[-RECENT_SAMPLES][0].ages[stage] if len(pairs) >= RECENT_SAMPLES else ()
        counts = _less(newest, oldest)
        return {
            "count": int(sum(counts)),
            "p50": quantile(counts, 0.5),
            "p99": quantile(counts, 0.99),
            "p99_line": [quantile(_less(after.ages[stage], before.ages[stage]), 0.99) for before, after in pairs],
        }


def _rate(before: _Sample, after: _Sample, name: str) -> float:
    return round((after.counts[name] - before.counts[name]) / max(0.001, after.time - before.time), 1)


def _less(newer: tuple[float, ...], older: tuple[float, ...]) -> tuple[float, ...]:
    """Counts by bucket since then; a histogram without any value has no buckets yet."""
    return tuple(new - old for new, old in zip(newer, older, strict=False)) if older else newer
