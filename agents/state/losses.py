"""What vanished unread: noted once, kept until Kafka has the gap that tells of it, and counted.

The bytes of a loss are those that Kafka never acknowledged; so a gap is made only when nothing of the file is on its
way any more. Told again after a crash it has the same id: the file's identity and the first byte that is missing.
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents.state.checkpoint import Entry
from agents.tailing.byte_ranges import ByteRanges
from agents.tailing.container_tail import ContainerTail
from agents.tailing.log_file import LogFile
from pipeline.contract import cri
from pipeline.contract.gap import Gap
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.metrics import Metrics

LOOK_BACK_BYTES = 65536
RECENT_LOSSES = 20
MAX_CONTAINERS = 1000  # of which losses are counted one by one

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Loss:
    """A file of which bytes are gone. `size`: how far it is known to have reached, None where nobody knows.

    `position` is how far it was read: what lies before may still be acknowledged. `counted` bytes of it are in the
    accounts already.
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
        """The bytes that are lost, as far as that is known now."""
        return None if self.size is None else self.acked.unacked_bytes(self.size)

    def to_gap(self) -> Gap:
        """The same, to be told."""
        return Gap(
            self.identity, self.acked.low, self.path, self.lost_bytes(), self.reason, since=self.since, until=self.until
        )

    def to_entry(self) -> Entry:
        """The same, to be remembered."""
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
    """The loss of an open file, to its present end."""
    size = file.size()
    since = 0 if file.compressed or file.suspended else _last_read_time(file)
    return Loss(
        identity=file.identity,
        instance=instance,
        path=str(file.path),
        reason=reason,
        acked=file.acked,
        size=size,
        position=file.position,
        since=since,
        until=file.modified,
        random_identity=file.random_identity,
    )


def _last_read_time(file: LogFile) -> int:
    """When the last line that was read was written, ns; 0 where that is not known."""
    start = max(0, file.position - LOOK_BACK_BYTES)
    for raw in reversed(os.pread(file.descriptor, file.position - start, start).split(b"\n")):
        line = cri.parse(raw)
        if line is not None:
            return cri.nanoseconds(line.time) or 0
    return 0


def from_entry(entry: Entry, reason: str) -> Loss:
    """The loss of a file that only the checkpoint knows; where all that it knew is acknowledged, of unknown size."""
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
    """The losses of a node that are not told yet, and the accounts of all."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._pending: dict[str, Loss] = {}
        self.bytes_by_container: Counter[tuple[str, str, str]] = Counter()  # bytes, by namespace, pod, container
        self._logged: set[Instance] = set()
        self._recent: deque[tuple[float, Loss]] = deque(maxlen=RECENT_LOSSES)

    def record(self, loss: Loss) -> None:
        """Something is lost: say so once for each container instance, and count it."""
        if loss.identity in self._pending:
            return
        self._pending[loss.identity] = loss
        self._recent.appendleft((time.time(), loss))
        self._metrics.inc("crisp_shipper_lost_files", reason=loss.reason)
        if loss.size is not None:
            # what is on its way may still arrive
            self._count(loss, max(0, loss.size - max(loss.position, loss.acked.low)))
        if loss.instance not in self._logged:
            self._logged.add(loss.instance)
            log.error(
                "log bytes are lost, %s: %s",
                loss.reason,
                "of unknown number" if loss.size is None else f"{loss.counted_bytes} so far",
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
        """Those that can be told now: nothing of them is on its way. What did arrive after all is no loss."""
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
        """Kafka has the gap."""
        self._pending.pop(loss.identity, None)

    def report_again(self) -> None:
        """Whatever was sent and not answered is lost on its way: tell it again."""
        for loss in self._pending.values():
            loss.sent = False

    def entries(self) -> list[Entry]:
        """What the checkpoint should remember."""
        return [loss.to_entry() for loss in self._pending.values()]

    def __len__(self) -> int:
        return len(self._pending)

    def instances(self) -> set[Instance]:
        """The containers of which something is still to be told."""
        return {loss.instance for loss in self._pending.values()}

    def prune(self, kept: set[Instance]) -> None:
        """Drop what is remembered of containers that are gone."""
        self._logged &= kept

    def recent(self) -> list[dict[str, Any]]:
        """The newest losses since the start, for a status page."""
        return [
            {
                "time": found,
                "namespace": loss.instance.namespace,
                "pod": loss.instance.pod,
                "container": loss.instance.container,
                "bytes": loss.lost_bytes(),
                "reason": loss.reason,
            }
            for found, loss in self._recent
        ]
