"""The table of metrics, and the limit of series."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import __version__
from pipeline.monitoring.metric_table import BUCKETS, PROCESS_METRICS, SHIPPER, WORKER, Metric
from pipeline.monitoring.metrics import BEYOND_BUCKETS, MAX_SERIES, OTHER, Metrics, quantile

UNBOUNDED = {"pod", "uid", "path", "id", "message", "container", "file", "index", "trace", "topic"}
TARGET_LABELS = {"namespace", "pod", "container", "node", "instance", "job", "endpoint", "cluster"}
"""Prometheus sets them by what it scrapes, and renames the metric's own label."""
ROWS = (*WORKER, *SHIPPER)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_follows_the_naming_rules_of_prometheus(row: Metric) -> None:
    assert re.fullmatch(r"crisp_(worker|shipper)_[a-z_]+", row.name)
    assert row.kind in {"counter", "gauge", "histogram"}
    assert not row.name.endswith("_total")
    assert row.meaning


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_labels_are_bounded(row: Metric) -> None:
    assert not set(row.labels) & UNBOUNDED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_labels_are_not_those_of_the_scraped_process(row: Metric) -> None:
    assert not set(row.labels) & TARGET_LABELS


@pytest.mark.parametrize("table", [WORKER, SHIPPER])
def test_exposition_has_the_process_and_the_version_and_no_created_series(table: tuple[Metric, ...]) -> None:
    text = Metrics(table).exposition().decode()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)", text, re.MULTILINE))

    assert "_created" not in text
    assert re.search(rf'_build_info{{version="{re.escape(__version__)}"}} 1.0', text)
    process = {(name.removesuffix("_total"), kind) for name, kind in types.items() if name.startswith("process_")}
    assert process == {(name.removesuffix("_total"), kind) for name, kind, _ in PROCESS_METRICS}
    names = {name.removesuffix("_total") for name in types if not name.startswith("process_")}
    assert names == {row.name for row in table}


def test_names_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


def test_label_values_beyond_the_limit_are_counted_in_one_series() -> None:
    metrics = Metrics(WORKER)
    for number in range(MAX_SERIES + 500):
        metrics.inc("crisp_worker_events_dropped", rule=f"rule {number}")

    values = metrics.values_by_label("crisp_worker_events_dropped", "rule")
    assert len(values) == MAX_SERIES + 1
    assert values[OTHER] == 500
    assert metrics.total("crisp_worker_events_dropped") == MAX_SERIES + 500


def test_replaced_gauge_has_no_series_of_absent_partitions() -> None:
    metrics = Metrics(WORKER)
    metrics.replace("crisp_worker_consumer_lag_records", "partition", {"0": 7.0, "1": 8.0})
    metrics.replace("crisp_worker_consumer_lag_records", "partition", {"1": 9.0, "2": 0.0})

    assert metrics.values_by_label("crisp_worker_consumer_lag_records", "partition") == {"1": 9.0, "2": 0.0}


def test_buckets_reach_a_minute_and_include_the_objectives() -> None:
    assert BUCKETS[-1] == 60.0
    assert {2.0, 5.0} <= set(BUCKETS)


def test_histogram_without_observations_has_no_quantile() -> None:
    metrics = Metrics(WORKER)

    assert quantile(metrics.buckets("crisp_worker_latency_seconds", stage="indexed"), 0.99) is None


@given(st.lists(st.floats(0, 59), min_size=1), st.sampled_from([0.5, 0.99, 1.0]))
def test_quantile_is_in_the_bucket_of_the_exact_one(values: list[float], fraction: float) -> None:
    metrics = Metrics(WORKER)
    for value in values:
        metrics.observe("crisp_worker_latency_seconds", value, stage="indexed")
    estimate = quantile(metrics.buckets("crisp_worker_latency_seconds", stage="indexed"), fraction)

    rank = max(1, -int(-fraction * len(values) // 1))
    exact = sorted(values)[rank - 1]
    bounds = [0.0, *BUCKETS]
    (bucket,) = [pair for pair in itertools.pairwise(bounds) if pair[0] < exact <= pair[1] or exact == pair[0] == 0]
    assert estimate is not None
    assert bucket[0] - 1e-9 <= estimate <= bucket[1] + 1e-9  # floating-point error of the interpolation


def test_wrong_label_name_is_an_error_at_once() -> None:
    metrics = Metrics(WORKER)
    documents, latency = "crisp_worker_documents", "crisp_worker_latency_seconds"
    metrics.inc(documents, result="created")

    for use in (
        lambda: metrics.inc(documents, outcome="created"),
        lambda: metrics.inc(documents),
        lambda: metrics.inc("crisp_worker_events", result="created"),
        lambda: metrics.set("crisp_worker_consumer_lag_records", 1, topic="0"),
        lambda: metrics.observe(latency, 1.0, result="indexed"),
        lambda: metrics.get(documents, outcome="created"),
        lambda: metrics.get(documents),
        lambda: metrics.values_by_label(documents, "outcome"),
        lambda: metrics.buckets(latency, result="indexed"),
        lambda: metrics.replace("crisp_worker_consumer_lag_records", "topic", {"0": 1.0}),
    ):
        with pytest.raises(ValueError, match="has the labels"):
            use()
    assert metrics.values_by_label(documents, "result")["created"] == 1


def test_quantile_beyond_the_last_bucket_is_over_its_bound() -> None:
    counts = (0.0,) * len(BUCKETS) + (5.0,)

    assert quantile(counts, 0.5) == BEYOND_BUCKETS > BUCKETS[-1]
    assert quantile((0.0,) * (len(BUCKETS) - 1) + (99.0, 1.0), 0.99) == BUCKETS[-1]
