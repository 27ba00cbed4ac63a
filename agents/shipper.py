"""The shipper's one loop: find files, read slices fairly, hand them to Kafka, note what is acknowledged.

Order of each turn: look (files grown?), take at most one slice a container while the byte budget has room, wait.
The checkpoint moves only by `Tail.acknowledge`, which is called in exactly one place: Kafka's answer (`delivery`).
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
from agents.discovery import layouts
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from agents.state.checkpoint import Checkpoint
from agents.status import ShipperStatus
from agents.tailing.container_tail import ContainerTail
from pipeline.config.settings import Settings, buffer_max_bytes
from pipeline.contract import record
from pipeline.contract.gap import GapRecord
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metrics import SHIPPER, Metrics
from pipeline.monitoring.pages import shipper_page

OPEN_RETRY_SECONDS = 0.5
FIRST_CHECKPOINTS, FIRST_CHECKPOINT_SECONDS = 20, 0.1
FIRST_CHECKPOINT_TIME_SHARE = 0.05  # of the time, at most: with thousands of files each takes longer
STOP_SECONDS = 1.0
POLL_WITHOUT_READING_SECONDS = 1.0
LIVENESS_TIMEOUT_SECONDS = 60.0
MIN_SCAN_INTERVAL_SECONDS = 0.05  # between two looks, however much is going on in the directories

log = logging.getLogger(__name__)


class Shipper:
    """Ships one node's logs. `run` returns after `stop`, or with `once` when everything is acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discovery = layouts.create_discovery(settings)
        self._checkpoint = Checkpoint(Path(settings.state_dir))
        self._stopping = asyncio.Event()
        self._scan_requested = asyncio.Event()  # there may be new files
        self._metrics = Metrics(SHIPPER)
        self._delivery = Delivery(settings, self._metrics, self._stopping)
        self._backlog_since: dict[Instance, float] = {}  # since when a container has unread bytes
        self._retry_at: dict[Instance, float] = {}  # containers of which nothing may be sent yet
        self._starved: Instance | None = None  # who found no room for more
        self._partition_full = False  # somebody found no room on the way to its own partition
        self._pods = PodWatch(settings) if pod_api.is_enabled(settings) else None
        self._read_at = 0.0  # when last, monotonic
        self._scanned_at = math.inf  # the same; not yet
        self._stalled_since = math.inf  # since when nothing is read although there is plenty, and room
        self._set_containers(ContainerLogs(settings, None, self._pods, self._metrics))

    def _set_containers(self, containers: ContainerLogs) -> None:
        self._containers = containers
        self._status = ShipperStatus(self._settings, self._metrics, self._delivery, containers, self._pods)

    def stop(self) -> None:
        """Read no more; flush, write the checkpoint, end."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> None:
        """Ship until stopped."""
        web = StatusServer(
            self._metrics, self._liveness_problem, self._readiness_problem, self.status, shipper_page.render
        )
        web.start(self._settings.status_host, self._settings.ship_port)
        await asyncio.to_thread(self._checkpoint.lock, self._log_lock_wait)
        if self._pods is not None:
            self._pods.start()
        self._set_containers(ContainerLogs(self._settings, self._checkpoint.load(), self._pods, self._metrics))
        self._scan()
        works = self._ship(once=once), self._scan_loop(), self._checkpoint_loop(), self._delivery.watch()
        working = [asyncio.create_task(work) for work in works]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait({*working, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped in done:
                await asyncio.wait({working[0]}, timeout=STOP_SECONDS)
            for task in done:
                task.result()
        finally:
            for task in (*working, stopped):
                task.cancel()
            await asyncio.wait({*working, stopped})
            await self._delivery.stop(self._settings.ship_grace_seconds)
            self._write_checkpoint()
            web.stop()

    async def _ship(self, *, once: bool) -> None:
        await self._delivery.connect()
        await self._read_loop(once=once)

    async def _scan_loop(self) -> None:
        """Look for files, whatever Kafka does: a file that is held open outlives its deletion."""
        with self._discovery.notify_on_change(self._scan_requested.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._scan_requested.wait(), self._settings.scan_seconds)
                self._scan_requested.clear()
                self._scan()
                await asyncio.sleep(MIN_SCAN_INTERVAL_SECONDS)

    async def _checkpoint_loop(self) -> None:
        """Write the checkpoint, at first soon: a shipper that is killed again and again must come forward too."""
        for number in itertools.count():
            began = time.monotonic()
            self._write_checkpoint()
            self._forget()
            self._delivery.reload()
            self._poll_if_not_reading()
            self._status.update_gauges()
            pause = self._settings.checkpoint_seconds
            if number < FIRST_CHECKPOINTS:
                pause = min(
                    pause, max(FIRST_CHECKPOINT_SECONDS, (time.monotonic() - began) / FIRST_CHECKPOINT_TIME_SHARE)
                )
            await asyncio.sleep(pause)

    def _poll_if_not_reading(self) -> None:
        """See how they grow also while nothing is read, since Kafka is not there yet or not any more."""
        now = time.monotonic()
        if now - self._read_at > POLL_WITHOUT_READING_SECONDS:
            self._poll_all(now)

    def _poll_all(self, now: float) -> None:
        for instance, tail in list(self._containers.tails.items()):
            self._containers.poll(instance, tail, now)

    def _scan(self) -> None:
        began = time.time_ns()
        self._containers.update(self._discovery.scan(), began, self._discovery.unreadable)
        now = self._scanned_at = time.monotonic()
        self._status.sample(now)

    def _forget(self) -> None:
        """Drop what is known of containers that are gone."""
        tails = self._containers.tails
        self._backlog_since = {instance: at for instance, at in self._backlog_since.items() if instance in tails}
        self._retry_at = {instance: at for instance, at in self._retry_at.items() if instance in tails}

    def _liveness_problem(self) -> str:
        """Kafka being away is no reason: then the loops still turn, and the files wait."""
        now = time.monotonic()
        if now - self._scanned_at > LIVENESS_TIMEOUT_SECONDS:
            return f"the shipper has not looked for files for {now - self._scanned_at:.0f} s"
        turned = max(self._read_at, self._delivery.last_active)
        if now - turned > LIVENESS_TIMEOUT_SECONDS:
            return f"the shipper's loop has not turned for {now - turned:.0f} s"
        if now - self._stalled_since > LIVENESS_TIMEOUT_SECONDS:
            return (
                f"nothing was read for {now - self._stalled_since:.0f} s, although there is plenty, and Kafka has room"
            )
        return ""

    def _readiness_problem(self) -> str:
        return self._delivery.problem

    def status(self) -> dict[str, Any]:
        """Where the shipper stands, for `/status.json`."""
        return self._status.snapshot()

    @staticmethod
    def _log_lock_wait() -> None:
        log.warning("another shipper holds the state directory: waiting until it ends")

    async def _read_loop(self, *, once: bool) -> None:
        while not self._stopping.is_set():
            now = self._read_at = time.monotonic()
            if self._delivery.failed:
                await self._delivery.recover(self._containers.tails.values(), self._containers.losses)
                continue
            self._send_gaps()
            busy = self._read_all(now)
            if once and not busy and self._all_shipped():
                return
            await self._wait(busy=busy)

    async def _wait(self, *, busy: bool) -> None:
        """Until the next turn: at once when there is work, else when Kafka has room again, or it is time to look."""
        room = self._delivery.capacity
        if busy and room.is_set():
            await asyncio.sleep(0)
            return
        waited = room
        if room.is_set():
            waited = self._delivery.acked if self._partition_full else self._stopping
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waited.wait(), self._settings.poll_seconds)

    def _read_all(self, now: float) -> bool:
        """One slice of every container that has one; True if there is more to do at once."""
        room = self._delivery.capacity
        if not room.is_set():
            self._poll_all(now)
            self._stalled_since = math.inf
            return False
        self._delivery.acked.clear()
        self._partition_full = busy = took = uncut = False
        for instance, tail, unread in self._due_containers(now):
            if not room.is_set():
                self._starved = instance
                break
            taken = tail.next_slice(time.time_ns())
            if taken is None:
                self._retry_at[instance] = now + OPEN_RETRY_SECONDS
                uncut = uncut or unread > buffer_max_bytes(self._settings)
                continue
            took = True
            self._backlog_since.pop(instance, None)
            self._delivery.send(tail, taken)
            busy = busy or tail.backlog_bytes() >= self._settings.slice_max_bytes
        self._stalled_since = min(self._stalled_since, now) if uncut and not took else math.inf
        return busy

    def _due_containers(self, now: float) -> Iterator[tuple[Instance, ContainerTail, int]]:
        """The containers of which a slice is due, with their unread bytes; none is looked at before its turn.

        Whoever found no room in the last turn is the first of this one: else the same few could take all of it.
        """
        tails = list(self._containers.tails.items())
        first = next((number for number, (instance, _) in enumerate(tails) if instance == self._starved), 0)
        self._starved = None
        for instance, tail in itertools.chain(tails[first:], tails[:first]):
            if tail.is_idle(now):
                continue
            takes = self._delivery.has_capacity(tail)
            if not takes and now - tail.polled_at < self._settings.poll_seconds:
                self._partition_full = self._partition_full or tail.backlog_bytes() > 0
                continue
            unread = self._containers.poll(instance, tail, now)
            if not self._is_due(instance, tail, unread, now):
                continue
            if takes:
                yield instance, tail, unread
            else:
                self._partition_full = True

    def _is_due(self, instance: Instance, tail: ContainerTail, backlog: int, now: float) -> bool:
        """Whether a slice should be taken: enough is there, or the oldest unread line waited long enough."""
        if not tail.metadata_ready or not (backlog or tail.held) or self._delivery.is_paused(tail, now):
            return False
        if backlog >= self._settings.slice_max_bytes:
            return True
        if now < self._retry_at.get(instance, 0.0):
            return False
        return now - self._backlog_since.setdefault(instance, now) >= self._settings.linger_seconds

    def _send_gaps(self) -> None:
        """Hand over the gaps that can be told, each on its container's way, as the slices."""
        for loss in self._containers.losses.reportable(self._containers.tails):
            if not self._delivery.capacity.is_set():
                return
            instance = loss.instance
            key = record.container_key(instance.uid, instance.container, instance.restart)
            node, now = self._settings.node_name, time.time_ns()
            loss.sent = True
            told = GapRecord(loss.to_gap(), node, now, self._containers.metadata(instance))
            self._delivery.send_gap(key, told, functools.partial(self._containers.gap_acknowledged, loss))

    def _all_shipped(self) -> bool:
        tails = self._containers.tails.values()
        waiting = any(tail.in_flight_count or tail.held or self._has_unread_line(tail) for tail in tails)
        return not waiting and not self._containers.losses and not self._containers.has_suspects

    @staticmethod
    def _has_unread_line(tail: ContainerTail) -> bool:
        """Unread bytes, a last line without newline aside: it is not written yet."""
        return any(file.last_size > file.position and file.has_complete_line() for file in tail.files)

    def _write_checkpoint(self) -> None:
        fault = None
        try:
            self._checkpoint.store(self._containers.state())
            if self._pods is not None:
                self._pods.store({instance.uid for instance in self._containers.instances()})
        except OSError as cause:
            fault = cause
            log.error("checkpoint cannot be written, a restart would send again what came since: %s", fault)
        self._status.checkpoint_written(fault, time.monotonic())
