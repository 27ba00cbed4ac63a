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
from pathlib import Path

from agents.containers import ContainerLogs
from agents.delivery.delivery import Delivery
from agents.delivery.link import KafkaLink, LinkState
from agents.discovery import layouts
from agents.discovery.scanner import Discovery, Scan
from agents.kubernetes import pod_api
from agents.kubernetes.pod_watch import PodWatch
from agents.scheduler import ReadScheduler
from agents.state.checkpoint import Checkpoint
from agents.status import StatusReporter
from agents.tailing.container_tail import ContainerTail
from agents.tailing.file_handles import raise_open_file_limit
from agents.tailing.standby_files import StandbyFiles
from agents.unread import UnreadLogTracker
from pipeline import __version__
from pipeline.config.settings import Settings
from pipeline.contract import record
from pipeline.contract.gap import GapRecord
from pipeline.monitoring import shipper_problems
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metric_table import SHIPPER
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.pages import shipper_page
from pipeline.monitoring.shipper_status import ShipperStatus

FIRST_CHECKPOINTS, FIRST_CHECKPOINT_SECONDS = 20, 0.1
FIRST_CHECKPOINT_TIME_SHARE = 0.05  # upper bound: with thousands of files each checkpoint takes longer
STOP_SECONDS = 1.0
LOCK_RETRY_SECONDS = 0.5
POLL_WITHOUT_READING_SECONDS = 1.0
LIVENESS_TIMEOUT_SECONDS = 60.0
MIN_SCAN_INTERVAL_SECONDS = 0.05  # bounds the scans in busy directories

log = logging.getLogger(__name__)


class Shipper:
    """Ships one node's logs. `run` returns after `stop`, or with `once` when everything is acknowledged."""

    def __init__(
        self, settings: Settings, discovery: Discovery | None = None, standby: StandbyFiles | None = None
    ) -> None:
        self._settings = settings
        self._discovery = discovery or layouts.create_discovery(settings)
        self._standby = standby or StandbyFiles(raise_open_file_limit())
        self._checkpoint = Checkpoint(Path(settings.state_dir))
        self._stopping = asyncio.Event()
        self._scan_requested = asyncio.Event()
        self._metrics = Metrics(SHIPPER)
        self._link = KafkaLink(settings, self._stopping)
        self._delivery = Delivery(settings, self._metrics, self._link)
        self._pods = PodWatch(settings) if pod_api.is_enabled(settings) else None
        self._read_at = 0.0  # monotonic time of the last iteration of the read loop
        self._all_acknowledged = False
        self._scanned_at = math.inf  # monotonic time of the last scan, or of the start of the first one; inf: not yet
        self._containers = ContainerLogs(settings, self._pods, self._metrics)
        self._scheduler = ReadScheduler(settings, self._containers, self._delivery, self._link.in_flight)
        self._unread = UnreadLogTracker(settings, self._metrics)
        self._status = StatusReporter(
            settings, self._metrics, self._link, self._delivery, self._containers, self._pods, self._unread
        )

    def stop(self) -> None:
        """Shut down gracefully: stop reading, flush, write the checkpoint."""
        self._stopping.set()

    async def run(self, *, once: bool = False) -> bool:
        """Ship until stopped; return whether it ended by itself, since with `once` everything is acknowledged."""
        server = StatusServer(
            self._metrics, self._liveness_problem, self._readiness_problem, self.status, shipper_page.render
        )
        server.start(self._settings.status_host, self._settings.ship_port)
        connecting = asyncio.create_task(self._link.connect())  # also while another shipper runs: it is ready to follow
        if self._pods is not None:
            self._pods.start()
        try:
            if await self._lock_state():
                await self._run_loops(connecting, once=once)
            else:
                connecting.cancel()
                await asyncio.wait({connecting})
                await self._link.stop(0.0)
        finally:
            connecting.cancel()
            self._standby.close()
            self._checkpoint.unlock()
            server.stop()
        return self._all_acknowledged

    async def _lock_state(self) -> bool:
        """Wait until no other shipper uses the state directory; return False if stopped before.

        What the kubelet deletes until then is held open: in a rollout the other shipper may not see it any more.
        """
        logged = False
        while not self._checkpoint.lock():
            if not logged:
                log.warning("another shipper holds the state directory; waiting for it to exit")
                logged = True
            self._read_at = time.monotonic()
            self._standby.hold(self._discovery.scan(), self._read_at)
            if self._pods is not None:
                self._pods.forget(self._standby.uids())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOCK_RETRY_SECONDS):
                    await self._stopping.wait()
            if self._stopping.is_set():
                return False
        return True

    async def _run_loops(self, connecting: "asyncio.Task[None]", *, once: bool) -> None:
        self._log_start()
        self._containers.restore(self._checkpoint.load())
        self._scanned_at = time.monotonic()  # a scan that hangs is not alive, also the first one
        self._scan()
        loops = self._ship(connecting, once=once), self._scan_loop(), self._checkpoint_loop(), self._link.watch()
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
            acked = self._metrics.get("crisp_shipper_acked_bytes")
            log.info("shipper stopped: %d bytes acknowledged since start", acked)

    def _log_start(self) -> None:
        settings = self._settings
        directories = [settings.logs_dir, *settings.plain_dirs, *filter(None, [settings.docker_dir])]
        log.info(
            "crisp %s: shipper of node %s started: logs of %s to topic %s at %s, state in %s",
            __version__,
            settings.node_name,
            ", ".join(directories),
            settings.topic_raw,
            settings.kafka_address,
            settings.state_dir,
        )

    async def _ship(self, connecting: "asyncio.Task[None]", *, once: bool) -> None:
        await connecting
        await self._read_loop(once=once)

    async def _scan_loop(self) -> None:
        """Scan for files independently of Kafka: a file that is held open outlives its deletion."""
        with self._discovery.notify_on_change(self._scan_requested.set):
            while True:
                # Not with `wait_for`: in Python 3.11 it swallows a cancellation together with an event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.scan_seconds):
                        await self._scan_requested.wait()
                self._scan_requested.clear()
                self._scan()
                await asyncio.sleep(MIN_SCAN_INTERVAL_SECONDS)

    async def _checkpoint_loop(self) -> None:
        """Write the checkpoint, at first often: a shipper in a crash loop must make progress too."""
        for number in itertools.count():
            started_at = time.monotonic()
            self._write_checkpoint()
            self._scheduler.forget_removed()
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
            self._scheduler.poll_all(now)

    def _scan(self) -> None:
        started_at, begun_at = time.time_ns(), time.monotonic()
        files = self._discovery.scan()
        for file, descriptor in self._standby.take_deleted(files, begun_at):
            self._containers.adopt(file, descriptor, begun_at)
        scan = Scan(files, started_at, time.monotonic(), self._discovery.unreadable, begun_at)
        self._containers.update(scan)
        for file in self._containers.unopened:  # deleted after the scan had listed it
            held = self._standby.take(file.inode)
            if held is not None:
                self._containers.adopt(file, held, begun_at)
        self._standby.close()
        now = self._scanned_at = time.monotonic()
        self._unread.update(self._discovery.unread, self._containers, now)
        self._status.sample(now)

    def _liveness_problem(self) -> str:
        """Return why the process must be restarted. Kafka's unavailability is no reason: the loops still run."""
        now = time.monotonic()
        if now - self._scanned_at > LIVENESS_TIMEOUT_SECONDS:
            return f"no scan for log files for {now - self._scanned_at:.0f} s"
        last_active = max(self._read_at, self._link.last_active)
        if now - last_active > LIVENESS_TIMEOUT_SECONDS:
            return f"event loop blocked for {now - last_active:.0f} s"
        stalled_seconds = now - self._scheduler.stalled_since
        if stalled_seconds > LIVENESS_TIMEOUT_SECONDS:
            return f"no progress for {stalled_seconds:.0f} s with backlog and free Kafka capacity"
        return ""

    def _readiness_problem(self) -> str:
        if self._delivery.problem or self._containers.tails:
            return self._delivery.problem
        return shipper_problems.unreadable_problem(self._unread.current)

    def once_problem(self) -> str:
        """Return what `run(once=True)` could not ship; empty if it shipped everything."""
        problem = shipper_problems.unreadable_problem(self._unread.current)
        if not problem and not self._containers.found:
            problem = "No log file found: are the log directories those of this node?"
        return problem

    def status(self) -> ShipperStatus:
        """Return the state of the shipper, for `/status.json`."""
        return self._status.snapshot()

    async def _read_loop(self, *, once: bool) -> None:
        while not self._stopping.is_set():
            now = self._read_at = time.monotonic()
            if self._link.state is LinkState.FAILED:
                await self._delivery.recover(self._containers.tails.values(), self._containers.losses)
                continue
            self._delivery.resend_held_bundles()
            self._send_gaps()
            busy = self._scheduler.read_all(now)
            if once and not busy and self._all_shipped():
                self._all_acknowledged = True
                return
            await self._scheduler.wait(self._stopping, busy=busy)

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
        """Return whether a complete line is unread: a last line without newline is not fully written yet.

        False if it cannot be read, which is a problem of its own.
        """
        try:
            return any(file.backlog_bytes() and file.has_line(tail.event_bytes) for file in tail.files)
        except OSError:
            return False

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
