"""One alert on trial: a healthy flow that is written to all the time, a fault, the alert, its runbook, health again."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.demo.child_process import Part
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.faults.prometheus import Given, Prometheus
from tests.faults.runbook import Runbook
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

RESULTS = Path(__file__).parent.parent.parent / "build" / "runbook-results.json"
HEAD = """| alert | fault | true after | what mended it | false after |
|---|---|--:|---|--:|
"""
PERIOD = 0.1


class Trial:
    """Made without anything running; `begin` starts shipper and worker."""

    def __init__(self, stack: Stack, directory: Path, alert: str, page: str, **extra: str) -> None:
        self.alert = alert
        self.ship, self.work = free_ports(2)
        self.stack = stack
        own = {
            "CRISP_SHIP_PORT": str(self.ship),
            "CRISP_WORKER_PORT": str(self.work),
            "CRISP_STATUS_HOST": "127.0.0.1",
            "CRISP_STATUS_URLS": f"http://127.0.0.1:{self.ship} http://127.0.0.1:{self.work}",
            "CRISP_LAG_POLL_SECONDS": "1",
            "CRISP_SEARCH_PROBE_SECONDS": "0.5",
        }
        self.flow = Flow(stack, directory, **{**own, **extra})
        self.book = Runbook(page, self.flow, directory)
        self.prometheus: Prometheus
        self.written = 0
        self._rate = 0.0
        self._line: Callable[[int], str] = lambda number: f'{{"message":"line {number}"}}'
        self._pods = 1
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._row = {"alert": alert, "fault": "", "true": "", "mended": "", "false": ""}
        self._since = 0.0

    def begin(self, *, rate: float = 20, pods: int = 1, given: Mapping[str, Given] | None = None) -> None:
        """Start everything, and lines at so many a second, over so many pods."""
        self._rate, self._pods = rate, pods
        self.flow.shipper.start()
        self.flow.worker.start()
        self._writer.start()
        self.prometheus = Prometheus({"shipper": self.ship, "worker": self.work}, given)

    def well(self) -> None:
        """Return when lines are found and the alert's expression is false."""
        eventually(lambda: get(self.work, "/readyz")[0] == get(self.ship, "/readyz")[0] == 200)
        eventually(lambda: self.flow.count() > 0)
        eventually(lambda: not self.prometheus.true(self.alert))

    def write(self, line: Callable[[int], str]) -> None:
        """Other lines from now on, made of their number."""
        self._line = line

    def _write(self) -> None:
        logs = [(self.flow.container(f"pay-{number}") / "0.log").open("a") for number in range(self._pods)]
        began, sent = time.monotonic(), 0
        while not self._ended.wait(PERIOD):
            due = int((time.monotonic() - began) * self._rate)
            for number in range(sent, due):
                print(f"{timestamp.text(time.time_ns())} stdout F {self._line(number)}", file=logs[number % self._pods])
            for log in logs:
                log.flush()
            self.written = sent = due
        for log in logs:
            log.close()

    def fault(self, words: str) -> None:
        """What is brought about now, for the table."""
        self._row["fault"] = words
        self._since = time.monotonic()

    def fires(self, seconds: float = 180) -> None:
        """Return when the alert's expression is true."""
        eventually(lambda: self.prometheus.true(self.alert), seconds, every=2.0)
        self._row["true"] = f"{time.monotonic() - self._since:.0f} s"

    def mended(self, words: str) -> None:
        """What the runbook said, and was done."""
        self._row["mended"] = words
        self._since = time.monotonic()

    def clears(self, later: int = 0, seconds: float = 180) -> None:
        """Return when the expression is false, as of now or of so many seconds later."""
        eventually(lambda: not self.prometheus.true(self.alert, later), seconds, every=2.0)
        after = f", and {later // 60} min that the expression looks back" if later else ""
        self._row["false"] = f"{time.monotonic() - self._since:.0f} s{after}"

    def end_well(self, beside: int = 0) -> None:
        """Every line that was written is found once (`beside`: so many documents more); the trial is kept."""
        self.rest()
        eventually(lambda: len(self._found()) >= self.written, seconds=120, every=1.0)
        found = self._found()
        assert len(found) == len(set(found)) == self.written
        assert self.flow.count() == self.written + beside
        self._keep()

    def rest(self) -> None:
        """Write no more."""
        self._ended.set()
        self._writer.join()

    def _found(self) -> list[str]:
        hits = [
            hit for hit in self.flow.documents() if hit["_source"].get("kubernetes.pod.name", "").startswith("pay-")
        ]
        return [hit["_id"] for hit in hits if "gap" not in hit["_source"].get("log.flags", ())]

    def follow(self) -> Part:
        """`crisp tail`, which goes on until it is ended, and has begun."""
        made = Part("tail", self.flow.environment, self.book.directory)
        made.start("-n", "0", "words that no line has")
        time.sleep(3)
        return made

    def status(self, port: int) -> dict[str, Any]:
        """What a part tells."""
        found: dict[str, Any] = json.loads(get(port, "/status.json")[1])
        return found

    def end(self) -> None:
        """End what runs."""
        if self._writer.is_alive():
            self.rest()
        if hasattr(self, "prometheus"):
            self.prometheus.close()
        self.flow.end()

    def _keep(self) -> None:
        RESULTS.parent.mkdir(exist_ok=True)
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        rows[f"{self.alert} {self._row['fault']}"] = self._row
        RESULTS.write_text(json.dumps(dict(sorted(rows.items())), indent=1))
        lines = [f"| {' | '.join(row.values())} |" for _, row in sorted(rows.items())]
        RESULTS.with_suffix(".md").write_text(HEAD + "\n".join(lines) + "\n")
