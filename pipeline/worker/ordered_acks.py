"""Acknowledge records to Faust strictly in the order of their offsets, each only when it is settled.

Faust 0.15.3 commits past records in work when acks come out of order, and takes acks of an older generation of
the group; both would lose data. So this is the one place that acks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

QueueKey = tuple[int, Any]


class PendingRecord:
    """One record in work."""

    __slots__ = ("event", "key", "settled")

    def __init__(self, key: QueueKey, event: Any) -> None:
        self.key = key
        self.event = event
        self.settled = False


class OrderedAcker:
    """Slots by group generation and partition. `generation` tells the current one."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._current_generation = generation
        self._queues: dict[QueueKey, deque[PendingRecord]] = {}
        self._emptied = asyncio.Event()

    def add(self, event: Any) -> PendingRecord:
        """Note a record taken; in the order of its partition's offsets."""
        message = event.message
        slot = PendingRecord((message.generation_id, message.tp), event)
        self._queues.setdefault(slot.key, deque()).append(slot)
        return slot

    def add_barrier(self, generation: int, partition: Any) -> PendingRecord:
        """Note something that is no record, but must be settled before the records taken from now on."""
        slot = PendingRecord((generation, partition), None)
        self._queues.setdefault(slot.key, deque()).append(slot)
        return slot

    def drop_partition(self, partition: Any) -> None:
        """Drop what is in work of a partition whose log began anew: its offsets mean other records now."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] != partition}
        self._emptied.set()

    def settle(self, record: PendingRecord) -> None:
        """The record is settled: ack it and what waited behind it, as far as the order allows."""
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
        """Drop what belongs to an older generation: others do it again."""
        current = self._current_generation()
        self._queues = {key: queue for key, queue in self._queues.items() if key[0] == current}
        self._emptied.set()

    def oldest_timestamps(self) -> dict[int, float]:
        """When the first record in work of each partition was written to Kafka, in seconds since the epoch."""
        current = self._current_generation()
        firsts = [queue[0].event for key, queue in list(self._queues.items()) if key[0] == current and queue]
        heads = [event.message for event in firsts if event is not None]
        return {message.tp.partition: message.timestamp for message in heads if message.timestamp}

    async def wait_until_empty(self) -> None:
        """Return when everything taken is acked, or belongs to others by now."""
        while self.pending():
            self._emptied.clear()
            await self._emptied.wait()

    def pending(self) -> int:
        """Records taken and not acked."""
        return sum(len(queue) for queue in self._queues.values())
