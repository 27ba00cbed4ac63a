"""The status of a shipper: the content of its `/status.json`. Sizes are in bytes, times in seconds since the epoch."""

from dataclasses import dataclass
from typing import Literal

from pipeline.monitoring.status import Latency, ProcessStatus, Series


@dataclass(frozen=True, slots=True)
class Backlog:
    """One container's unread bytes; `seconds`: the age of its oldest unread line, None if that has no time."""

    namespace: str
    pod: str
    container: str
    bytes: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RecentLoss:
    """Bytes of one container's file that were lost before they were read; `bytes` is None if unknown."""

    detected_at: float
    namespace: str
    pod: str
    container: str
    bytes: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class ContainerLoss:
    """All lost bytes of one container."""

    namespace: str
    pod: str
    container: str
    bytes: int


@dataclass(frozen=True, slots=True)
class LossTotals:
    """Losses since the start: bytes by reason, the containers that lost most, losses whose gap is not in Kafka yet."""

    bytes_by_reason: dict[str, int]
    containers: tuple[ContainerLoss, ...]
    unreported: int


@dataclass(frozen=True, slots=True)
class ExcludedContainers:
    """The number of containers of a namespace that are excluded for the same reason."""

    namespace: str
    reason: str
    containers: int


@dataclass(frozen=True, slots=True)
class UnreadableDirectory:
    """A log directory that cannot be listed, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A log file that cannot be opened or read, and why; names that are not known are empty."""

    namespace: str
    pod: str
    container: str
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnreadLogs:
    """What should be read and cannot: the first of them, and their numbers.

    `seconds_without_containers`: how long no container's log has been found in any log directory.
    """

    directories: tuple[UnreadableDirectory, ...]
    directory_count: int
    files: tuple[UnreadableFile, ...]
    file_count: int
    seconds_without_containers: float


@dataclass(frozen=True, slots=True)
class SentRecords:
    """Records sent to Kafka since the start, by result."""

    acked: int
    failed: int


@dataclass(frozen=True, slots=True)
class ShipperRates:
    """Increase per second of the counters `crisp_shipper_…` of these names."""

    acked_bytes: Series
    records_sent: Series


@dataclass(frozen=True, slots=True)
class ShipperGauges:
    """Values of the gauges `crisp_shipper_…` of these names."""

    backlog_bytes: Series
    in_flight_bytes: Series


@dataclass(frozen=True, slots=True)
class ShipperLatencies:
    """Time since the runtime wrote a slice's first line, at each stage."""

    read: Latency
    acked: Latency


@dataclass(frozen=True, slots=True)
class ShipperHistory:
    """The last minutes."""

    interval_seconds: float
    rates: ShipperRates
    gauges: ShipperGauges
    latency: ShipperLatencies


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipperStatus(ProcessStatus):
    """The status of a shipper; most fields are metrics of the same name.

    Each `…_problem` is empty while there is none. `backlogs` are the largest ones, `recent_losses` the newest ones.
    """

    kind: Literal["shipper"] = "shipper"
    node: str
    kafka_problem: str
    kafka_unresponsive_seconds: float
    checkpoint_problem: str
    pod_metadata_enabled: bool
    pod_metadata_problem: str
    unread: UnreadLogs
    tracked_containers: int
    excluded_containers: int
    exclusions: tuple[ExcludedContainers, ...]
    invalid_annotations: tuple[str, ...]
    metadata_missing_containers: int
    open_files: int
    deleted_files_held_bytes: int
    deleted_files_limit_bytes: int
    backlog_bytes: int
    backlog_age_seconds: float
    backlogs: tuple[Backlog, ...]
    in_flight_bytes: int
    read_bytes: int
    acked_bytes: int
    retried_bytes: int
    records_sent: SentRecords
    recent_losses: tuple[RecentLoss, ...]
    losses: LossTotals
    history: ShipperHistory
