"""Statuses of a worker and of a shipper without problems, to change a value of."""

import dataclasses
from typing import Any, TypeVar

from pipeline.monitoring.shipper_status import (
    LossTotals,
    SentRecords,
    ShipperGauges,
    ShipperHistory,
    ShipperLatencies,
    ShipperRates,
    ShipperStatus,
    UnreadLogs,
)
from pipeline.monitoring.status import Latency
from pipeline.monitoring.worker_status import (
    DocumentTotals,
    ElasticsearchStatus,
    EventTotals,
    Losses,
    PartitionLag,
    RecordTotals,
    RulesStatus,
    Traffic,
    WorkerGauges,
    WorkerHistory,
    WorkerLatencies,
    WorkerLoad,
    WorkerRates,
    WorkerStatus,
)

NOW = 1_790_000_000.0
NO_LATENCY = Latency(0, None, None, ())
WORKER = WorkerStatus(
    name="n",
    version="0",
    started_at=NOW,
    settings={},
    partitions=("logs-raw/0",),
    topic_raw="logs-raw",
    topic_dead="logs-dead",
    topic_retention_seconds=86400.0,
    topic_retention_bytes=0,
    lag=(PartitionLag(0, 0, 0, 0.0, committed=5, end=5, log_start=0, retention_ratio=0.0, retention_limit="time"),),
    lag_problem="",
    lag_measured_at=NOW,
    dead_letter_problem="",
    totals=EventTotals(
        lines=10,
        events=10,
        settled=9,
        in_flight=0,
        slices_in_flight=0,
        records=RecordTotals(slice=3, gap=0, third_party=0, invalid=0),
        documents=DocumentTotals(created=9, duplicate=0, fallback=0, extended=0, conflicting=0, dead_lettered=0),
        dropped={"health probe": 1},
    ),
    losses=Losses(0, None, None, None),
    in_flight_bytes=0,
    memory_budget_bytes=1,
    elasticsearch=ElasticsearchStatus("http://es.invalid", None, "", ""),
    rejections=(),
    rejection_rate_high=False,
    hook_errors=(),
    rules=RulesStatus("rules.yaml", "abc", ("no debug",), ()),
    load=WorkerLoad(0, None, None, 0, 4, 0, None),
    traffic=Traffic(0.0, 0, 0, (), ()),
    history=WorkerHistory(
        5.0,
        WorkerRates((), (), (), ()),
        WorkerGauges((), ()),
        WorkerLatencies(NO_LATENCY, NO_LATENCY, NO_LATENCY),
    ),
)
SHIPPER = ShipperStatus(
    name="n",
    version="0",
    started_at=NOW,
    settings={},
    node="n",
    kafka_problem="",
    kafka_unresponsive_seconds=0.0,
    checkpoint_problem="",
    pod_metadata_enabled=True,
    pod_metadata_problem="",
    unread=UnreadLogs((), 0, (), 0, 0.0),
    tracked_containers=1,
    excluded_containers=0,
    exclusions=(),
    invalid_annotations=(),
    metadata_missing_containers=0,
    open_files=1,
    deleted_files_held_bytes=0,
    deleted_files_limit_bytes=1000,
    backlog_bytes=0,
    backlog_age_seconds=0.0,
    backlogs=(),
    in_flight_bytes=0,
    read_bytes=0,
    acked_bytes=0,
    retried_bytes=0,
    records_sent=SentRecords(0, 0),
    recent_losses=(),
    losses=LossTotals({}, (), 0),
    history=ShipperHistory(5.0, ShipperRates((), ()), ShipperGauges((), ()), ShipperLatencies(NO_LATENCY, NO_LATENCY)),
)

Part = TypeVar("Part")


def with_value(part: Part, path: str, value: Any) -> Part:
    """The status, or a part of it, with another value at a path like `totals.documents.created` or `lag.0.seconds`."""
    name, _, rest = path.partition(".")
    if isinstance(part, tuple):
        index = int(name)
        changed = with_value(part[index], rest, value) if rest else value
        return (*part[:index], changed, *part[index + 1 :])  # type: ignore[return-value]
    changed = with_value(getattr(part, name), rest, value) if rest else value
    return dataclasses.replace(part, **{name: changed})  # type: ignore[type-var]
