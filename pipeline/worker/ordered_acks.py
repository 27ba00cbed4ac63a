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
    """A record in flight."""

    __slots__ = ("event", "key", "settled")

    def __init__(self, key: QueueKey, event: Any) -> None:
        self.key = key
        self.event = event
        self.settled = False


class OrderedAcker:
    """Pending records by group generation and partition. `generation` returns the current one."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._current_generation = generation
        self._queues: dict[QueueKey, deque[PendingRecord]] = {}
        self._emptied = asyncio.Event()

    def add(self, event: Any) -> PendingRecord:
        """Add a consumed record; call it in the order of its partition's offsets."""
        message = event.message
        record = PendingRecord((message.generation_id, message.tp), event)
        self._queues.setdefault(record.key, deque()).append(record)
        return record

    def add_barrier(self, generation: int, partition: Any) -> PendingRecord:
        """Add an entry that is no record, but must be settled before records added later are acked."""
        barrier = PendingRecord((generation, partition), None)
        self._queues.setdefault(barrier.key, deque()).append(barrier)
        return barrier

    def drop_partition(self, partition: Any) -> None:
        """Drop the pending records of a partition whose log was recreated: its offsets now mean other records."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] != partition}
        self._emptied.set()

    def settle(self, record: PendingRecord) -> None:
        """Mark a record as settled; ack it and the settled records after it, as far as the order allows."""
        record.settled = True
        queue = self._queues.get(record.key)
        if queue is None:
            return
        while queue and queue[0].settled:
            first = queue.popleft()
            if first.event is not None and record.key[0] == self._current_generation():
                first.event.ack()
        if not queue:
            del self._queues[record.key]
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
