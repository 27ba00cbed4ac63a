"""The registry of a process's metrics, created from the table.

Label values beyond `MAX_SERIES` are counted together as "other".
"""

import math
from collections.abc import Iterable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.samples import Sample

from pipeline import __version__
from pipeline.monitoring.metric_table import BUCKETS, Metric

disable_created_metrics()  # type: ignore[no-untyped-call] # a series more for each counter, which nothing reads

BEYOND_BUCKETS = math.nextafter(BUCKETS[-1], math.inf)
"""Stands for every latency over the last bound."""

MAX_SERIES = 1000
OTHER = "other"


class Metrics:
    """The metrics of one process."""

    def __init__(self, table: tuple[Metric, ...]) -> None:
        self._registry = CollectorRegistry()
        self._labels = {row.name: row.labels for row in table}
        self._collectors = {row.name: _create_collector(row, self._registry) for row in table}
        self._labelled_series: dict[str, dict[tuple[str, ...], Any]] = {row.name: {} for row in table}
        for row in table:
            for value in row.values:
                self._series(row.name, {row.labels[0]: value})
            if row.name.endswith("_build_info"):
                self.set(row.name, 1, version=__version__)
        ProcessCollector(registry=self._registry)

    def _check_labels(self, name: str, labels: Iterable[str]) -> None:
        """Raise ValueError if these are not the metric's labels, in its order: a bug, which must not count as 0."""
        if (*labels,) != self._labels[name]:
            raise ValueError(f"{name} has the labels {self._labels[name]}, not {(*labels,)}")

    def _series(self, name: str, labels: dict[str, str]) -> Any:
        """The series of a metric; beyond the limit one series for all others. Raises ValueError for other labels."""
        self._check_labels(name, labels)
        if not labels:
            return self._collectors[name]
        by_values = self._labelled_series[name]
        values = tuple(labels.values())
        series = by_values.get(values)
        if series is None:
            if len(by_values) >= MAX_SERIES:
                return self._collectors[name].labels(**dict.fromkeys(labels, OTHER))
            series = by_values[values] = self._collectors[name].labels(**labels)
        return series

    def inc(self, name: str, amount: float = 1, **labels: str) -> None:
        """Increase a counter."""
        self._series(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._series(name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Observe a value in a histogram."""
        self._series(name, labels).observe(value)

    def replace(self, name: str, label: str, values: dict[str, float]) -> None:
        """Set a gauge by one label; series of other values are removed. Raises ValueError for another label."""
        self._check_labels(name, (label,))
        for (absent,) in self._labelled_series[name].keys() - {(value,) for value in values}:
            self._collectors[name].remove(absent)
            del self._labelled_series[name][(absent,)]
        for value, number in values.items():
            self.set(name, number, **{label: value})

    def _samples(self, name: str) -> list[Sample]:
        return [sample for metric in self._collectors[name].collect() for sample in metric.samples]

    def get(self, name: str, **labels: str) -> float:
        """The current value of a counter or gauge; 0 without a series. Raises ValueError for other labels."""
        self._check_labels(name, labels)
        return next((sample.value for sample in self._samples(name) if sample.labels == labels), 0.0)

    def values_by_label(self, name: str, label: str) -> dict[str, float]:
        """The values of a counter or gauge by its label. Raises ValueError for another label."""
        self._check_labels(name, (label,))
        return {sample.labels[label]: sample.value for sample in self._samples(name)}

    def total(self, name: str) -> float:
        """The value of a counter or gauge, summed over its labels."""
        return sum(sample.value for sample in self._samples(name))

    def buckets(self, name: str, **labels: str) -> tuple[float, ...]:
        """The number of observations in each of the metric's buckets and, last, beyond them; not cumulative."""
        self._check_labels(name, labels)
        samples = [sample for sample in self._samples(name) if sample.name.endswith("_bucket")]
        cumulative = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
        return tuple(after - before for before, after in zip([0.0, *cumulative], cumulative, strict=False))

    def exposition(self) -> bytes:
        """All metrics in Prometheus's text exposition format."""
        return generate_latest(self._registry)


def _create_collector(row: Metric, registry: CollectorRegistry) -> Any:
    if row.kind == "histogram":
        return Histogram(row.name, row.meaning, row.labels, buckets=row.buckets, registry=registry)
    kinds = {"counter": Counter, "gauge": Gauge}
    return kinds[row.kind](row.name, row.meaning, row.labels, registry=registry)


def quantile(counts: tuple[float, ...], fraction: float, bounds: tuple[float, ...] = BUCKETS) -> float | None:
    """The quantile of counts by the buckets' `bounds`; None without observations.

    Linear interpolation within a bucket, as in Prometheus's `histogram_quantile`; BEYOND_BUCKETS beyond the last bound
    (of all bounds here, that is 60 s).
    """
    rank = fraction * sum(counts)
    if not rank:
        return None
    low = 0.0
    for bound, count in zip(bounds, counts, strict=False):
        if count and rank <= count:
            return low + (bound - low) * rank / count
        rank -= count
        low = bound
    return BEYOND_BUCKETS
