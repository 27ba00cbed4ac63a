"""The pages in a real browser (Chromium, where it is installed): the figures, no complaint, nothing from elsewhere.

With `PICTURES=DIR` each page is kept there as people see it: on a desk and a phone, light and dark.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.integration.test_status import get
from tests.pipeline.monitoring.pages.reader import ParsedPage, parse

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
        self.requested_urls: set[str] = set()
        self.console_messages: list[str] = []

    def load(self, url: str, screenshot: str = "") -> ParsedPage:
        """The page after it was rendered; `picture` names what is kept of it, if anything is."""
        log = self._directory / "net.json"
        ended = self._run(f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", url)
        self.console_messages += [line for line in ended.stderr.splitlines() if "CONSOLE" in line]
        requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
        started = [found for found in requests if str(found.get("url", "")).startswith(("http:", "https:"))]
        # The browser asks its maker for this and that: what counts is the page itself, and what it asked for.
        self.requested_urls |= {
            found["url"] for found in started if url.startswith(str(found.get("initiator"))) or found["url"] == url
        }
        if screenshot and "PICTURES" in os.environ:
            self._save_screenshots(url, screenshot)
        return parse(ended.stdout)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert CHROMIUM is not None
        profile = self._directory / "profile"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        shutil.rmtree(profile)
        return ended

    def _save_screenshots(self, url: str, name: str) -> None:
        home = Path(os.environ["PICTURES"]).resolve()
        home.mkdir(parents=True, exist_ok=True)
        for device, size in (("desk", "1280,1600"), ("phone", "500,2200")):
            for number, light in enumerate(("dark", "light")):
                look = (f"--blink-settings=preferredColorScheme={number}", f"--window-size={size}", "--hide-scrollbars")
                self._run(*look, f"--screenshot={home / f'{name}-{device}-{light}.png'}", url)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """A browser with an empty profile."""
    return Browser(tmp_path)


def test_the_pages_show_what_happened_and_ask_nobody_else(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        lines = [f"{timestamp.format_utc(time.time_ns() + number)} stdout F line {number}\n" for number in range(7)]
        (flow.make_container("pay-1") / "0.log").write_text("".join(lines))
        eventually(lambda: flow.count() == 7)
        eventually(lambda: json.loads(get(work, "/status.json")[1])["accounts"]["settled"] == 7)
        worker = browser.load(f"http://127.0.0.1:{work}/", "worker-well")
        shipper = browser.load(f"http://127.0.0.1:{ship}/", "shipper-well")
    finally:
        flow.stop()

    assert "Healthy" in worker.text
    assert "Healthy" in shipper.text
    assert ["created", "7"] in worker.rows
    assert ["events that came", "7"] in worker.rows
    assert f"{len(''.join(lines))} B since start" in shipper.text
    assert browser.console_messages == []
    assert browser.requested_urls == {f"http://127.0.0.1:{work}/", f"http://127.0.0.1:{ship}/"}


RULES = "rules:\n  - name: no debug\n    when: {level: debug}\n    drop: true\n"


def test_a_gap_and_a_refused_rules_file_are_told_first(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    watched = {"CRISP_RULES_FILE": str(rules), "CRISP_RULES_POLL_SECONDS": "0.5"}
    flow, ship, work = flow_with_pages(stack, tmp_path, **watched)
    log = flow.make_container("pay-1") / "0.log"
    line = f"{timestamp.format_utc(time.time_ns())} stdout F a line\n"
    log.write_text(line)
    flow.run_once(flow.shipper)
    with log.open("a") as file:
        file.write(10 * line)
    shutil.rmtree(log.parent.parent)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: flow.count() == 2)
        rules.write_text(RULES.replace("drop", "dorp"))
        eventually(lambda: _problems(work) >= {"gap", "rules-reload-failed"})
        eventually(lambda: _problems(ship) == {"gap"})
        worker = browser.load(f"http://127.0.0.1:{work}/", "worker-gap-and-rules")
        shipper = browser.load(f"http://127.0.0.1:{ship}/", "shipper-gap")
        book = browser.load(f"http://127.0.0.1:{work}/?runbook=gap", "runbook")
    finally:
        flow.stop()

    assert "Critical" in worker.text
    assert "1 gap since start" in worker.text
    assert "rules.yaml:4:5" in worker.text
    assert "did you mean" in worker.text
    assert [row[1:2] + row[3:] for row in shipper.rows if "shop/pay-1/app" in row] == [
        ["shop/pay-1/app", "vanished file"]
    ]
    assert ("href", "/?runbook=gap") in worker.attributes
    assert "crisp tail log.flags=gap -n 50" in book.text
    assert browser.console_messages == []


def _problems(port: int) -> set[str]:
    status, facts = get(port, "/status.json")
    return {trouble["runbook"] for trouble in json.loads(facts)["troubles"]} if status == 200 else set()


@pytest.mark.faults
def test_servers_that_are_away_are_told_and_where_the_lines_are(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    ship, work, nobody = free_ports(3)
    ports = {"CRISP_SHIP_PORT": str(ship), "CRISP_WORKER_PORT": str(work), "CRISP_STATUS_HOST": "127.0.0.1"}
    flow = Flow(stack, tmp_path, CRISP_LAG_POLL_SECONDS="0.5")
    flow.set_up()
    lines = f"{timestamp.format_utc(time.time_ns())} stdout F a line\n" * 5
    for number in range(3):
        (flow.make_container(f"pay-{number}") / "0.log").write_text(lines)
    flow.run_once(flow.shipper)
    astray = {**flow.environment, **ports, "CRISP_ES_URLS": f"http://127.0.0.1:{nobody}"}
    worker_part = ChildProcess("worker", astray, tmp_path)
    elsewhere = {**astray, "CRISP_STATE_DIR": str(tmp_path / "other"), "CRISP_KAFKA_BROKERS": f"127.0.0.1:{nobody}"}
    shipper_part = ChildProcess("ship", elsewhere, tmp_path)
    worker_part.start()
    shipper_part.start()
    try:
        eventually(lambda: "elasticsearch" in _problems(work) and "shipper-backlog" in _problems(ship))
        eventually(lambda: json.loads(get(ship, "/status.json")[1])["unread_bytes"] == 3 * len(lines))
        eventually(lambda: sum(row["records"] for row in json.loads(get(work, "/status.json")[1])["lag"]) == 3)
        worker = browser.load(f"http://127.0.0.1:{work}/", "worker-elasticsearch-away")
        shipper = browser.load(f"http://127.0.0.1:{ship}/", "shipper-kafka-away")
    finally:
        worker_part.stop()
        shipper_part.stop()

    assert "Elasticsearch has taken nothing for" in worker.text
    assert "Nothing is lost: Kafka keeps what comes" in worker.text
    assert "3 records" in worker.text
    assert "Lines do not reach Kafka" in shipper.text
    assert f"{3 * len(lines)} B wait in them" in shipper.text
    assert len([row for row in shipper.rows if row[:1] == ["shop"]]) == 3
    assert browser.console_messages == []
    assert browser.requested_urls == {f"http://127.0.0.1:{work}/", f"http://127.0.0.1:{ship}/"}
