"""The shipper: scan for log files, read slices fairly, send them to Kafka, write the checkpoint.

Each iteration of the read loop polls the files, reads at most one slice per container while the byte budget allows,
and waits. The checkpoint advances only by `ContainerTail.acknowledge`, called in exactly one place: when Kafka
acknowledges a slice (`delivery`).
"""

import asyncio
import contextlib
import functools
import itertools
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents.containers import ContainerLogs
from agents.delivery.delivery import Delivery
from agents.delivery.link import KafkaLink, LinkState
from agents.discovery import layouts
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from agents.state.checkpoint import Checkpoint
from agents.status import ShipperStatus
from agents.tailing.container_tail import ContainerTail, MetadataState
from pipeline.config.settings import Settings
from pipeline.contract import record
from pipeline.contract.gap import GapRecord
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metrics import SHIPPER, Metrics
from pipeline.monitoring.pages import shipper_page

OPEN_RETRY_SECONDS = 0.5
FIRST_CHECKPOINTS, FIRST_CHECKPOINT_SECONDS = 20, 0.1
FIRST_CHECKPOINT_TIME_SHARE = 0.05  # upper bound: with thousands of files each checkpoint takes longer
STOP_SECONDS = 1.0
POLL_WITHOUT_READING_SECONDS = 1.0
LIVENESS_TIMEOUT_SECONDS = 60.0
MIN_SCAN_INTERVAL_SECONDS = 0.05  # bounds the scans in busy directories

log = logging.getLogger(__name__)


class Shipper:
    """Ships one node's logs. `run` returns after `stop`, or with `once` when everything is acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discovery = layouts.create_discovery(settings)
        self._checkpoint = Checkpoint(Path(settings.state_dir))
        self._stopping = asyncio.Event()
        self._scan_requested = asyncio.Event()
        self._metrics = Metrics(SHIPPER)
        self._link = KafkaLink(settings, self._stopping)
        self._delivery = Delivery(settings, self._metrics, self._link)
        self._backlog_since: dict[Instance, float] = {}  # monotonic
        self._retry_at: dict[Instance, float] = {}  # monotonic; containers without a complete event
        self._starved: Instance | None = None  # the container at which capacity ran out
        self._partition_full = False  # a container has a backlog, and its partition has no capacity
        self._pods = PodWatch(settings) if pod_api.is_enabled(settings) else None
        self._read_at = 0.0  # monotonic time of the last iteration of the read loop
        self._scanned_at = math.inf  # monotonic time of the last scan; inf: not yet
        self._stalled_since = math.inf  # no progress with backlog and capacity; inf: not stalled
        self._set_containers(ContainerLogs(settings, None, self._pods, self._metrics))

    def _set_containers(self, containers: ContainerLogs) -> None:
        self._containers = containers
        self._status = ShipperStatus(self._settings, self._metrics, self._link, self._delivery, containers, self._pods)

    def stop(self) -> None:
        """Shut down gracefully: stop reading, flush, write the checkpoint."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> None:
        """Ship until stopped."""
        server = StatusServer(
            self._metrics, self._liveness_problem, self._readiness_problem, self.status, shipper_page.render
        )
        server.start(self._settings.status_host, self._settings.ship_port)
        await asyncio.to_thread(self._checkpoint.lock, self._log_lock_wait)
        if self._pods is not None:
            self._pods.start()
        self._set_containers(ContainerLogs(self._settings, self._checkpoint.load(), self._pods, self._metrics))
        self._scan()
        loops = self._ship(once=once), self._scan_loop(), self._checkpoint_loop(), self._link.watch()
        tasks = [asyncio.create_task(loop) for loop in loops]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done:
                await asyncio.wait({tasks[0]}, timeout=STOP_SECONDS)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.wait({*tasks, stopped})
            await self._link.stop(self._settings.ship_grace_seconds)
            self._write_checkpoint()
            server.stop()

    async def _ship(self, *, once: bool) -> None:
        await self._link.connect()
        await self._read_loop(once=once)

    async def _scan_loop(self) -> None:
        """Scan for files independently of Kafka: a file that is held open outlives its deletion."""
        with self._discovery.notify_on_change(self._scan_requested.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._scan_requested.wait(), self._settings.scan_seconds)
                self._scan_requested.clear()
                self._scan()
                await asyncio.sleep(MIN_SCAN_INTERVAL_SECONDS)

    async def _checkpoint_loop(self) -> None:
        """Write the checkpoint, at first often: a shipper in a crash loop must make progress too."""
        for number in itertools.count():
            started_at = time.monotonic()
            self._write_checkpoint()
            self._forget()
            self._link.reload()
            self._poll_if_not_reading()
            self._status.update_gauges()
            pause = self._settings.checkpoint_seconds
            if number < FIRST_CHECKPOINTS:
                pause = min(
                    pause, max(FIRST_CHECKPOINT_SECONDS, (time.monotonic() - started_at) / FIRST_CHECKPOINT_TIME_SHARE)
                )
            await asyncio.sleep(pause)

    def _poll_if_not_reading(self) -> None:
        """Poll the files while Kafka is unavailable and nothing is read: the backlog stays up to date."""
        now = time.monotonic()
        if now - self._read_at > POLL_WITHOUT_READING_SECONDS:
            self._poll_all(now)

    def _poll_all(self, now: float) -> None:
        for instance, tail in list(self._containers.tails.items()):
            self._containers.poll(instance, tail, now)

    def _scan(self) -> None:
        started_at = time.time_ns()
        self._containers.update(self._discovery.scan(), started_at, self._discovery.unreadable)
        now = self._scanned_at = time.monotonic()
        self._status.sample(now)

    def _forget(self) -> None:
        """Drop the state of removed containers."""
        tails = self._containers.tails
        self._backlog_since = {instance: at for instance, at in self._backlog_since.items() if instance in tails}
        self._retry_at = {instance: at for instance, at in self._retry_at.items() if instance in tails}

    def _liveness_problem(self) -> str:
        """Return why the process must be restarted. Kafka's unavailability is no reason: the loops still run."""
        now = time.monotonic()
        if now - self._scanned_at > LIVENESS_TIMEOUT_SECONDS:
            return f"no scan for log files for {now - self._scanned_at:.0f} s"
        last_active = max(self._read_at, self._link.last_active)
        if now - last_active > LIVENESS_TIMEOUT_SECONDS:
            return f"event loop blocked for {now - last_active:.0f} s"
        if now - self._stalled_since > LIVENESS_TIMEOUT_SECONDS:
            return f"no progress for {now - self._stalled_since:.0f} s with backlog and free Kafka capacity"
        return ""

    def _readiness_problem(self) -> str:
        return self._delivery.problem

    def status(self) -> dict[str, Any]:
        """Return the state of the shipper, for `/status.json`."""
        return self._status.snapshot()

    @staticmethod
    def _log_lock_wait() -> None:
        log.warning("another shipper holds the state directory; waiting for it to exit")

    async def _read_loop(self, *, once: bool) -> None:
        while not self._stopping.is_set():
            now = self._read_at = time.monotonic()
            if self._link.state is LinkState.FAILED:
                await self._delivery.recover(self._containers.tails.values(), self._containers.losses)
                continue
            self._send_gaps()
            busy = self._read_all(now)
            if once and not busy and self._all_shipped():
                return
            await self._wait(busy=busy)

    async def _wait(self, *, busy: bool) -> None:
        """Wait for free Kafka capacity, at most until the next poll; not at all while there is more to read."""
        capacity = self._link.in_flight.capacity
        if busy and capacity.is_set():
            await asyncio.sleep(0)
            return
        event = capacity
        if capacity.is_set():
            event = self._link.in_flight.acked if self._partition_full else self._stopping
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), self._settings.poll_seconds)

    def _read_all(self, now: float) -> bool:
        """Read and send one slice of every container that is due; return True if there is more to read at once."""
        capacity = self._link.in_flight.capacity
        if not capacity.is_set():
            self._poll_all(now)
            self._stalled_since = math.inf
            return False
        self._link.in_flight.acked.clear()
        self._partition_full = busy = progress = stalled = False
        for instance, tail, backlog in self._due_containers(now):
            if not capacity.is_set():
                self._starved = instance
                break
            pending = tail.next_slice(time.time_ns())
            if pending is None:
                self._retry_at[instance] = now + OPEN_RETRY_SECONDS
                stalled = stalled or backlog > self._settings.buffer_max_bytes
                continue
            progress = True
            self._backlog_since.pop(instance, None)
            self._delivery.send(tail, pending)
            busy = busy or tail.backlog_bytes() >= self._settings.slice_max_bytes
        self._stalled_since = min(self._stalled_since, now) if stalled and not progress else math.inf
        return busy

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
            has_capacity = self._link.in_flight.has_capacity(tail.key)
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
        waiting = tail.metadata is MetadataState.WAITING
        if waiting or not (backlog or tail.holds_lines) or self._delivery.is_paused(tail, now):
            return False
        if backlog >= self._settings.slice_max_bytes:
            return True
        if now < self._retry_at.get(instance, 0.0):
            return False
        return now - self._backlog_since.setdefault(instance, now) >= self._settings.linger_seconds

    def _send_gaps(self) -> None:
        """Send the gaps of reportable losses, each with the key of its container, as the slices."""
        for loss in self._containers.losses.reportable(self._containers.tails):
            if not self._link.in_flight.capacity.is_set():
                return
            instance = loss.instance
            key = record.container_key(instance.uid, instance.container, instance.restart)
            node, now = self._settings.node_name, time.time_ns()
            loss.sent = True
            gap_record = GapRecord(loss.to_gap(), node, now, self._containers.metadata(instance))
            self._delivery.send_gap(key, gap_record, functools.partial(self._containers.gap_acknowledged, loss))

    def _all_shipped(self) -> bool:
        tails = self._containers.tails.values()
        unfinished = any(tail.in_flight_count or tail.holds_lines or self._has_unread_line(tail) for tail in tails)
        return not unfinished and not self._containers.losses and not self._containers.has_suspects

    @staticmethod
    def _has_unread_line(tail: ContainerTail) -> bool:
        """Return whether a complete line is unread: a last line without newline is not fully written yet."""
        return any(file.backlog_bytes() and file.has_complete_line() for file in tail.files)

    def _write_checkpoint(self) -> None:
        problem = None
        try:
            self._checkpoint.store(self._containers.state())
            if self._pods is not None:
                self._pods.store({instance.uid for instance in self._containers.instances()})
        except OSError as error:
            problem = error
            log.error("cannot write the checkpoint; a restart would resend all lines since the last one: %s", error)
        self._status.checkpoint_written(problem, time.monotonic())
