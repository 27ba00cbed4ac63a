"""Lines written while faults are injected; at the end each must be indexed exactly once, in order, and soon."""

import itertools
import json
import time
import uuid
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from pipeline.demo.child_process import ChildProcess
from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Balance, Ledger, document_keys, line_key
from pipeline.demo.log_generator import LogGenerator
from pipeline.elasticsearch.rejections.pending_document import CANARY_ID
from pipeline.parsing import timestamp
from tests.faults.results import Row
from tests.integration.flow import Flow
from tests.support.http import get

RATE = 500
FRESH_LINES = 50
FRESH_SECONDS = 5.0
NEVER_ROTATED = 1 << 40


class NumberedLedger(Ledger):
    """Also records the order in which a container's lines were written."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[bytes, int] = {}

    def record(self, uid: str, line: bytes) -> None:
        """Record a line before it is written."""
        super().record(uid, line)
        key = line_key(uid, line.decode("utf-8", "replace").encode())
        self._numbers[key] = -1 if key in self._numbers else self.lines

    def count_out_of_order(self, hits: list[dict[str, Any]]) -> int:
        """Return the number of documents that `@timestamp` and `log.offset` sort before earlier ones of the stream."""
        streams = defaultdict(list)
        for hit in hits:
            source = hit["_source"]
            number = self._numbers.get(document_keys(source)[0], -1)
            if number >= 0:
                position = (timestamp.parse(source["@timestamp"]), source["log.offset"], hit["_id"][:16], number)
                streams[source["kubernetes.pod.uid"], source["log.iostream"]].append(position)
        misplaced = 0
        for positions in streams.values():
            positions.sort()
            for (time_, _, file, number), (later, _, other, next_) in itertools.pairwise(positions):
                # Lines of one instant in two files are ordered by file only, and documents do not contain that order.
                misplaced += next_ < number and not (time_ == later and file != other)
        return misplaced


class Scene:
    """One flow under fault injection."""

    def __init__(self, flow: Flow, directory: Path, row: Row) -> None:
        self.stack = flow.stack
        self.directory = directory
        self.row = row
        self.flow = flow
        self.ledger = NumberedLedger()
        self.generator = LogGenerator(self.flow.logs, self.ledger, seed=7)
        self.workers = [self.flow.worker]

    def start(self) -> None:
        """Start shipper and worker."""
        self.flow.shipper.start()
        self.flow.worker.start()

    def add_worker(self, **extra: str) -> ChildProcess:
        """Add a worker to the group, not started; stopped with the scene."""
        worker = ChildProcess(
            "worker", {**self.flow.environment, **extra}, self.directory / f"worker-{len(self.workers)}"
        )
        worker.output.parent.mkdir()
        self.workers.append(worker)
        return worker

    def write(self, seconds: float, rate: int = RATE) -> None:
        """Write for `seconds`, at `rate` lines per second."""
        started, written = time.monotonic(), 0
        while (now := time.monotonic()) < started + seconds:
            due = int((now - started) * rate) - written
            if due > 0:
                self.generator.write(due)
                written += due
                self.generator.copy_output()
            time.sleep(0.05)

    def container(self, name: str) -> ContainerLog:
        """Add a container for `write_line`."""
        return ContainerLog(self.flow.logs, "shop", name, str(uuid.uuid4()), name, NEVER_ROTATED)

    def write_line(self, log: ContainerLog, line: bytes) -> None:
        """Record and write one line of a container."""
        self.ledger.record(log.uid, line)
        log.write("stdout", line)

    def write_line_at(self, log: ContainerLog, moment: float, line: str) -> None:
        """Record and write a line with this time of the runtime, in seconds since the epoch."""
        self.ledger.record(log.uid, line.encode())
        with (log.directory / "0.log").open("ab") as file:
            file.write(f"{timestamp.format_utc(round(moment * 1e9))} stdout F {line}\n".encode())

    def index(self) -> str:
        """Return the name of today's index."""
        return time.strftime(f"{self.flow.prefix}-%Y.%m.%d", time.gmtime())

    def hits(self) -> list[dict[str, Any]]:
        """Return the documents made of lines: neither canary nor gap."""
        hits = self.flow.documents()
        return [hit for hit in hits if hit["_id"] != CANARY_ID and not hit["_id"].endswith("-gap")]

    def balance(self) -> Balance:
        """Compare the ledger with the current documents."""
        searchable: Counter[bytes] = Counter()
        for hit in self.hits():
            searchable.update(document_keys(hit["_source"]))
        return self.ledger.balance(searchable)

    def has_outstanding(self) -> bool:
        """Return whether the newest watched line is not searchable yet."""
        if not self.generator.watched_traces:
            return False
        return not self.flow.count({"term": {"trace.id": self.generator.watched_traces[-1]}})

    def wait_for_worker_log(self, message: str, seconds: float = 60) -> None:
        """Wait until a worker's log contains this message."""
        deadline = time.monotonic() + seconds
        while not any(message in worker.output.read_text() for worker in self.workers if worker.output.exists()):
            assert time.monotonic() < deadline, self.log_tails()
            time.sleep(0.2)

    def log_tails(self) -> str:
        """Return the ends of all logs."""
        outputs = [process.output for process in (self.flow.shipper, *self.workers)]
        return "\n".join(output.read_text()[-1500:] for output in outputs if output.exists())

    def _wait_until_complete(self, deadline: float) -> Balance:
        """Wait until no line is missing, or the deadline; return the balance."""
        while True:
            last = -1
            while (count := self.flow.count()) != last and time.monotonic() < deadline:
                last = count
                time.sleep(1.0)
            balance = self.balance()
            if not balance.missing or time.monotonic() > deadline:
                return balance
            time.sleep(1.0)

    def assert_exactly_once(self, seconds: float = 180) -> None:
        """Assert that no line is missing, duplicated or out of order, and that fresh lines are searchable soon."""
        started = time.monotonic()
        balance = self._wait_until_complete(started + seconds)
        self.row.drained = time.monotonic() - started
        self.row.lines, self.row.missing, self.row.doubled = balance.written, balance.missing, balance.duplicated
        self.row.disordered = self.ledger.count_out_of_order(self.hits())
        errors = (balance.missing, balance.duplicated, self.row.disordered)
        assert errors == (0, 0, 0), f"{balance} {self.row}\n{self.log_tails()}"
        self.row.fresh = self._measure_fresh_lines()
        assert self.row.fresh < FRESH_SECONDS, self.log_tails()
        self.row.kills = self.flow.shipper.kills, sum(worker.kills for worker in self.workers)
        self.row.passed = True

    def _measure_fresh_lines(self) -> float:
        """Write some lines; return the seconds until all are searchable."""
        log = self.container(f"fresh-{uuid.uuid4().hex[:8]}")
        started = time.monotonic()
        for number in range(FRESH_LINES):
            self.write_line(log, f"fresh line {number}".encode())
        while self.flow.count({"term": {"kubernetes.pod.uid": log.uid}}) < FRESH_LINES:
            assert time.monotonic() < started + 60, "fresh lines are not searchable within a minute"
            time.sleep(0.1)
        log.close()
        return time.monotonic() - started

    def count_dead_letters(self) -> int:
        """Return the number of dead letters in the topic."""
        return len(self.flow.values(self.flow.settings.topic_dead))

    def status(self, port: int) -> dict[str, Any]:
        """Return the status of the worker on this port."""
        code, text = get(port, "/status.json")
        assert code == 200, text
        status: dict[str, Any] = json.loads(text)
        return status

    def stop(self) -> None:
        """Stop all processes."""
        for worker in self.workers:
            worker.stop()
        self.flow.stop()
        self.generator.close()
