"""The status of a worker: the content of its `/status.json`. Sizes are in bytes, times in seconds since the epoch."""

from dataclasses import dataclass
from typing import Literal

from pipeline.monitoring.status import Latency, ProcessStatus, Series


@dataclass(frozen=True, slots=True)
class ElasticsearchStatus:
    """Whether Elasticsearch accepts documents.

    `failing_since` is None while it does; `last_error` is set while it does not. `index_problem` is set while the index
    template is missing.
    """

    urls: str
    failing_since: float | None
    last_error: str
    index_problem: str


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """The consumer lag of one assigned partition of the raw topic, and its offsets.

    `bytes` is estimated; `seconds` is the age of the first record that is not committed, None if unknown. The lag has
    used the share `retention_ratio` of the topic's retention, by `retention_limit`, "time" or "size"; None if unknown.
    """

    partition: int
    records: int
    bytes: int
    seconds: float | None
    committed: int
    end: int
    log_start: int
    retention_ratio: float | None
    retention_limit: str


@dataclass(frozen=True, slots=True)
class RecordTotals:
    """Received records by kind."""

    slice: int
    gap: int
    third_party: int
    invalid: int


@dataclass(frozen=True, slots=True)
class DocumentTotals:
    """Completed documents by result.

    `extended` ones are in addition to their events; `conflicting` ones got an id of their own, since documents of other
    lines had theirs.
    """

    created: int
    duplicate: int
    fallback: int
    extended: int
    conflicting: int
    dead_lettered: int


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Totals since the start: events = settled + dropped + in flight.

    Settled events are documents: created, duplicate, fallback, conflicting or dead-lettered. `dropped` is by rule.
    """

    lines: int
    events: int
    settled: int
    in_flight: int
    slices_in_flight: int
    records: RecordTotals
    documents: DocumentTotals
    dropped: dict[str, int]


@dataclass(frozen=True, slots=True)
class Losses:
    """Records that expired by retention; when gaps, dead letters or conflicts of ids last increased (None: never)."""

    records_expired: int
    last_gap_at: float | None
    last_dead_letter_at: float | None
    last_id_conflict_at: float | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """One reason for which documents of one workload were rejected; `example` is the id of the last one in `index`."""

    workload: str
    reason: str
    count: int
    first_at: float
    last_at: float
    index: str
    example: str


@dataclass(frozen=True, slots=True)
class HookErrors:
    """Events on which the hook of a rule failed; `error` is the last one, without its message."""

    rule: str
    count: int
    first_at: float
    last_at: float
    error: str


@dataclass(frozen=True, slots=True)
class RulesStatus:
    """The rules in force; `problems` are those of the current file while it is invalid."""

    file: str
    digest: str
    names: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NamespaceTraffic:
    """Raw lines and bytes of a namespace's containers; `_none`: of containers without one, `_other`: of the rest."""

    namespace: str
    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class ContainerTraffic:
    """Raw lines and bytes of the containers of this name in a namespace, of all pods."""

    namespace: str
    container: str
    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Raw lines and bytes consumed in the last `seconds`; the namespaces and containers with the most bytes first."""

    seconds: float
    lines: int
    bytes: int
    namespaces: tuple[NamespaceTraffic, ...]
    containers: tuple[ContainerTraffic, ...]


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """What the worker was busy with in the last minute.

    `bulk_p50` and `bulk_p99` are the duration of a bulk request in seconds, None without one. `documents_throttled` are
    those that Elasticsearch answered with 429. `cpu_ratio` is the CPU time per time, None if unknown yet.
    """

    bulk_requests: int
    bulk_p50: float | None
    bulk_p99: float | None
    bulk_in_flight: int
    bulk_limit: int
    documents_throttled: int
    cpu_ratio: float | None


@dataclass(frozen=True, slots=True)
class WorkerRates:
    """Increase per second of the counters `crisp_worker_…` of these names."""

    records_received: Series
    received_bytes: Series
    events: Series
    documents: Series


@dataclass(frozen=True, slots=True)
class WorkerGauges:
    """Values of the gauges `crisp_worker_…` of these names."""

    consumer_lag_records: Series
    in_flight_bytes: Series


@dataclass(frozen=True, slots=True)
class WorkerLatencies:
    """Time since the runtime wrote a slice's first line, at each stage."""

    consumed: Latency
    indexed: Latency
    searchable: Latency


@dataclass(frozen=True, slots=True)
class WorkerHistory:
    """The last minutes."""

    interval_seconds: float
    rates: WorkerRates
    gauges: WorkerGauges
    latency: WorkerLatencies


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus(ProcessStatus):
    """The status of a worker.

    `partitions` are the assigned ones, as TOPIC/PARTITION. `lag_problem` is set while the lag is unknown: then `lag` is
    the last known one, measured at `lag_measured_at` (None: never). `dead_letter_problem` is set while dead letters
    cannot be sent. `rejections` are the most recent first.
    """

    kind: Literal["worker"] = "worker"
    partitions: tuple[str, ...]
    topic_raw: str
    topic_dead: str
    topic_retention_seconds: float
    topic_retention_bytes: int
    lag: tuple[PartitionLag, ...]
    lag_problem: str
    lag_measured_at: float | None
    dead_letter_problem: str
    totals: EventTotals
    losses: Losses
    in_flight_bytes: int
    memory_budget_bytes: int
    elasticsearch: ElasticsearchStatus
    rejections: tuple[Rejection, ...]
    rejection_rate_high: bool
    rules: RulesStatus
    hook_errors: tuple[HookErrors, ...]
    load: WorkerLoad
    traffic: Traffic
    history: WorkerHistory
