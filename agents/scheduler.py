"""Which containers are read, and when: fairly, within the capacity of Kafka and of each partition."""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Iterator

from agents.containers import ContainerLogs
from agents.delivery.delivery import Delivery
from agents.delivery.in_flight import InFlightBytes
from agents.tailing.container_tail import ContainerTail, MetadataState
from pipeline.config.settings import ShipperSettings
from pipeline.contract.pod_metadata import Instance

OPEN_RETRY_SECONDS = 0.5
MAX_IN_FLIGHT_SLICES = 64
"""Of one container. Later slices may be acknowledged, in other partitions, while an earlier one waits for a leader."""


class ReadScheduler:
    """Reads at most one slice of each container in turn. `stalled_since`: monotonic, inf while there is progress."""

    def __init__(
        self, settings: ShipperSettings, containers: ContainerLogs, delivery: Delivery, in_flight: InFlightBytes
    ) -> None:
        self._settings = settings
        self._containers = containers
        self._delivery = delivery
        self._in_flight = in_flight
        self._backlog_since: dict[Instance, float] = {}  # monotonic
        self._retry_at: dict[Instance, float] = {}  # monotonic; containers without a complete event
        self._starved: Instance | None = None  # the container at which capacity ran out
        self._partition_full = False  # a container has a backlog, and its partition has no capacity
        self._stalled_since = math.inf

    @property
    def stalled_since(self) -> float:
        """Since when nothing was read although there is a backlog and capacity; inf: not stalled."""
        return self._stalled_since

    def read_all(self, now: float) -> bool:
        """Read and send one slice of every container that is due; return True if there is more to read at once."""
        capacity = self._in_flight.capacity
        if not capacity.is_set():
            self.poll_all(now)
            self._stalled_since = math.inf
            return False
        self._in_flight.acked.clear()
        self._partition_full = busy = progress = stalled = False
        for instance, tail, backlog in self._due_containers(now):
            if not capacity.is_set():
                self._starved = instance
                break
            pending = self._containers.next_slice(instance, tail, time.time_ns())
            if pending is None:
                self._retry_at[instance] = now + OPEN_RETRY_SECONDS
                stalled = stalled or backlog > self._settings.buffer_max_bytes
                continue
            progress = True
            self._backlog_since.pop(instance, None)
            self._delivery.send(tail, pending)
            busy = busy or tail.backlog_bytes() >= self._settings.slice_max_bytes
        self._delivery.flush()
        self._stalled_since = min(self._stalled_since, now) if stalled and not progress else math.inf
        return busy

    def poll_all(self, now: float) -> None:
        """Update the sizes of all files at `now`, monotonic seconds, without reading."""
        for instance, tail in list(self._containers.tails.items()):
            self._containers.poll(instance, tail, now)

    def _due_containers(self, now: float) -> Iterator[tuple[Instance, ContainerTail, int]]:
        """Yield the containers of which a slice is due, with their backlog in bytes; each is polled in its turn.

        The container that found no capacity last time is the first: else a few containers could starve the others.
        """
        tails = list(self._containers.tails.items())
        first = next((number for number, (instance, _) in enumerate(tails) if instance == self._starved), 0)
        self._starved = None
        for instance, tail in itertools.chain(tails[first:], tails[:first]):
            if tail.is_idle(now):
                continue
            has_capacity = self._in_flight.has_capacity(tail.key)
            if not has_capacity and now - tail.polled_at < self._settings.poll_seconds:
                self._partition_full = self._partition_full or tail.backlog_bytes() > 0
                continue
            backlog = self._containers.poll(instance, tail, now)
            if not self._is_due(instance, tail, backlog, now):
                continue
            if has_capacity:
                yield instance, tail, backlog
            else:
                self._partition_full = True

    def _is_due(self, instance: Instance, tail: ContainerTail, backlog: int, now: float) -> bool:
        """Return whether to read a slice: it would be full, or the oldest unread line lingered long enough."""
        if tail.metadata is MetadataState.WAITING or not (backlog or tail.holds_lines):
            return False
        if self._delivery.is_paused(tail, now) or tail.in_flight_count >= MAX_IN_FLIGHT_SLICES:
            return False
        if backlog >= self._settings.slice_max_bytes:
            return True
        if now < self._retry_at.get(instance, 0.0):
            return False
        return now - self._backlog_since.setdefault(instance, now) >= self._settings.linger_seconds

    async def wait(self, stopping: asyncio.Event, *, busy: bool) -> None:
        """Wait for free Kafka capacity, at most until the next poll; not at all while there is more to read."""
        capacity = self._in_flight.capacity
        if busy and capacity.is_set():
            await asyncio.sleep(0)
            return
        event = capacity
        if capacity.is_set():
            event = self._in_flight.acked if self._partition_full else stopping
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.poll_seconds):
                await event.wait()

    def forget_removed(self) -> None:
        """Drop the state of containers that no longer exist."""
        tails = self._containers.tails
        self._backlog_since = {instance: at for instance, at in self._backlog_since.items() if instance in tails}
        self._retry_at = {instance: at for instance, at in self._retry_at.items() if instance in tails}
