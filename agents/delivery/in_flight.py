"""Bytes in flight: sent to Kafka and not acknowledged, of each partition and in total, within limits."""

import asyncio
import math
import time
from collections.abc import Collection
from dataclasses import dataclass

from agents.delivery.partitioner import choose_partition

HELD_SECONDS = 3.0
"""A partition that has not responded for so long, while others do, holds what is in flight to it."""


@dataclass(slots=True)
class PartitionState:
    """Of one partition: the unacknowledged bytes, and since when it has not responded, monotonic seconds."""

    in_flight_bytes: int = 0
    waiting_since: float = 0.0


class InFlightBytes:
    """Counts sent bytes until Kafka responds. `capacity` is set while more may be sent; `acked` at every response.

    Clear `acked` before waiting for it.
    """

    def __init__(self, max_bytes: int, partition_max_bytes: int) -> None:
        self.capacity = asyncio.Event()
        self.capacity.set()
        self.acked = asyncio.Event()
        self._max_bytes = max_bytes
        self._partition_max_bytes = partition_max_bytes
        self._partitions = [0]
        self._states: dict[int, PartitionState] = {}
        self._total = 0
        self._responded_at = -math.inf  # monotonic, of any partition

    @property
    def total(self) -> int:
        """The bytes in flight of all partitions."""
        return self._total

    @property
    def partitions(self) -> list[int]:
        """The partitions of the topic when the producer connected."""
        return self._partitions

    def assign(self, partitions: list[int]) -> None:
        """Set the partitions of the topic; nothing is in flight then."""
        assert not self._total, "reset first"
        self._partitions = partitions
        self._states.clear()

    def reset(self) -> int:
        """Forget everything in flight; return its bytes."""
        total, self._total = self._total, 0
        self._states.clear()
        self.capacity.set()
        return total

    def partition(self, key: bytes) -> int:
        """Return the partition of a key."""
        return choose_partition(key, self._partitions)

    def _state(self, key: bytes) -> PartitionState:
        return self._states.setdefault(self.partition(key), PartitionState())

    def add(self, key: bytes, size: int) -> None:
        """Count a record that is sent."""
        state = self._state(key)
        if not state.in_flight_bytes:
            state.waiting_since = time.monotonic()
        state.in_flight_bytes += size
        self._total += size
        if self._total >= self._max_bytes:
            self.capacity.clear()

    def release(self, key: bytes, size: int) -> None:
        """Count the response to a record: an acknowledgement or an error."""
        state = self._state(key)
        state.in_flight_bytes -= size
        state.waiting_since = self._responded_at = time.monotonic()
        self._total -= size
        self.acked.set()
        if self._total < self._max_bytes:
            self.capacity.set()

    def has_capacity(self, key: bytes) -> bool:
        """Return whether more of a key may be sent: one unresponsive partition must not use the whole budget."""
        return self._state(key).in_flight_bytes < self._partition_max_bytes

    def held_partitions(self) -> list[int]:
        """Return the partitions that have not responded for HELD_SECONDS although others have."""
        limit = time.monotonic() - HELD_SECONDS
        if self._responded_at < limit:
            return []
        return [
            number for number, state in self._states.items() if state.in_flight_bytes and state.waiting_since < limit
        ]

    def waiting_partitions(self) -> list[int]:
        """Return the partitions with bytes in flight."""
        return sorted(number for number, state in self._states.items() if state.in_flight_bytes)

    def unresponsive_seconds(self, ignored: Collection[int] = ()) -> float:
        """Return for how long a partition with bytes in flight has not responded, in seconds; 0 if there is none."""
        since = [
            state.waiting_since
            for number, state in self._states.items()
            if state.in_flight_bytes and number not in ignored
        ]
        return time.monotonic() - min(since) if since else 0.0
