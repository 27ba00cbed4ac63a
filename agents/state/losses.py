"""Losses: bytes that vanished unread. Each is recorded once, counted, and kept until Kafka has its gap record.

The lost bytes are those that Kafka never acknowledged, so a gap is reported only when nothing of the file is in
flight. Reported again after a crash it has the same id: the file's identity and the first missing byte.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agents.state.checkpoint import Entry
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract import cri
from pipeline.contract.gap import Gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.shipper_status import RecentLoss

RECENT_LOSSES = 20
MAX_CONTAINERS = 1000  # with a loss counter of their own

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Loss:
    """A file with lost bytes. `size`: its last known size, None if unknown.

    `position`: how far it was read; bytes before it may still be acknowledged. `since` and `until`: see `Gap`.
    `counted_bytes`: the bytes of it that the metrics contain already.
    """

    identity: str
    instance: Instance
    path: str
    reason: str
    acked: ByteRanges
    size: int | None
    position: int = 0
    since: int = 0
    until: int = 0
    random_identity: bool = False
    counted_bytes: int = 0
    sent: bool = False

    def lost_bytes(self) -> int | None:
        """Return how many bytes are lost so far, None if unknown."""
        return None if self.size is None else self.acked.unacked_bytes(self.size)

    def to_gap(self) -> Gap:
        """Make the gap to report."""
        return Gap(
            self.identity, self.acked.low, self.path, self.lost_bytes(), self.reason, since=self.since, until=self.until
        )

    def to_entry(self) -> Entry:
        """Make the checkpoint entry."""
        return Entry(
            identity=self.identity,
            low=self.acked.low,
            above=self.acked.above,
            device=0,
            inode=0,
            done=False,
            instance=self.instance,
            path=self.path,
            size=self.size,
            modified=self.since or self.until,
            random_identity=self.random_identity,
            lost_reason=self.reason,
        )


def from_file(instance: Instance, file: LogFile, reason: str) -> Loss:
    """Make the loss of an open file, up to its current end."""
    size, modified = file.status()
    read = not file.compressed and not file.suspended
    since = (cri.nanoseconds(file.time_before(file.position)) or 0) if read else 0
    return Loss(
        identity=file.identity,
        instance=instance,
        path=str(file.path),
        reason=reason,
        acked=file.acked,
        size=size,
        position=file.position,
        since=since,
        until=modified,
        random_identity=file.random_identity,
    )


def from_entry(entry: Entry, reason: str) -> Loss:
    """Make the loss of a file that only the checkpoint has; of unknown size if everything known is acknowledged."""
    acked = entry.ranges()
    size = entry.size
    if size is not None and not entry.lost_reason and not acked.unacked_bytes(size):
        size = None
    return Loss(
        entry.identity,
        entry.instance,
        entry.path,
        reason,
        acked,
        size,
        acked.low,
        entry.modified,
        random_identity=entry.random_identity,
    )


class LossTracker:
    """The unreported losses of a node, and the counts of all losses."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pending: dict[str, Loss] = {}
        self.bytes_by_container: Counter[tuple[str, str, str]] = Counter()  # by namespace, pod, container
        self._logged: set[Instance] = set()
        self._recent: deque[tuple[float, Loss]] = deque(maxlen=RECENT_LOSSES)

    def record(self, loss: Loss) -> None:
        """Record and count a loss; log it once per container instance."""
        if loss.identity in self._pending:
            return
        self._pending[loss.identity] = loss
        self._recent.appendleft((time.time(), loss))
        self._metrics.inc("crisp_shipper_lost_files", reason=loss.reason)
        if loss.size is not None:
            # bytes in flight may still be acked
            self._count(loss, max(0, loss.size - max(loss.position, loss.acked.low)))
        if loss.instance not in self._logged:
            self._logged.add(loss.instance)
            log.error(
                "log bytes lost, %s: %s",
                loss.reason,
                "unknown number" if loss.size is None else f"{loss.counted_bytes} so far",
                extra={"log.file.path": loss.path},
            )

    def _count(self, loss: Loss, size: int) -> None:
        if size <= 0:
            return
        loss.counted_bytes += size
        self._metrics.inc("crisp_shipper_lost_bytes", size, reason=loss.reason)
        name = loss.instance.namespace, loss.instance.pod, loss.instance.container
        if len(self.bytes_by_container) >= MAX_CONTAINERS and name not in self.bytes_by_container:
            name = ("", "", "")
        self.bytes_by_container[name] += size

    def reportable(self, tails: Mapping[Instance, ContainerTail]) -> Iterator[Loss]:
        """Yield the losses of which nothing is in flight. A file that was acknowledged after all is dropped."""
        for identity, loss in list(self._pending.items()):
            tail = tails.get(loss.instance)
            if loss.sent or (tail is not None and tail.in_flight_count and loss.acked.low < loss.position):
                continue
            missing = loss.lost_bytes()
            if missing == 0:
                del self._pending[identity]
                continue
            self._count(loss, (missing or 0) - loss.counted_bytes)
            yield loss

    def reported(self, loss: Loss) -> None:
        """Remove a loss: Kafka has its gap."""
        self._pending.pop(loss.identity, None)

    def report_again(self) -> None:
        """Report every loss again that was sent and not acknowledged."""
        for loss in self._pending.values():
            loss.sent = False

    def entries(self) -> list[Entry]:
        """Return the checkpoint entries of the unreported losses."""
        return [loss.to_entry() for loss in self._pending.values()]

    def __len__(self) -> int:
        return len(self._pending)

    def instances(self) -> set[Instance]:
        """Return the containers with unreported losses."""
        return {loss.instance for loss in self._pending.values()}

    def prune(self, kept: set[Instance]) -> None:
        """Drop containers that no longer exist."""
        self._logged &= kept

    def recent(self) -> list[RecentLoss]:
        """Return the newest losses since the start."""
        return [
            RecentLoss(
                recorded_at,
                loss.instance.namespace,
                loss.instance.pod,
                loss.instance.container,
                loss.lost_bytes(),
                loss.reason,
            )
            for recorded_at, loss in self._recent
        ]
