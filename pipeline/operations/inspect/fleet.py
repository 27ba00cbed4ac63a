"""All shippers and workers as one fleet: the slowest nodes, the top talkers, rejections by workload. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.monitoring.problem import Severity
from pipeline.monitoring.shipper_status import ShipperStatus
from pipeline.monitoring.worker_status import WorkerStatus

MAX_ROWS = 20


@dataclass(frozen=True, slots=True)
class Process:
    """The status of a process, and the address that it was read from."""

    address: str
    status: WorkerStatus | ShipperStatus


@dataclass(frozen=True, slots=True)
class UnknownProcess:
    """An address whose status is unknown, and why."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """Processes of one kind by state; those that did not answer are in no kind."""

    critical: int
    warning: int
    ok: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.critical + self.warning + self.ok


@dataclass(frozen=True, slots=True)
class NodeBacklog:
    """What a node's shipper has not read: bytes, and the age of the oldest line in seconds."""

    node: str
    bytes: int
    seconds: float
    address: str


@dataclass(frozen=True, slots=True)
class Talker:
    """Raw lines and bytes per second of a namespace, or of the containers of one name in it; its share of all bytes.

    `container` is empty for a whole namespace. `address` is that of the worker that receives most of it.
    """

    namespace: str
    container: str
    lines_per_second: float
    bytes_per_second: float
    ratio: float
    address: str


@dataclass(frozen=True, slots=True)
class WorkloadRejections:
    """Documents of a workload that were rejected for their content since the workers' starts.

    `reason` is the last one; `address` is that of the worker that had it.
    """

    workload: str
    documents: int
    last_at: float
    reason: str
    address: str


@dataclass(frozen=True, slots=True)
class FleetSummary:
    """The first rows of each, the worst or largest first. `unknown`: processes that did not answer."""

    shippers: ProcessCounts
    workers: ProcessCounts
    unknown: int
    slowest_nodes: tuple[NodeBacklog, ...]
    lines_per_second: float
    bytes_per_second: float
    namespaces: tuple[Talker, ...]
    containers: tuple[Talker, ...]
    rejections: tuple[WorkloadRejections, ...]


def summarise(processes: Iterable[Process], unknown: int) -> FleetSummary:
    """Summarise the processes that answered; `unknown` others did not."""
    shippers: list[tuple[str, ShipperStatus]] = []
    workers: list[tuple[str, WorkerStatus]] = []
    for process in processes:
        if isinstance(process.status, ShipperStatus):
            shippers.append((process.address, process.status))
        else:
            workers.append((process.address, process.status))
    reporting = [(address, worker) for address, worker in workers if worker.traffic.seconds > 0]
    size = sum(worker.traffic.bytes / worker.traffic.seconds for _, worker in reporting)
    return FleetSummary(
        shippers=_count(status.state for _, status in shippers),
        workers=_count(status.state for _, status in workers),
        unknown=unknown,
        slowest_nodes=_slowest_nodes(shippers),
        lines_per_second=sum(worker.traffic.lines / worker.traffic.seconds for _, worker in reporting),
        bytes_per_second=size,
        namespaces=_talkers(_namespace_rows(reporting), size),
        containers=_talkers(_container_rows(reporting), size),
        rejections=_rejections(workers),
    )


def _count(states: Iterable[Severity]) -> ProcessCounts:
    counts = dict.fromkeys(Severity, 0)
    for state in states:
        counts[state] += 1
    return ProcessCounts(counts[Severity.CRITICAL], counts[Severity.WARNING], counts[Severity.OK])


def _slowest_nodes(shippers: Iterable[tuple[str, ShipperStatus]]) -> tuple[NodeBacklog, ...]:
    """The nodes whose lines wait longest, of those that have unread lines."""
    rows = [
        NodeBacklog(status.node, status.backlog_bytes, status.backlog_age_seconds, address)
        for address, status in shippers
        if status.backlog_bytes
    ]
    return tuple(sorted(rows, key=lambda row: (-row.seconds, -row.bytes, row.node))[:MAX_ROWS])


_Row = tuple[tuple[str, str], float, float, str]


def _namespace_rows(workers: Iterable[tuple[str, WorkerStatus]]) -> Iterable[_Row]:
    for address, worker in workers:
        seconds = worker.traffic.seconds
        for row in worker.traffic.namespaces:
            yield (row.namespace, ""), row.lines / seconds, row.bytes / seconds, address


def _container_rows(workers: Iterable[tuple[str, WorkerStatus]]) -> Iterable[_Row]:
    for address, worker in workers:
        seconds = worker.traffic.seconds
        for row in worker.traffic.containers:
            yield (row.namespace, row.container), row.lines / seconds, row.bytes / seconds, address


def _talkers(rows: Iterable[_Row], total: float) -> tuple[Talker, ...]:
    """Sum rows of name, lines and bytes per second, and the worker's address; the largest first, of `total` bytes."""
    sums: dict[tuple[str, str], tuple[float, float, float, str]] = {}
    for name, lines, size, address in rows:
        before = sums.get(name, (0.0, 0.0, -1.0, ""))
        largest = (size, address) if size > before[2] else before[2:]
        sums[name] = before[0] + lines, before[1] + size, *largest
    largest_first = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))[:MAX_ROWS]
    return tuple(
        Talker(*name, lines, size, size / total if total else 0.0, address)
        for name, (lines, size, _, address) in largest_first
    )


def _rejections(workers: Iterable[tuple[str, WorkerStatus]]) -> tuple[WorkloadRejections, ...]:
    rows: dict[str, WorkloadRejections] = {}
    for address, worker in workers:
        for rejection in worker.rejections:
            before = rows.get(rejection.workload)
            documents = rejection.count + (before.documents if before else 0)
            if before and before.last_at > rejection.last_at:
                last_at, reason, source = before.last_at, before.reason, before.address
            else:
                last_at, reason, source = rejection.last_at, rejection.reason, address
            rows[rejection.workload] = WorkloadRejections(rejection.workload, documents, last_at, reason, source)
    return tuple(sorted(rows.values(), key=lambda row: (-row.documents, row.workload))[:MAX_ROWS])
