"""Lines written on and on while something breaks; at the end each must be found exactly once, in order, soon."""

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
from tests.integration.test_status import get

RATE = 500
FRESH_LINES = 50
FRESH_SECONDS = 5.0
NEVER_ROTATED = 1 << 40


class NumberedLedger(Ledger):
    """Also knows in which order a container's lines were written."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[bytes, int] = {}

    def record(self, uid: str, line: bytes) -> None:
        """Note a line before it is written."""
        super().record(uid, line)
        key = line_key(uid, line.decode("utf-8", "replace").encode())
        self._numbers[key] = -1 if key in self._numbers else self.lines

    def count_out_of_order(self, hits: list[dict[str, Any]]) -> int:
        """Documents that stand, by `@timestamp` and `log.offset`, before an earlier one of their stream."""
        streams = defaultdict(list)
        for hit in hits:
            source = hit["_source"]
            number = self._numbers.get(document_keys(source)[0], -1)
            if number >= 0:
                place = (timestamp.parse(source["@timestamp"]), source["log.offset"], hit["_id"][:16], number)
                streams[source["kubernetes.pod.uid"], source["log.iostream"]].append(place)
        wrong = 0
        for places in streams.values():
            places.sort()
            for (time_, _, file, number), (later, _, other, next_) in itertools.pairwise(places):
                # Two lines of one instant in two files have no order but the files', which a document does not tell.
                wrong += next_ < number and not (time_ == later and file != other)
        return wrong


class Scene:
    """One flow under fire."""

    def __init__(self, flow: Flow, directory: Path, row: Row) -> None:
        self.stack = flow.stack
        self.directory = directory
        self.row = row
        self.flow = flow
        self.ledger = NumberedLedger()
        self.generator = LogGenerator(self.flow.logs, self.ledger, seed=7)
        self.workers = [self.flow.worker]

    def start(self) -> None:
        """Shipper and worker."""
        self.flow.shipper.start()
        self.flow.worker.start()

    def add_worker(self, **extra: str) -> ChildProcess:
        """One more worker of the group, not started; ended with the scene."""
        made = ChildProcess(
            "worker", {**self.flow.environment, **extra}, self.directory / f"worker-{len(self.workers)}"
        )
        made.output.parent.mkdir()
        self.workers.append(made)
        return made

    def write(self, seconds: float, rate: int = RATE) -> None:
        """Write for so long, at so many lines a second."""
        began, written = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            due = int((now - began) * rate) - written
            if due > 0:
                self.generator.write(due)
                written += due
                self.generator.copy_output()
            time.sleep(0.05)

    def container(self, name: str) -> ContainerLog:
        """One more container that writes by `put`."""
        return ContainerLog(self.flow.logs, "shop", name, str(uuid.uuid4()), name, NEVER_ROTATED)

    def write_line(self, log: ContainerLog, line: bytes) -> None:
        """One line of a container, noted and written."""
        self.ledger.record(log.uid, line)
        log.write("stdout", line)

    def write_line_at(self, log: ContainerLog, moment: float, line: str) -> None:
        """A line that the runtime took at that time, seconds since the epoch."""
        self.ledger.record(log.uid, line.encode())
        with (log.directory / "0.log").open("ab") as file:
            file.write(f"{timestamp.format_utc(round(moment * 1e9))} stdout F {line}\n".encode())

    def index(self) -> str:
        """The index of today."""
        return time.strftime(f"{self.flow.prefix}-%Y.%m.%d", time.gmtime())

    def hits(self) -> list[dict[str, Any]]:
        """Every document that stands for lines."""
        hits = self.flow.documents()
        return [hit for hit in hits if hit["_id"] != CANARY_ID and not hit["_id"].endswith("-gap")]

    def balance(self) -> Balance:
        """What is found now."""
        found: Counter[bytes] = Counter()
        for hit in self.hits():
            found.update(document_keys(hit["_source"]))
        return self.ledger.balance(found)

    def has_outstanding(self) -> bool:
        """Whether the newest of some lines that are watched is not found yet."""
        if not self.generator.watched_traces:
            return False
        return not self.flow.count({"term": {"trace.id": self.generator.watched_traces[-1]}})

    def wait_for_worker_log(self, words: str, seconds: float = 60) -> None:
        """Return when a worker's log has these words."""
        limit = time.monotonic() + seconds
        while not any(words in worker.output.read_text() for worker in self.workers if worker.output.exists()):
            assert time.monotonic() < limit, self.log_tails()
            time.sleep(0.2)

    def log_tails(self) -> str:
        """The last words of every part."""
        parts = (self.flow.shipper, *self.workers)
        return "\n".join(part.output.read_text()[-1500:] for part in parts if part.output.exists())

    def _wait_until_complete(self, limit: float) -> Balance:
        """The balance once nothing is missing, or when the time is over."""
        while True:
            before = -1
            while (count := self.flow.count()) != before and time.monotonic() < limit:
                before = count
                time.sleep(1.0)
            balance = self.balance()
            if not balance.missing or time.monotonic() > limit:
                return balance
            time.sleep(1.0)

    def assert_exactly_once(self, seconds: float = 180) -> None:
        """Nothing missing, nothing double, in order; and then a fresh line is found soon."""
        began = time.monotonic()
        balance = self._wait_until_complete(began + seconds)
        self.row.drained = time.monotonic() - began
        self.row.lines, self.row.missing, self.row.doubled = balance.written, balance.missing, balance.duplicated
        self.row.disordered = self.ledger.count_out_of_order(self.hits())
        wrong = (balance.missing, balance.duplicated, self.row.disordered)
        assert wrong == (0, 0, 0), f"{balance} {self.row}\n{self.log_tails()}"
        self.row.fresh = self._measure_fresh_lines()
        assert self.row.fresh < FRESH_SECONDS, self.log_tails()
        self.row.kills = self.flow.shipper.kills, sum(worker.kills for worker in self.workers)
        self.row.passed = True

    def _measure_fresh_lines(self) -> float:
        """Seconds until lines written now are all found."""
        log = self.container(f"fresh-{uuid.uuid4().hex[:8]}")
        began = time.monotonic()
        for number in range(FRESH_LINES):
            self.write_line(log, f"fresh line {number}".encode())
        while self.flow.count({"term": {"kubernetes.pod.uid": log.uid}}) < FRESH_LINES:
            assert time.monotonic() < began + 60, "fresh lines are not found within a minute"
            time.sleep(0.1)
        log.close()
        return time.monotonic() - began

    def count_dead_letters(self) -> int:
        """Letters in the dead-letter topic."""
        return len(self.flow.values(self.flow.settings.topic_dead))

    def status(self, port: int) -> dict[str, Any]:
        """What a worker tells on its port."""
        code, text = get(port, "/status.json")
        assert code == 200, text
        found: dict[str, Any] = json.loads(text)
        return found

    def stop(self) -> None:
        """End what is running."""
        for worker in self.workers:
            worker.stop()
        self.flow.stop()
        self.generator.close()
