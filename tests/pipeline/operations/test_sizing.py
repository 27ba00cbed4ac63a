"""Sizes: they follow the load, and what reaches a limit is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.operations.sizing import MEASURED, MIN_PARTITIONS, Load, compute

SMALL = Load(nodes=16, containers=30, lines_per_second=12, bytes_per_line=200, retention_days=14)


def value(load: Load, part: str, name: str) -> float:
    (row,) = [row for row in compute(load).rows if (row.part, row.name) == (part, name)]
    return row.value


def test_a_small_cluster_needs_the_minimum_and_reaches_no_limit() -> None:
    assert value(SMALL, "worker", "workers") == 2
    assert value(SMALL, "kafka", "partitions of logs-raw") == MIN_PARTITIONS
    assert compute(SMALL).limits == ()


def test_a_large_cluster_names_what_reaches_its_limit_first() -> None:
    large = Load(nodes=10_000, containers=40, lines_per_second=2e6, bytes_per_line=200, retention_days=14)

    limits = compute(large).limits
    words = ["one container above", "shards: more than", "connections to each broker", "workers in one group"]
    assert [word in limit for word, limit in zip(words, limits, strict=False)] == [True] * 4
    assert value(large, "kafka", "connections of a broker") > large.nodes


def test_quiet_containers_send_a_record_for_each_line() -> None:
    """Thirty containers at a line in a minute: nothing is shared."""
    quiet = Load(nodes=1, containers=30, lines_per_second=0.5, bytes_per_line=200, retention_days=1)

    assert value(quiet, "load", "records") == pytest.approx(0.5, rel=0.01)


def test_elasticsearch_disk_follows_retention_and_replicas() -> None:
    one = Load(nodes=16, containers=30, lines_per_second=100, bytes_per_line=200, retention_days=7, replicas=0)
    ratio = MEASURED["elasticsearch_ratio"].value
    day = 100 * 86400 * 200 * ratio

    assert value(one, "elasticsearch", "disk") == pytest.approx(7 * day / 0.85 / 2**30)
    assert value(one, "elasticsearch", "shards") == 7


@given(st.integers(1, 20_000), st.integers(1, 250), st.floats(0.01, 1e7), st.floats(1, 1e6), st.floats(0.1, 3650))
def test_more_lines_never_need_less(nodes: int, containers: int, lines: float, size: float, days: float) -> None:
    less = compute(Load(nodes, containers, lines, size, days))
    more = compute(Load(nodes, containers, 2 * lines, size, days))

    assert all(after.value >= before.value for before, after in zip(less.rows, more.rows, strict=True))
    assert all(row.value >= 0 and row.formula for row in less.rows)
