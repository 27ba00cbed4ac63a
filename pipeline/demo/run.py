"""One run of the demo: setup, shipper, worker, generated lines, then the report. For the demo and for tests."""

import asyncio
import contextlib
import random
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from pipeline.config.environment import load_settings
from pipeline.demo.child_process import ChildProcess
from pipeline.demo.ledger import Balance, Ledger
from pipeline.demo.log_generator import CHAOS_WATCH_INTERVAL, WATCH_INTERVAL, LogGenerator, provoke_stack_trace
from pipeline.demo.pod_replacer import PodReplacer
from pipeline.demo.searcher import Searcher
from pipeline.errors import StackError
from pipeline.kafka import client
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.operations.setup import setup

TICK_SECONDS = 0.05
POLL_SECONDS = 0.2
BURST = 1000  # lines at a time with an unlimited rate
STACK_TRACE_INTERVAL_SECONDS = 3.0
IDLE_SECONDS = 3.0  # without a new document, before the lines are compared
GIVE_UP_SECONDS = 60.0
MIN_KILLS = 5
MIN_CHAOS_SECONDS = 100.0  # duration of a run with five kills of the worker
SHIPPER_KILL_INTERVAL = (1.0, 3.0)
WORKER_KILL_INTERVAL = (8.0, 15.0)

OnProgress = Callable[[str, int, int], None]
"""Shows the progress: activity, lines written, documents searchable."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run. `rate` in lines per second, 0: unlimited; `lines` 0: until interrupted."""

    lines: int
    rate: float
    chaos: bool
    seed: int


@dataclass(slots=True)
class KillSchedule:
    """When a process is killed next, and how many kills came while lines were in flight."""

    process: ChildProcess
    interval: tuple[float, float]
    next_at: float
    outstanding: int = 0


@dataclass(slots=True)
class Report:
    """The result of a run."""

    balance: Balance
    numbers: dict[str, Any]
    examples: list[dict[str, Any]] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every line is indexed exactly once."""
        return not self.balance.missing and not self.balance.duplicated and not self.numbers.get("chaos_too_weak")


class Run:
    """One run. Call `start`, `write`, `wait_until_searchable`, `report`, `stop`, in this order."""

    def __init__(self, stack: Stack, directory: Path, plan: Plan, on_progress: OnProgress) -> None:
        self._stack = stack
        self._plan = plan
        self._on_progress = on_progress
        self._random = random.Random(plan.seed)
        self._logs = directory / "pods"
        self._logs.mkdir()
        ship_port, worker_port = free_ports(2)
        environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(self._logs),
            "CRISP_STATE_DIR": str(directory / "state"),
            "CRISP_NODE_NAME": "laptop",
            "CRISP_SHIP_PORT": str(ship_port),
            "CRISP_WORKER_PORT": str(worker_port),
            "CRISP_STATUS_HOST": "127.0.0.1",
            "CRISP_STATUS_URLS": f"http://127.0.0.1:{ship_port} http://127.0.0.1:{worker_port}",
            **({"CRISP_KAFKA_SESSION_TIMEOUT_SECONDS": "2"} if plan.chaos else {}),
        }
        self._environment = environment
        self._settings = load_settings(environment)
        self.shipper = ChildProcess("ship", environment, directory)
        self.worker = ChildProcess("worker", environment, directory)
        self.ledger = Ledger()
        self.generator = LogGenerator(
            self._logs, self.ledger, plan.seed, watch_interval=CHAOS_WATCH_INTERVAL if plan.chaos else WATCH_INTERVAL
        )
        self.searcher = Searcher(stack.address.es_url)
        self._kills = [
            KillSchedule(self.shipper, SHIPPER_KILL_INTERVAL, 0.0),
            KillSchedule(self.worker, WORKER_KILL_INTERVAL, 0.0),
        ]
        self._replacer = PodReplacer(self.generator, self.ledger, self.searcher)
        self._searchable = 0
        self._seconds = 0.0

    def export_command(self) -> str:
        """Return the shell command that sets the environment for other commands of crisp during the run."""
        names = ("CRISP_KAFKA_BROKERS", "CRISP_ES_URLS", "CRISP_STATUS_URLS")
        return "export " + " ".join(f"{name}={shlex.quote(self._environment[name])}" for name in names)

    def start(self) -> None:
        """Create topics and template, start shipper and worker."""
        self._on_progress("creating topics and index template", 0, 0)
        asyncio.run(setup.create_all(self._settings))
        self.shipper.start()
        self.worker.start()
        self._on_progress("waiting for the worker to join its group", 0, 0)
        asyncio.run(self._wait_for_group())
        self._es_cpu = self._stack.elasticsearch.cpu_seconds()
        self.generator.follow_output("kafka", self._stack.kafka.output)
        self.generator.follow_output("elasticsearch", self._stack.elasticsearch.output)

    async def _wait_for_group(self) -> None:
        """Wait until the worker has its partitions: its start must not count as latency."""
        admin = AIOKafkaAdminClient(**client.connection(self._settings))
        await admin.start()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                while True:
                    with contextlib.suppress(GroupCoordinatorNotAvailableError):  # the first group of this Kafka
                        (response,) = await admin.describe_consumer_groups([self._settings.kafka_group])
                        if response.groups[0][2] == "Stable":
                            return
                    if self.worker.poll() is not None:
                        return  # `_poll` raises the error
                    await asyncio.sleep(TICK_SECONDS)
        except TimeoutError:
            raise StackError(f"the worker did not join its group: {last_line(self.worker.output)}") from None
        finally:
            await admin.close()

    def write(self) -> None:
        """Write the lines at the planned rate; return when all are written, or at an interrupt."""
        rate = self._plan.rate
        if self._plan.chaos and self._plan.lines:
            rate = min(rate or self._plan.lines, self._plan.lines / MIN_CHAOS_SECONDS)
        started = time.monotonic()
        polled = 0.0
        next_stack_trace = started + STACK_TRACE_INTERVAL_SECONDS
        for schedule in self._kills:
            schedule.next_at = started + self._random.uniform(*schedule.interval)
        try:
            while not self._plan.lines or self.ledger.lines < self._plan.lines:
                now = time.monotonic()
                due = BURST if not rate else int((now - started) * rate) - self.ledger.lines
                if self._plan.lines:
                    due = min(due, self._plan.lines - self.ledger.lines)
                self.generator.write(max(0, due))
                self.generator.copy_output()
                if now >= next_stack_trace:
                    provoke_stack_trace(self._stack.address.kafka_port)
                    next_stack_trace = now + STACK_TRACE_INTERVAL_SECONDS
                if now - polled >= POLL_SECONDS:
                    self._poll("writing")
                    polled = now
                    if not self._plan.lines:
                        self._replacer.poll(now)
                self._kill_due_processes(now)
                if rate:
                    time.sleep(max(0.0, TICK_SECONDS - (time.monotonic() - now)))
        except KeyboardInterrupt:
            activity = "interrupted: waiting for written lines to be indexed"
            self._on_progress(activity, self.ledger.lines, self._searchable)
        self.generator.copy_output()
        self._replacer.close()
        self._seconds = time.monotonic() - started

    def _poll(self, activity: str) -> None:
        for trace in self.generator.watched_traces:
            self.searcher.watch(trace)
        self.generator.watched_traces.clear()
        self.searcher.poll()
        self._searchable = self.searcher.count()
        for process in (self.shipper, self.worker):
            code = process.poll()
            if code is not None:
                raise StackError(f"crisp {process.name} exited with code {code}: {last_line(process.output)}")
            process.measure()
        self._on_progress(activity, self.ledger.lines, self._searchable)

    def _kill_due_processes(self, now: float) -> None:
        """Kill the processes that are due, and restart them at once."""
        if not self._plan.chaos:
            return
        for schedule in self._kills:
            if now >= schedule.next_at:
                schedule.outstanding += bool(self.searcher.outstanding())
                schedule.process.kill()
                schedule.process.start()
                schedule.next_at = now + self._random.uniform(*schedule.interval)

    def wait_until_searchable(self) -> Balance:
        """Wait until every line is searchable, or no new document has come for GIVE_UP_SECONDS."""
        idle_since = last_progress = time.monotonic()
        last = -1
        while True:
            self._poll("waiting for the last lines")
            now = time.monotonic()
            if self._searchable != last:
                last, idle_since, last_progress = self._searchable, now, now
            if now - idle_since >= IDLE_SECONDS and not self.searcher.outstanding():
                balance = self._balance()
                if not balance.missing or now - last_progress >= GIVE_UP_SECONDS:
                    return balance
                idle_since = now
            elif now - last_progress >= GIVE_UP_SECONDS:
                return self._balance()
            time.sleep(POLL_SECONDS)

    def _balance(self) -> Balance:
        return self.ledger.balance(self.searcher.line_keys(self.ledger.open_containers()))

    def report(self, balance: Balance) -> Report:
        """Stop shipper and worker; return the report."""
        es_cpu = self._stack.elasticsearch.cpu_seconds() - self._es_cpu
        self.shipper.stop()
        self.worker.stop()
        p50, p99 = self.searcher.percentiles()
        numbers = {
            "written": balance.written,
            "searchable": balance.searchable,
            "missing": balance.missing,
            "doubled": balance.duplicated,
            "documents": self._searchable,
            "latency_p50_s": round(p50, 3),
            "latency_p99_s": round(p99, 3),
            "latency_lines": len(self.searcher.latencies),
            "shipper_cpu_s": round(self.shipper.cpu_seconds, 2),
            "worker_cpu_s": round(self.worker.cpu_seconds, 2),
            "elasticsearch_cpu_s": round(es_cpu, 2),
            "shipper_rss_mib": round(self.shipper.rss_mib, 1),
            "worker_rss_mib": round(self.worker.rss_mib, 1),
            "seconds": round(self._seconds, 1),
            "rotations": self.generator.rotations(),
            "elasticsearch": self._stack.address.es_url,
        }
        if self._plan.chaos:
            for schedule in self._kills:
                numbers[f"{schedule.process.name}_kills"] = schedule.process.kills
                numbers[f"{schedule.process.name}_kills_outstanding"] = schedule.outstanding
            numbers["chaos_too_weak"] = any(schedule.outstanding < MIN_KILLS for schedule in self._kills)
        return Report(balance, numbers, self.searcher.examples())

    def stop(self) -> None:
        """Stop the running processes."""
        self.shipper.stop()
        self.worker.stop()
        self.generator.close()


def last_line(output: Path) -> str:
    """Return the last line of a process's output."""
    lines = output.read_text(errors="replace").splitlines()
    return lines[-1] if lines else "no output"
