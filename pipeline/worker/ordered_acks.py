"""Acknowledge records to Faust strictly in the order of their offsets, each only when it is settled.

Faust 0.15.3 commits past records in work when acks come out of order, and takes acks of an older generation of
the group; both would lose data. So this is the one place that acks.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

Key = tuple[int, Any]


class Slot:
    """One record in work."""

    __slots__ = ("done", "event", "key")

    def __init__(self, key: Key, event: Any) -> None:
        self.key = key
        self.event = event
        self.done = False


class OrderedAcker:
    """Slots by group generation and partition. `generation` tells the current one."""

    def __init__(self, generation: Callable[[], int]) -> None:
        self._generation = generation
        self._queues: dict[Key, deque[Slot]] = {}
        self._emptied = asyncio.Event()

    def add(self, event: Any) -> Slot:
        """Note a record taken; in the order of its partition's offsets."""
        message = event.message
        slot = Slot((message.generation_id, message.tp), event)
        self._queues.setdefault(slot.key, deque()).append(slot)
        return slot

    def hold(self, generation: int, partition: Any) -> Slot:
        """Note something that is no record, but must be settled before the records taken from now on."""
        slot = Slot((generation, partition), None)
        self._queues.setdefault(slot.key, deque()).append(slot)
        return slot

    def forget(self, partition: Any) -> None:
        """Drop what is in work of a partition whose log began anew: its offsets mean other records now."""
        self._queues = {key: queue for key, queue in self._queues.items() if key[1] != partition}
        self._emptied.set()

    def done(self, slot: Slot) -> None:
        """The record is settled: ack it and what waited behind it, as far as the order allows."""
        slot.done = True
        queue = self._queues.get(slot.key)
        if queue is None:
            return
        while queue and queue[0].done:
            first = queue.popleft()
            if first.event is not None and slot.key[0] == self._generation():
                first.event.ack()
        if not queue:
            del self._queues[slot.key]
            self._emptied.set()

    def forget_others(self) -> None:
        """Drop what belongs to an older generation: others do it again."""
        current = self._generation()
        self._queues = {key: queue for key, queue in self._queues.items() if key[0] == current}
        self._emptied.set()

    def oldest(self) -> dict[int, float]:
        """When the first record in work of each partition was written to Kafka, in seconds since the epoch."""
        current = self._generation()
        firsts = [queue[0].event for key, queue in list(self._queues.items()) if key[0] == current and queue]
        heads = [event.message for event in firsts if event is not None]
        return {message.tp.partition: message.timestamp for message in heads if message.timestamp}

    async def empty(self) -> None:
        """Return when everything taken is acked, or belongs to others by now."""
        while self.in_work():
            self._emptied.clear()
            await self._emptied.wait()

    def in_work(self) -> int:
        """Records taken and not acked."""
        return sum(len(queue) for queue in self._queues.values())
