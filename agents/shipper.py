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

from agents.containers import Fleet
from agents.delivery.delivery import Delivery
from agents.discovery import layouts
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from agents.state.checkpoint import Checkpoint
from agents.status import Standing
from agents.tailing.container_tail import Tail
from pipeline.config.settings import Settings, open_max_bytes
from pipeline.contract import record
from pipeline.contract.gap import GapRecord
from pipeline.contract.pod_metadata import Instance
from pipeline.monitoring.http_server import Web
from pipeline.monitoring.metrics import SHIPPER, Metrics
from pipeline.monitoring.pages import shipper_page

OPEN_RETRY_SECONDS = 0.5
FIRST_STORES, FIRST_STORE_SECONDS = 20, 0.1
FIRST_STORE_SHARE = 0.05  # of the time, at most: with thousands of files each takes longer
STOP_SECONDS = 1.0
UNREAD_SECONDS = 1.0
STUCK_SECONDS = 60.0
EVENT_PAUSE_SECONDS = 0.05  # between two looks, however much is going on in the directories

log = logging.getLogger(__name__)


class Shipper:
    """Ships one node's logs. `run` returns after `stop`, or with `once` when everything is acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discovery = layouts.discovery(settings)
        self._checkpoint = Checkpoint(Path(settings.state_dir))
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()  # there may be new files
        self._metrics = Metrics(SHIPPER)
        self._delivery = Delivery(settings, self._metrics, self._stopping)
        self._since: dict[Instance, float] = {}  # since when a container has unread bytes
        self._not_before: dict[Instance, float] = {}  # containers of which nothing may be sent yet
        self._hungry: Instance | None = None  # who found no room for more
        self._crowded = False  # somebody found no room on the way to its own partition
        self._pods = PodWatch(settings) if pod_api.wanted(settings) else None
        self._turned = 0.0  # when last, monotonic
        self._looked = math.inf  # the same; not yet
        self._uncut = math.inf  # since when nothing is read although there is plenty, and room
        self._use(Fleet(settings, None, self._pods, self._metrics))

    def _use(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._standing = Standing(self._settings, self._metrics, self._delivery, fleet, self._pods)

    def stop(self) -> None:
        """Read no more; flush, write the checkpoint, end."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> None:
        """Ship until stopped."""
        web = Web(self._metrics, self._alive, self._ready, self.status, shipper_page.render)
        web.start(self._settings.status_host, self._settings.ship_port)
        await asyncio.to_thread(self._checkpoint.lock, self._waiting)
        if self._pods is not None:
            self._pods.start()
        self._use(Fleet(self._settings, self._checkpoint.load(), self._pods, self._metrics))
        self._look()
        works = self._ship(once=once), self._looks(), self._keeps(), self._delivery.watch()
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
            self._store()
            web.stop()

    async def _ship(self, *, once: bool) -> None:
        await self._delivery.connect()
        await self._turns(once=once)

    async def _looks(self) -> None:
        """Look for files, whatever Kafka does: a file that is held open outlives its deletion."""
        with self._discovery.waking(self._woken.set):
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._settings.scan_seconds)
                self._woken.clear()
                self._look()
                await asyncio.sleep(EVENT_PAUSE_SECONDS)

    async def _keeps(self) -> None:
        """Write the checkpoint, at first soon: a shipper that is killed again and again must come forward too."""
        for number in itertools.count():
            began = time.monotonic()
            self._store()
            self._forget()
            self._delivery.renew()
            self._look_at_files()
            self._standing.measure()
            pause = self._settings.checkpoint_seconds
            if number < FIRST_STORES:
                pause = min(pause, max(FIRST_STORE_SECONDS, (time.monotonic() - began) / FIRST_STORE_SHARE))
            await asyncio.sleep(pause)

    def _look_at_files(self) -> None:
        """See how they grow also while nothing is read, since Kafka is not there yet or not any more."""
        now = time.monotonic()
        if now - self._turned > UNREAD_SECONDS:
            self._look_at_tails(now)

    def _look_at_tails(self, now: float) -> None:
        for instance, tail in list(self._fleet.tails.items()):
            self._fleet.look(instance, tail, now)

    def _look(self) -> None:
        began = time.time_ns()
        self._fleet.update(self._discovery.scan(), began, self._discovery.failing)
        now = self._looked = time.monotonic()
        self._standing.sample(now)

    def _forget(self) -> None:
        """Drop what is known of containers that are gone."""
        tails = self._fleet.tails
        self._since = {instance: at for instance, at in self._since.items() if instance in tails}
        self._not_before = {instance: at for instance, at in self._not_before.items() if instance in tails}

    def _alive(self) -> str:
        """Kafka being away is no reason: then the loops still turn, and the files wait."""
        now = time.monotonic()
        if now - self._looked > STUCK_SECONDS:
            return f"the shipper has not looked for files for {now - self._looked:.0f} s"
        turned = max(self._turned, self._delivery.stirred)
        if now - turned > STUCK_SECONDS:
            return f"the shipper's loop has not turned for {now - turned:.0f} s"
        if now - self._uncut > STUCK_SECONDS:
            return f"nothing was read for {now - self._uncut:.0f} s, although there is plenty, and Kafka has room"
        return ""

    def _ready(self) -> str:
        return self._delivery.trouble

    def status(self) -> dict[str, Any]:
        """Where the shipper stands, for `/status.json`."""
        return self._standing.facts()

    @staticmethod
    def _waiting() -> None:
        log.warning("another shipper holds the state directory: waiting until it ends")

    async def _turns(self, *, once: bool) -> None:
        while not self._stopping.is_set():
            now = self._turned = time.monotonic()
            if self._delivery.failed:
                await self._delivery.recover(self._fleet.tails.values(), self._fleet.losses)
                continue
            self._tell()
            busy = self._turn(now)
            if once and not busy and self._all_shipped():
                return
            await self._rest(busy=busy)

    async def _rest(self, *, busy: bool) -> None:
        """Until the next turn: at once when there is work, else when Kafka has room again, or it is time to look."""
        room = self._delivery.room
        if busy and room.is_set():
            await asyncio.sleep(0)
            return
        waited = room
        if room.is_set():
            waited = self._delivery.freed if self._crowded else self._stopping
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waited.wait(), self._settings.poll_seconds)

    def _turn(self, now: float) -> bool:
        """One slice of every container that has one; True if there is more to do at once."""
        room = self._delivery.room
        if not room.is_set():
            self._look_at_tails(now)
            self._uncut = math.inf
            return False
        self._delivery.freed.clear()
        self._crowded = busy = took = uncut = False
        for instance, tail, unread in self._in_line(now):
            if not room.is_set():
                self._hungry = instance
                break
            taken = tail.take(time.time_ns())
            if taken is None:
                self._not_before[instance] = now + OPEN_RETRY_SECONDS
                uncut = uncut or unread > open_max_bytes(self._settings)
                continue
            took = True
            self._since.pop(instance, None)
            self._delivery.send(tail, taken)
            busy = busy or tail.unread() >= self._settings.slice_max_bytes
        self._uncut = min(self._uncut, now) if uncut and not took else math.inf
        return busy

    def _in_line(self, now: float) -> Iterator[tuple[Instance, Tail, int]]:
        """The containers of which a slice is due, with their unread bytes; none is looked at before its turn.

        Whoever found no room in the last turn is the first of this one: else the same few could take all of it.
        """
        tails = list(self._fleet.tails.items())
        first = next((number for number, (instance, _) in enumerate(tails) if instance == self._hungry), 0)
        self._hungry = None
        for instance, tail in itertools.chain(tails[first:], tails[:first]):
            if tail.resting(now):
                continue
            takes = self._delivery.takes(tail)
            if not takes and now - tail.looked < self._settings.poll_seconds:
                self._crowded = self._crowded or tail.unread() > 0
                continue
            unread = self._fleet.look(instance, tail, now)
            if not self._due(instance, tail, unread, now):
                continue
            if takes:
                yield instance, tail, unread
            else:
                self._crowded = True

    def _due(self, instance: Instance, tail: Tail, unread: int, now: float) -> bool:
        """Whether a slice should be taken: enough is there, or the oldest unread line waited long enough."""
        if not tail.described or not (unread or tail.held) or self._delivery.withholds(tail, now):
            return False
        if unread >= self._settings.slice_max_bytes:
            return True
        if now < self._not_before.get(instance, 0.0):
            return False
        return now - self._since.setdefault(instance, now) >= self._settings.linger_seconds

    def _tell(self) -> None:
        """Hand over the gaps that can be told, each on its container's way, as the slices."""
        for loss in self._fleet.losses.ready(self._fleet.tails):
            if not self._delivery.room.is_set():
                return
            instance = loss.instance
            key = record.container_key(instance.uid, instance.container, instance.restart)
            node, now = self._settings.node_name, time.time_ns()
            loss.sent = True
            told = GapRecord(loss.gap(), node, now, self._fleet.metadata(instance))
            self._delivery.tell(key, told, functools.partial(self._fleet.told, loss))

    def _all_shipped(self) -> bool:
        tails = self._fleet.tails.values()
        waiting = any(tail.in_flight or tail.held or self._has_rest(tail) for tail in tails)
        return not waiting and not self._fleet.losses and not self._fleet.judging

    @staticmethod
    def _has_rest(tail: Tail) -> bool:
        """Unread bytes, a last line without newline aside: it is not written yet."""
        return any(file.seen > file.position and file.has_line() for file in tail.files)

    def _store(self) -> None:
        fault = None
        try:
            self._checkpoint.store(self._fleet.state())
            if self._pods is not None:
                self._pods.store({instance.uid for instance in self._fleet.instances()})
        except OSError as cause:
            fault = cause
            log.error("checkpoint cannot be written, a restart would send again what came since: %s", fault)
        self._standing.stored(fault, time.monotonic())
