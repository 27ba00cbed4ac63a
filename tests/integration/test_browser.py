"""The pages in a real browser (Chromium, where it is installed): the figures, no complaint, nothing from elsewhere."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.message import apptime
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get
from tests.pipeline.status.reader import Reader, read

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to look at the pages with")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """Loads pages, each with a profile of its own; what it asked for and complained of is kept."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.asked: set[str] = set()
        self.complaints: list[str] = []

    def load(self, url: str) -> Reader:
        """The page after it was rendered."""
        assert CHROMIUM is not None
        log = self._directory / "net.json"
        own = (f"--user-data-dir={self._directory / 'profile'}", f"--log-net-log={log}")
        command = [CHROMIUM, *FLAGS, *own, "--virtual-time-budget=2000", "--dump-dom", url]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        self.complaints += [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
        requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
        started = [found for found in requests if str(found.get("url", "")).startswith(("http:", "https:"))]
        # The browser asks its maker for this and that: what counts is the page itself, and what it asked for.
        self.asked |= {
            found["url"] for found in started if url.startswith(str(found.get("initiator"))) or found["url"] == url
        }
        shutil.rmtree(self._directory / "profile")
        return read(ended.stdout)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser with an empty profile."""
    return Browser(tmp_path)


def test_the_pages_show_what_happened_and_ask_nobody_else(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    ship, work = free_ports(2)
    ports = {"CRISP_SHIP_PORT": str(ship), "CRISP_WORKER_PORT": str(work), "CRISP_STATUS_HOST": "127.0.0.1"}
    flow = Flow(stack, tmp_path, **ports)
    flow.set_up()
    lines = [f"{apptime.text(time.time_ns() + number)} stdout F line {number}\n" for number in range(7)]
    (flow.container("pay-1") / "0.log").write_text("".join(lines))
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: flow.count() == 7)
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        eventually(lambda: json.loads(get(work, "/status.json")[1])["accounts"]["settled"] == 7)
        worker, shipper = browser.load(f"http://127.0.0.1:{work}/"), browser.load(f"http://127.0.0.1:{ship}/")
    finally:
        flow.end()

    assert ["created", "7"] in worker.rows
    assert ["events that came", "7"] in worker.rows
    assert f"{len(''.join(lines))} B since start" in shipper.words
    assert browser.complaints == []
    assert browser.asked == {f"http://127.0.0.1:{work}/", f"http://127.0.0.1:{ship}/"}
