"""The test of one alert: a healthy flow with constant writes, a fault, the alert, its runbook, recovery."""

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
from tests.support.http import get

RESULTS = Path(__file__).parent.parent.parent / "build" / "runbook-results.json"
HEAD = """| alert | fault | firing after | remedy | cleared after |
|---|---|--:|---|--:|
"""
WRITE_INTERVAL_SECONDS = 0.1


class AlertTrial:
    """`start` starts shipper, worker, writer and scraper."""

    def __init__(self, stack: Stack, directory: Path, alert: str, page: str, **extra: str) -> None:
        self.alert = alert
        self.ship, self.work = free_ports(2)
        self.stack = stack
        defaults = {
            "CRISP_SHIP_PORT": str(self.ship),
            "CRISP_WORKER_PORT": str(self.work),
            "CRISP_STATUS_HOST": "127.0.0.1",
            "CRISP_STATUS_URLS": f"http://127.0.0.1:{self.ship} http://127.0.0.1:{self.work}",
            "CRISP_LAG_POLL_SECONDS": "1",
            "CRISP_SEARCH_PROBE_SECONDS": "0.5",
        }
        self.flow = Flow(stack, directory, **{**defaults, **extra})
        self.book = Runbook(page, self.flow, directory)
        self.prometheus: Prometheus
        self.written = 0
        self._rate = 0.0
        self._line: Callable[[int], str] = lambda number: f'{{"message":"line {number}"}}'
        self._pods = 1
        self._stopped = threading.Event()
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._row = {"alert": alert, "fault": "", "firing": "", "remedy": "", "cleared": ""}
        self._since = 0.0

    def start(self, *, rate: float = 20, pods: int = 1, fake_gauges: Mapping[str, FakeGauge] | None = None) -> None:
        """Start everything; write `rate` lines per second to the logs of `pods` pods."""
        self._rate, self._pods = rate, pods
        self.flow.shipper.start()
        self.flow.worker.start()
        self._writer.start()
        self.prometheus = Prometheus({"shipper": self.ship, "worker": self.work}, fake_gauges)

    def wait_until_healthy(self) -> None:
        """Wait until lines are searchable and the alert's expression is false."""
        eventually(lambda: get(self.work, "/readyz")[0] == get(self.ship, "/readyz")[0] == 200)
        eventually(lambda: self.flow.count() > 0)
        eventually(lambda: not self.prometheus.is_firing(self.alert))

    def set_line(self, line: Callable[[int], str]) -> None:
        """Write other lines from now on: a function of their number."""
        self._line = line

    def _write(self) -> None:
        logs = [(self.flow.make_container(f"pay-{number}") / "0.log").open("a") for number in range(self._pods)]
        started, sent = time.monotonic(), 0
        while not self._stopped.wait(WRITE_INTERVAL_SECONDS):
            due = int((time.monotonic() - started) * self._rate)
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
        """Record the fault that is injected now, for the table."""
        self._row["fault"] = description
        self._since = time.monotonic()

    def wait_until_firing(self, seconds: float = 180) -> None:
        """Wait until the alert's expression is true."""
        eventually(lambda: self.prometheus.is_firing(self.alert), seconds, every=2.0)
        self._row["firing"] = f"{time.monotonic() - self._since:.0f} s"

    def record_remedy(self, description: str) -> None:
        """Record the remedy of the runbook that is applied now."""
        self._row["remedy"] = description
        self._since = time.monotonic()

    def wait_until_cleared(self, later: int = 0, seconds: float = 180) -> None:
        """Wait until the expression is false, now or `later` seconds later."""
        eventually(lambda: not self.prometheus.is_firing(self.alert, later), seconds, every=2.0)
        after = f", plus {later // 60} min of the expression's time range" if later else ""
        self._row["cleared"] = f"{time.monotonic() - self._since:.0f} s{after}"

    def assert_recovered(self, extra_documents: int = 0) -> None:
        """Assert that every line is indexed once, and `extra_documents` more documents; save the result."""
        self.stop_writing()
        eventually(lambda: len(self._document_ids()) >= self.written, seconds=120, every=1.0)
        ids = self._document_ids()
        assert len(ids) == len(set(ids)) == self.written
        assert self.flow.count() == self.written + extra_documents
        self._save()

    def stop_writing(self) -> None:
        """Stop writing lines."""
        self._stopped.set()
        self._writer.join()

    def _document_ids(self) -> list[str]:
        hits = [
            hit for hit in self.flow.documents() if hit["_source"].get("kubernetes.pod.name", "").startswith("pay-")
        ]
        return [hit["_id"] for hit in hits if "gap" not in hit["_source"].get("log.flags", ())]

    def start_tail(self) -> ChildProcess:
        """Start `crisp tail` with a filter that matches no line; return it after its start."""
        tail = ChildProcess("tail", self.flow.environment, self.book.directory)
        tail.start("-n", "0", "words that no line has")
        time.sleep(3)
        return tail

    def status(self, port: int) -> dict[str, Any]:
        """Return the status of the process on this port."""
        status: dict[str, Any] = json.loads(get(port, "/status.json")[1])
        return status

    def stop(self) -> None:
        """Stop everything."""
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
