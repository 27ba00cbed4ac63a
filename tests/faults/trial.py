"""One alert on trial: a healthy flow that is written to all the time, a fault, the alert, its runbook, health again."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.faults.prometheus import FakeGauge, Prometheus
from tests.faults.runbook import Runbook
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

RESULTS = Path(__file__).parent.parent.parent / "build" / "runbook-results.json"
HEAD = """| alert | fault | true after | what mended it | false after |
|---|---|--:|---|--:|
"""
WRITE_INTERVAL_SECONDS = 0.1


class AlertTrial:
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
        self._stopped = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._row = {"alert": alert, "fault": "", "true": "", "mended": "", "false": ""}
        self._since = 0.0

    def start(self, *, rate: float = 20, pods: int = 1, fake_gauges: Mapping[str, FakeGauge] | None = None) -> None:
        """Start everything, and lines at so many a second, over so many pods."""
        self._rate, self._pods = rate, pods
        self.flow.shipper.start()
        self.flow.worker.start()
        self._writer.start()
        self.prometheus = Prometheus({"shipper": self.ship, "worker": self.work}, fake_gauges)

    def wait_until_healthy(self) -> None:
        """Return when lines are found and the alert's expression is false."""
        eventually(lambda: get(self.work, "/readyz")[0] == get(self.ship, "/readyz")[0] == 200)
        eventually(lambda: self.flow.count() > 0)
        eventually(lambda: not self.prometheus.is_firing(self.alert))

    def set_line(self, line: Callable[[int], str]) -> None:
        """Other lines from now on, made of their number."""
        self._line = line

    def _write(self) -> None:
        logs = [(self.flow.make_container(f"pay-{number}") / "0.log").open("a") for number in range(self._pods)]
        began, sent = time.monotonic(), 0
        while not self._stopped.wait(WRITE_INTERVAL_SECONDS):
            due = int((time.monotonic() - began) * self._rate)
            for number in range(sent, due):
                print(
                    f"{timestamp.format_utc(time.time_ns())} stdout F {self._line(number)}",
                    file=logs[number % self._pods],
                )
            for log in logs:
                log.flush()
            self.written = sent = due
        for log in logs:
            log.close()

    def record_fault(self, description: str) -> None:
        """What is brought about now, for the table."""
        self._row["fault"] = description
        self._since = time.monotonic()

    def wait_until_firing(self, seconds: float = 180) -> None:
        """Return when the alert's expression is true."""
        eventually(lambda: self.prometheus.is_firing(self.alert), seconds, every=2.0)
        self._row["true"] = f"{time.monotonic() - self._since:.0f} s"

    def record_remedy(self, description: str) -> None:
        """What the runbook said, and was done."""
        self._row["mended"] = description
        self._since = time.monotonic()

    def wait_until_cleared(self, later: int = 0, seconds: float = 180) -> None:
        """Return when the expression is false, as of now or of so many seconds later."""
        eventually(lambda: not self.prometheus.is_firing(self.alert, later), seconds, every=2.0)
        after = f", and {later // 60} min that the expression looks back" if later else ""
        self._row["false"] = f"{time.monotonic() - self._since:.0f} s{after}"

    def assert_recovered(self, extra_documents: int = 0) -> None:
        """Every line that was written is found once (`beside`: so many documents more); the trial is kept."""
        self.stop_writing()
        eventually(lambda: len(self._document_ids()) >= self.written, seconds=120, every=1.0)
        found = self._document_ids()
        assert len(found) == len(set(found)) == self.written
        assert self.flow.count() == self.written + extra_documents
        self._save()

    def stop_writing(self) -> None:
        """Write no more."""
        self._stopped.set()
        self._writer.join()

    def _document_ids(self) -> list[str]:
        hits = [
            hit for hit in self.flow.documents() if hit["_source"].get("kubernetes.pod.name", "").startswith("pay-")
        ]
        return [hit["_id"] for hit in hits if "gap" not in hit["_source"].get("log.flags", ())]

    def start_tail(self) -> ChildProcess:
        """`crisp tail`, which goes on until it is ended, and has begun."""
        made = ChildProcess("tail", self.flow.environment, self.book.directory)
        made.start("-n", "0", "words that no line has")
        time.sleep(3)
        return made

    def status(self, port: int) -> dict[str, Any]:
        """What a part tells."""
        found: dict[str, Any] = json.loads(get(port, "/status.json")[1])
        return found

    def stop(self) -> None:
        """End what runs."""
        if self._writer.is_alive():
            self.stop_writing()
        if hasattr(self, "prometheus"):
            self.prometheus.close()
        self.flow.stop()

    def _save(self) -> None:
        RESULTS.parent.mkdir(exist_ok=True)
        rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        rows[f"{self.alert} {self._row['fault']}"] = self._row
        RESULTS.write_text(json.dumps(dict(sorted(rows.items())), indent=1))
        lines = [f"| {' | '.join(row.values())} |" for _, row in sorted(rows.items())]
        RESULTS.with_suffix(".md").write_text(HEAD + "\n".join(lines) + "\n")
