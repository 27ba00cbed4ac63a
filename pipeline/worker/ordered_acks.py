"""Acks records to Faust strictly in the order of their offsets, each only when it is settled.

Faust 0.15.3 commits past pending records when acks arrive out of order, and accepts acks of an older generation of
the group; both would lose data. Therefore this module is the only one that acks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

QueueKey = tuple[int, Any]


class PendingRecord:
    """A record in flight, or a barrier, which has no event."""

    __slots__ = ("_acker", "event", "key", "settled")

    def __init__(self, acker: "OrderedAcker", key: QueueKey, event: Any) -> None:
        self._acker = acker
        self.key = key
        self.event = event
        self.settled = False

    def settle(self) -> None:
        """Mark the record as settled; it is acked when all earlier records of its partition are settled."""
        self.settled = True
        self._acker.ack_settled(self.key)


class OrderedAcker:
    """Pending records by group generation and partition. `generation` returns the current one."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._current_generation = generation
        self._queues: dict[QueueKey, deque[PendingRecord]] = {}
        self._emptied = asyncio.Event()

    def add(self, event: Any) -> PendingRecord:
        """Add a consumed record; call it in the order of its partition's offsets."""
        return self._add((event.message.generation_id, event.message.tp), event)

    def add_barrier(self, partition: Any) -> PendingRecord:
        """Add an entry that is no record, but must be settled before records added later are acked."""
        return self._add((self._current_generation(), partition), None)

    def _add(self, key: QueueKey, event: Any) -> PendingRecord:
        record = PendingRecord(self, key, event)
        self._queues.setdefault(key, deque()).append(record)
        return record

    def drop_partition(self, partition: Any) -> None:
        """Drop the pending records of a partition whose log was recreated: its offsets now mean other records."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] != partition}
        self._emptied.set()

    def ack_settled(self, key: QueueKey) -> None:
        """Ack the settled records of a queue, up to the first pending one."""
        queue = self._queues.get(key)
        if queue is None:
            return
        while queue and queue[0].settled:
            first = queue.popleft()
            if first.event is not None and key[0] == self._current_generation():
                first.event.ack()
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
        oldest = [queue[0].event for key, queue in list(self._queues.items()) if key[0] == current and queue]
        messages = [event.message for event in oldest if event is not None]
        return {message.tp.partition: message.timestamp for message in messages if message.timestamp}

    async def wait_until_empty(self) -> None:
        """Return when every added record is acked or dropped."""
        while self.pending():
            self._emptied.clear()
            await self._emptied.wait()

    def pending(self) -> int:
        """Return the number of records that are not acked."""
        return sum(len(queue) for queue in self._queues.values())
