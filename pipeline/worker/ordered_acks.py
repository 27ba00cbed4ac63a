"""Acks records strictly in the order of their offsets, each only when it is settled.

Faust 0.15.3 commits past pending records when acks arrive out of order, and accepts acks of an older generation of
the group; both would lose data. Therefore this module is the only one that acks. It keeps a mark of each record, not
the record: settled records may wait for an earlier one without limit, and must take no memory meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from faust.types import TP

from pipeline.worker.record_mark import RecordMark

QueueKey = tuple[int, TP]

Ack = Callable[[TP, RecordMark], None]
"""Called with a partition and the mark of a record: it and all earlier records of the partition are settled."""


class PendingRecord:
    """A record in flight, or a barrier, which has no mark."""

    __slots__ = ("_acker", "key", "mark", "settled")

    def __init__(self, acker: "OrderedAcker", key: QueueKey, mark: RecordMark | None) -> None:
        self._acker = acker
        self.key = key
        self.mark = mark
        self.settled = False

    def settle(self) -> None:
        """Mark the record as settled; it is acked when all earlier records of its partition are settled."""
        self.settled = True
        self._acker.ack_settled(self.key)


class OrderedAcker:
    """Pending records by group generation and partition. `generation` returns the current one."""

    def __init__(self, generation: Callable[[], int], ack: Ack) -> None:
        self._current_generation = generation
        self._ack = ack
        self._queues: dict[QueueKey, deque[PendingRecord]] = {}
        self._emptied = asyncio.Event()

    def add(self, tp: TP, generation: int, mark: RecordMark) -> PendingRecord:
        """Add a record consumed in a generation; call it in the order of its partition's offsets."""
        return self._add((generation, tp), mark)

    def add_barrier(self, tp: TP) -> PendingRecord:
        """Add an entry that is no record, but must be settled before records added later are acked."""
        return self._add((self._current_generation(), tp), None)

    def _add(self, key: QueueKey, mark: RecordMark | None) -> PendingRecord:
        record = PendingRecord(self, key, mark)
        self._queues.setdefault(key, deque()).append(record)
        return record

    def drop_partition(self, tp: TP) -> None:
        """Drop the pending records of a partition whose log was recreated: its offsets now mean other records."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] != tp}
        self._emptied.set()

    def ack_settled(self, key: QueueKey) -> None:
        """Ack the settled records of a queue, up to the first pending one."""
        queue = self._queues.get(key)
        if queue is None:
            return
        last = None
        while queue and queue[0].settled:
            last = queue.popleft().mark or last
        if last is not None and key[0] == self._current_generation():
            self._ack(key[1], last)
        if not queue:
            del self._queues[key]
            self._emptied.set()

    def drop_revoked(self) -> None:
        """Drop the pending records of older generations: their new owners process them again."""
        current = self._current_generation()
        self._queues = {key: queue for key, queue in self._queues.items() if key[0] == current}
        self._emptied.set()

    def oldest_timestamps(self) -> dict[int, float]:
        """Return the Kafka timestamp of each partition's oldest pending record, in seconds since the epoch."""
        current = self._current_generation()
        oldest = {key[1]: queue[0].mark for key, queue in list(self._queues.items()) if key[0] == current and queue}
        return {tp.partition: mark.timestamp / 1000 for tp, mark in oldest.items() if mark and mark.timestamp > 0}

    async def wait_until_empty(self) -> None:
        """Return when every added record is acked or dropped."""
        while self.pending():
            self._emptied.clear()
            await self._emptied.wait()

    def pending(self) -> int:
        """Return the number of records that are not acked."""
        return sum(len(queue) for queue in self._queues.values())
