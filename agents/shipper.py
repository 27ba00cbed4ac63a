"""The shipper's one loop: find files, read slices fairly, hand them to Kafka, note what is acknowledged.

Order of each turn: look (files grown?), take at most one slice a container while the byte budget has room, wait.
The checkpoint moves only by `Tail.acknowledge`, which is called in exactly one place: Kafka's answer.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from agents import layouts, podapi, standing
from agents.checkpoint import Checkpoint
from agents.fleet import Fleet
from agents.losses import Loss
from agents.podwatch import PodWatch
from agents.publisher import Publisher
from agents.tail import Tail, Taken
from pipeline import cri, kafka_client, record
from pipeline.gap import GapRecord
from pipeline.metrics import SHIPPER, Metrics
from pipeline.pod import Instance
from pipeline.settings import Settings
from pipeline.status import process, shipperpage
from pipeline.status.history import EVERY_SECONDS, History, Watched
from pipeline.web import Web

RETRY_SECONDS = 1.0
OPEN_RETRY_SECONDS = 0.5
MOST_KEPT_OUT = 50
STUCK_SECONDS = 60.0
WELL = "Every line that stands in the files is in Kafka or on its way."
EVENT_PAUSE_SECONDS = 0.05  # between two looks, however much is going on in the directories
WATCHED = Watched(
    ("crisp_shipper_bytes", "crisp_shipper_slices"),
    ("crisp_shipper_unread_bytes", "crisp_shipper_in_flight_bytes"),
    "crisp_shipper_age_seconds",
    ("read", "in_kafka"),
)

log = logging.getLogger(__name__)


class Shipper:
    """Ships one node's logs. `run` returns after `stop`, or with `once` when everything is acknowledged."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._discovery = layouts.discovery(settings)
        self._checkpoint = Checkpoint(Path(settings.state_dir))
        self._publisher = Publisher(settings)
        self._stopping = asyncio.Event()
        self._woken = asyncio.Event()  # there may be new files
        self._failed = False
        self._since: dict[Instance, float] = {}  # since when a container has unread bytes
        self._not_before: dict[Instance, float] = {}  # containers of which nothing may be sent yet
        self._pods = PodWatch(settings) if podapi.wanted(settings) else None
        self._metrics = Metrics(SHIPPER)
        self._history = History(self._metrics, WATCHED)
        self._backlogs: list[standing.Backlog] = []
        self._web = Web(self._metrics, self._alive, self._ready, self.status, shipperpage.render)
        self._turned = self._looked = math.inf  # when last; not yet
        self._store_at = self._sample_at = self._answered = 0.0
        self._trouble = "not connected to Kafka yet"

    def stop(self) -> None:
        """Read no more; flush, write the checkpoint, end."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> None:
        """Ship until stopped."""
        self._web.start(self._settings.status_host, self._settings.ship_port)
        await asyncio.to_thread(self._checkpoint.lock, self._waiting)
        if self._pods is not None:
            self._pods.start()
        self._fleet = Fleet(self._settings, self._checkpoint.load(), self._pods, self._metrics)
        self._look()
        looking, turning = asyncio.create_task(self._looks()), asyncio.create_task(self._ship(once=once))
        try:
            done, _ = await asyncio.wait({looking, turning}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            looking.cancel()
            turning.cancel()
            await asyncio.wait({looking, turning})
            await self._publisher.stop(self._settings.ship_grace_seconds)
            self._store()
            self._web.stop()

    async def _ship(self, *, once: bool) -> None:
        await self._connect()
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

    def _look(self) -> None:
        began = time.time_ns()
        self._fleet.update(self._discovery.scan(), began, self._discovery.failing)
        now = self._looked = time.monotonic()
        if self._trouble:  # no turn is taken until Kafka is there: what grows meanwhile is seen here
            for instance, tail in list(self._fleet.tails.items()):
                self._fleet.look(instance, tail, now)
        if now >= self._sample_at:
            self._history.sample(now)
            self._sample_at = now + EVERY_SECONDS
        if now >= self._store_at:
            self._store()
            self._publisher.renew()
            self._measure()
            self._store_at = now + self._settings.checkpoint_seconds

    def _alive(self) -> str:
        """Kafka being away is no reason: then the loop still turns, and the files wait."""
        now = time.monotonic()
        if now - self._looked > STUCK_SECONDS:
            return f"the shipper has not looked for files for {now - self._looked:.0f} s"
        if not self._trouble and now - self._turned > STUCK_SECONDS:
            return f"the shipper's loop has not turned for {now - self._turned:.0f} s"
        return ""

    def _ready(self) -> str:
        return self._trouble

    def status(self) -> dict[str, Any]:
        """Where the shipper stands, for `/status.json`."""
        value = self._metrics.get
        found = {
            **process.facts("shipper", self._settings.node_name, WELL, self._settings),
            "node": self._settings.node_name,
            "kafka": self._trouble or "ok",
            "pods": "not asked" if self._pods is None else self._pods.trouble or "ok",
            "excluded_containers": len(self._fleet.excluded),
            "kept_out": [
                {"namespace": namespace, "why": why, "containers": number}
                for (namespace, why), number in self._fleet.kept_out().most_common(MOST_KEPT_OUT)
            ],
            "refused_annotations": sorted(self._fleet.refused_annotations)[:MOST_KEPT_OUT],
            "unlabelled_containers": self._fleet.unlabelled(),
            "gaps": self._fleet.losses.recent(),
            "lost": self._lost(),
            "deleted_bytes": int(value("crisp_shipper_deleted_bytes")),
            "containers": int(value("crisp_shipper_containers")),
            "open_files": int(value("crisp_shipper_open_files")),
            "unread_bytes": int(value("crisp_shipper_unread_bytes")),
            "in_flight_bytes": int(value("crisp_shipper_in_flight_bytes")),
            "silent_seconds": value("crisp_shipper_silent_seconds"),
            "unread_seconds": value("crisp_shipper_unread_seconds"),
            "taken_bytes": int(value("crisp_shipper_taken_bytes")),
            "acknowledged_bytes": int(value("crisp_shipper_bytes")),
            "again_bytes": int(value("crisp_shipper_again_bytes")),
            "slices": {name: int(value("crisp_shipper_slices", outcome=name)) for name in ("acknowledged", "failed")},
            "backlogs": [dataclasses.asdict(backlog) for backlog in self._backlogs],
            "history": self._history.facts(),
        }
        return process.judged(found)

    def _lost(self) -> dict[str, Any]:
        """What was lost: bytes by reason, the containers that lost most, and how many gaps Kafka does not know yet."""
        most = self._fleet.losses.of_containers.most_common(standing.MOST_BACKLOGS)
        names = ("namespace", "pod", "container", "bytes")
        by_reason = self._metrics.by("crisp_shipper_gap_bytes", "reason")
        return {
            "bytes": {reason: int(size) for reason, size in by_reason.items() if size},
            "containers": [dict(zip(names, (*name, size), strict=True)) for name, size in most],
            "untold": len(self._fleet.losses),
        }

    def _measure(self) -> None:
        self._metrics.set("crisp_shipper_gaps_untold", len(self._fleet.losses))
        self._metrics.set("crisp_shipper_deleted_bytes", self._fleet.deleted_bytes)
        excluded = Counter(instance.namespace for instance in self._fleet.excluded)
        self._metrics.replace("crisp_shipper_excluded", "namespace", {**excluded})
        self._backlogs = standing.measure(self._metrics, self._fleet.tails)
        self._metrics.set("crisp_shipper_in_flight_bytes", self._publisher.in_flight)
        self._metrics.set("crisp_shipper_refused_annotations", len(self._fleet.refused_annotations))
        silent = time.monotonic() - self._answered if self._publisher.in_flight else 0.0
        self._metrics.set("crisp_shipper_silent_seconds", silent)

    @staticmethod
    def _waiting() -> None:
        log.warning("another shipper holds the state directory: waiting until it ends")

    async def _connect(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._publisher.start()
            except KafkaError as fault:
                self._trouble = f"Kafka cannot be used: {await kafka_client.trouble(self._settings) or fault}"
                log.warning("%s; tried again for ever", self._trouble)
                self._turned = time.monotonic()
                await self._pause(RETRY_SECONDS)
            else:
                self._turned = time.monotonic()
                self._trouble = ""
                return

    async def _pause(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _turns(self, *, once: bool) -> None:
        while not self._stopping.is_set():
            now = self._turned = time.monotonic()
            if self._failed:
                await self._recover()
            self._tell()
            busy = self._turn(now)
            if once and not busy and self._all_shipped():
                return
            await self._rest(busy=busy)

    async def _rest(self, *, busy: bool) -> None:
        """Until the next turn: at once when there is work, else when Kafka has room again, or it is time to look."""
        if busy and self._publisher.room.is_set():
            await asyncio.sleep(0)
        elif not self._publisher.room.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._publisher.room.wait(), self._settings.poll_seconds)
        else:
            await self._pause(self._settings.poll_seconds)

    def _turn(self, now: float) -> bool:
        """One slice of every container that has one; True if there is more to do at once."""
        busy = False
        for instance, tail in list(self._fleet.tails.items()):
            unread = self._fleet.look(instance, tail, now)
            if not self._publisher.room.is_set() or not self._due(instance, tail, unread, now):
                continue
            taken = tail.take(time.time_ns())
            if taken is None:
                self._not_before[instance] = now + OPEN_RETRY_SECONDS
                continue
            self._since.pop(instance, None)
            self._send(tail, taken)
            busy = busy or tail.unread() >= self._settings.slice_max_bytes
        return busy

    def _due(self, instance: Instance, tail: Tail, unread: int, now: float) -> bool:
        """Whether a slice should be taken: enough is there, or the oldest unread line waited long enough."""
        if not tail.described or not (unread or tail.held):
            return False
        if unread >= self._settings.slice_max_bytes:
            return True
        if now < self._not_before.get(instance, 0.0):
            return False
        return now - self._since.setdefault(instance, now) >= self._settings.linger_seconds

    def _send(self, tail: Tail, taken: Taken) -> None:
        publisher, size = self._publisher, len(taken.part.value)
        self._metrics.add("crisp_shipper_taken_bytes", size)
        written = cri.first_time(taken.part.value)
        self._aged("read", written)

        def answer(fault: BaseException | None) -> None:
            if publisher is not self._publisher:
                return
            self._answered = time.monotonic()
            if fault is None:
                tail.acknowledge(taken)
                self._aged("in_kafka", written)
                self._metrics.add("crisp_shipper_slices", outcome="acknowledged")
                self._metrics.add("crisp_shipper_bytes", size)
            else:
                self._failed = True
                self._metrics.add("crisp_shipper_slices", outcome="failed")
                self._metrics.add("crisp_shipper_again_bytes", size)
                log.error("Kafka refused a slice, everything unacknowledged is read again: %r", fault)

        if not publisher.in_flight:
            self._answered = time.monotonic()
        publisher.hand_over(tail.key, taken.part, answer)

    def _tell(self) -> None:
        """Hand over the gaps that can be told, each on its container's way, as the slices."""
        publisher = self._publisher
        for loss in self._fleet.losses.ready(self._fleet.tails):
            if not publisher.room.is_set():
                return
            instance = loss.instance
            key = record.container_key(instance.uid, instance.container, instance.restart)
            node, now = self._settings.node_name, time.time_ns()
            loss.sent = True
            told = GapRecord(loss.gap(), node, now, self._fleet.metadata(instance))
            publisher.hand_over(key, told, functools.partial(self._told, publisher, loss))

    def _told(self, publisher: Publisher, loss: Loss, fault: BaseException | None) -> None:
        if publisher is not self._publisher:
            return
        if fault is None:
            self._fleet.told(loss)
        else:
            self._failed = True
            log.error("Kafka refused a gap, it is told again: %r", fault)

    def _aged(self, stage: str, written: int | None) -> None:
        if written is not None:
            self._metrics.observe("crisp_shipper_age_seconds", max(0.0, time.time() - written / 1e9), stage=stage)

    async def _recover(self) -> None:
        """After a fault that the producer does not mend itself: a new producer, and read again what is not there."""
        self._trouble = self._trouble or "Kafka refused a slice: connecting anew"
        await self._publisher.stop(self._settings.ship_grace_seconds)
        self._metrics.add("crisp_shipper_again_bytes", self._publisher.in_flight)
        self._publisher = Publisher(self._settings)
        for tail in self._fleet.tails.values():
            tail.rewind()
        self._fleet.losses.again()
        await self._pause(RETRY_SECONDS)
        await self._connect()
        self._failed = False

    def _all_shipped(self) -> bool:
        tails = self._fleet.tails.values()
        waiting = any(tail.in_flight or tail.held or self._has_rest(tail) for tail in tails)
        return not waiting and not self._fleet.losses

    @staticmethod
    def _has_rest(tail: Tail) -> bool:
        """Unread bytes, a last line without newline aside: it is not written yet."""
        return any(file.seen > file.position and file.has_line() for file in tail.files)

    def _store(self) -> None:
        try:
            self._checkpoint.store(self._fleet.state())
            if self._pods is not None:
                self._pods.store({instance.uid for instance in self._fleet.instances()})
        except OSError as fault:
            log.error("checkpoint cannot be written, a restart would send again what came since: %s", fault)
