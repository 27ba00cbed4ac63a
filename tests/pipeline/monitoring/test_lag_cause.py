"""The cause of a lag is the first that the figures show; without one, that is what the line has."""

import dataclasses
from typing import Any

import pytest

from pipeline.monitoring import lag_cause, worker_problems
from pipeline.monitoring.worker_status import ContainerTraffic, PartitionLag, Traffic, WorkerLoad, WorkerStatus
from tests.support.statuses import NOW, WORKER, with_value

LOAD = WorkerLoad(
    bulk_requests=120,
    bulk_p50=0.2,
    bulk_p99=0.9,
    bulk_in_flight=1,
    bulk_limit=4,
    documents_throttled=0,
    cpu_ratio=0.3,
)
ROW = WORKER.lag[0]
EVEN = (dataclasses.replace(ROW, records=50, seconds=90.0), dataclasses.replace(ROW, partition=1, records=60))
SKEWED = (EVEN[0], dataclasses.replace(ROW, partition=1, records=0))
TALKER = Traffic(60.0, 700, 1000, (), (ContainerTraffic("shop", "app", 600, 900),))


def status(lag: tuple[PartitionLag, ...] = EVEN, **load: Any) -> WorkerStatus:
    return dataclasses.replace(WORKER, lag=lag, load=dataclasses.replace(LOAD, **load))


@pytest.mark.parametrize(
    ("lagging", "cause"),
    [
        (status(documents_throttled=12), "Elasticsearch is overloaded: it answered 429 for 12 documents in a minute"),
        (
            with_value(status(), "elasticsearch.failing_since", NOW),
            "Elasticsearch accepts no documents",
        ),
        (
            status(cpu_ratio=0.97),
            "this worker is busy: it uses 97 % of a CPU core with 1 rule; add workers",
        ),
        (
            status(bulk_p50=2.5, bulk_in_flight=4),
            "Elasticsearch is slow: 120 bulk requests in a minute, 2.5 s at the median, 4 of 4 in flight",
        ),
        (
            status(bulk_in_flight=4),
            "Elasticsearch limits it: all 4 bulk requests that may be in flight are;"
            " 120 bulk requests in a minute, 200 ms at the median",
        ),
        (
            dataclasses.replace(status(SKEWED), traffic=TALKER),
            "100 % of it is in partition 0, the others are idle; shop/app writes 90 % of the bytes, 10 lines/s",
        ),
        (
            status(),
            "no cause is seen here: 120 bulk requests in a minute, 200 ms at the median, 30 % of a CPU core",
        ),
        (
            status(bulk_requests=0, bulk_p50=None, cpu_ratio=None),
            "no cause is seen here: 0 bulk requests in a minute, · at the median, · of a CPU core",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_cause_of_a_lag(lagging: WorkerStatus, cause: str) -> None:
    assert lag_cause.explain(lagging) == cause


def test_problem_of_the_lag_has_its_cause() -> None:
    (problem,) = worker_problems.with_problems(status(documents_throttled=2), NOW).problems

    assert problem.message.startswith("Consumer lag: 110 records, the oldest waits for 1 min 30 s. Why: Elasticsearch")
