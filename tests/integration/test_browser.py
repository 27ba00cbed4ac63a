"""The status pages in a real browser (Chromium, if installed): content, no console messages, no external requests.

`PICTURES=DIR` saves screenshots of each page: desktop and phone, light and dark.
"""

import html
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.demo.child_process import ChildProcess
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.support.http import get
from tests.support.page_reader import ParsedPage, parse

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
PHONE_WIDTH = 360
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


class Browser:
    """Loads pages, each with an empty profile; collects requested URLs and console messages."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.requested_urls: set[str] = set()
        self.console_messages: list[str] = []

    def load(self, url: str, screenshot: str = "") -> ParsedPage:
        """The rendered page; `screenshot` is the base name of its screenshots."""
        log = self._directory / "net.json"
        result = self._run(f"--log-net-log={log}", "--virtual-time-budget=2000", "--dump-dom", url)
        self.console_messages += [line for line in result.stderr.splitlines() if "CONSOLE" in line]
        requests = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
        loaded = [request for request in requests if str(request.get("url", "")).startswith(("http:", "https:"))]
        # The browser sends requests to its vendor: only the page itself and its own requests count.
        self.requested_urls |= {
            request["url"]
            for request in loaded
            if url.startswith(str(request.get("initiator"))) or request["url"] == url
        }
        if screenshot and "PICTURES" in os.environ:
            self._save_screenshots(url, screenshot)
        return parse(result.stdout)

    def width(self, page: str, screenshot: str = "") -> int:
        """The width that a page needs in a frame of PHONE_WIDTH pixels: Chromium has no narrower window."""
        file = self._directory / "frame.html"
        file.write_text(
            f'<title>?</title><body style="margin:0"><iframe style="border:0" width={PHONE_WIDTH} height=2200'
            ' onload="document.title = frames[0].document.documentElement.scrollWidth"'
            f' srcdoc="{html.escape(page)}"></iframe>'
        )
        dom = self._run("--virtual-time-budget=2000", "--dump-dom", file.as_uri()).stdout
        if screenshot and "PICTURES" in os.environ:
            path = Path(os.environ["PICTURES"]).resolve() / f"{screenshot}-phone-{PHONE_WIDTH}.png"
            self._run("--window-size=500,2200", "--hide-scrollbars", f"--screenshot={path}", file.as_uri())
        return int(dom.partition("<title>")[2].partition("<")[0])

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert CHROMIUM is not None
        profile = self._directory / "profile"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
        shutil.rmtree(profile)
        return result

    def _save_screenshots(self, url: str, name: str) -> None:
        directory = Path(os.environ["PICTURES"]).resolve()
        directory.mkdir(parents=True, exist_ok=True)
        for device, size in (("desktop", "1280,1600"), ("phone", "500,2200")):
            for number, scheme in enumerate(("dark", "light")):
                options = (
                    f"--blink-settings=preferredColorScheme={number}",
                    f"--window-size={size}",
                    "--hide-scrollbars",
                )
                self._run(*options, f"--screenshot={directory / f'{name}-{device}-{scheme}.png'}", url)


@pytest.fixture
def browser(tmp_path: Path) -> Browser:
    """A browser with an empty profile."""
    return Browser(tmp_path)


def test_pages_show_totals_without_external_requests(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        lines = [f"{timestamp.format_utc(time.time_ns() + number)} stdout F line {number}\n" for number in range(7)]
        (flow.make_container("pay-1") / "0.log").write_text("".join(lines))
        eventually(lambda: flow.count() == 7)
        eventually(lambda: json.loads(get(work, "/status.json")[1])["totals"]["settled"] == 7)
        worker = browser.load(f"http://127.0.0.1:{work}/", "worker-healthy")
        shipper = browser.load(f"http://127.0.0.1:{ship}/", "shipper-healthy")
    finally:
        flow.stop()

    assert "Healthy" in worker.text
    assert "Healthy" in shipper.text
    assert ["created", "7"] in worker.rows
    assert ["events received", "7"] in worker.rows
    assert f"{len(''.join(lines))} B since start" in shipper.text
    assert browser.console_messages == []
    assert browser.requested_urls == {f"http://127.0.0.1:{work}/", f"http://127.0.0.1:{ship}/"}


def test_fleet_page_shows_all_processes_and_fits_on_a_phone(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    flow, ship, work = flow_with_pages(stack, tmp_path)
    unused, port = free_ports(2)
    urls = " ".join(f"http://127.0.0.1:{number}" for number in (ship, work, unused))
    fleet = ChildProcess("status", {**flow.environment, "CRISP_STATUS_URLS": urls}, tmp_path)
    flow.shipper.start()
    flow.worker.start()
    try:
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        lines = [f"{timestamp.format_utc(time.time_ns() + number)} stdout F line {number}\n" for number in range(70)]
        name = "a-very-long-deployment-name-of-the-payments-team-7c9d8f6b5-x2x9k"
        (flow.make_container(name) / "0.log").write_text("".join(lines))
        fleet.start("--serve", f"127.0.0.1:{port}")
        eventually(lambda: get(port, "/readyz")[0] == 200)
        eventually(lambda: json.loads(get(port, "/fleet.json")[1])["fleet"]["containers"])
        shown = browser.load(f"http://127.0.0.1:{port}/", "fleet")
        report = json.loads(get(port, "/fleet.json")[1])
        path = report["processes"][0]["path"]
        process = browser.load(f"http://127.0.0.1:{port}/{path}")
        addresses = ((port, "/", "fleet"), (port, f"/{path}", ""), (work, "/", "worker"), (ship, "/", "shipper"))
        widths = [browser.width(get(number, page)[1], picture) for number, page, picture in addresses]
    finally:
        fleet.stop()
        flow.stop()

    assert report["state"] == "critical"
    assert f"127.0.0.1:{unused}" in shown.text
    assert [row[:1] for row in shown.rows if "shop/app" in row[0]] == [["shop/app"]]
    assert "Top talkers" in process.text
    assert browser.console_messages == []
    assert {url.rpartition("/process")[0] or url for url in browser.requested_urls} <= {
        f"http://127.0.0.1:{port}/",
        f"http://127.0.0.1:{port}",
    }
    assert max(widths) <= PHONE_WIDTH


RULES = "rules:\n  - name: no debug\n    when: {level: debug}\n    drop: true\n"


def test_pages_show_a_gap_and_an_invalid_rules_file(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    options = {"CRISP_RULES_FILE": str(rules), "CRISP_RULES_POLL_SECONDS": "0.5"}
    flow, ship, work = flow_with_pages(stack, tmp_path, **options)
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
        runbook = browser.load(f"http://127.0.0.1:{work}/?runbook=gap", "runbook")
    finally:
        flow.stop()

    assert "Critical" in worker.text
    assert "1 gap since start" in worker.text
    assert "rules.yaml:4:5" in worker.text
    assert "did you mean" in worker.text
    assert [row[1:2] + row[3:] for row in shipper.rows if "shop/pay-1/app" in row] == [
        ["shop/pay-1/app", "vanished file"]
    ]
    assert ("href", "?runbook=gap") in worker.attributes
    assert "crisp tail log.flags=gap -n 50" in runbook.text
    assert browser.console_messages == []


def _problems(port: int) -> set[str]:
    code, text = get(port, "/status.json")
    return {problem["runbook"] for problem in json.loads(text)["problems"]} if code == 200 else set()


@pytest.mark.faults
def test_pages_show_unavailable_servers_and_the_backlog(stack: Stack, tmp_path: Path, browser: Browser) -> None:
    ship, work, unused_port = free_ports(3)
    ports = {"CRISP_SHIP_PORT": str(ship), "CRISP_WORKER_PORT": str(work), "CRISP_STATUS_HOST": "127.0.0.1"}
    flow = Flow(stack, tmp_path, CRISP_LAG_POLL_SECONDS="0.5")
    flow.set_up()
    lines = f"{timestamp.format_utc(time.time_ns())} stdout F a line\n" * 5
    for number in range(3):
        (flow.make_container(f"pay-{number}") / "0.log").write_text(lines)
    flow.run_once(flow.shipper)
    worker_environment = {**flow.environment, **ports, "CRISP_ES_URLS": f"http://127.0.0.1:{unused_port}"}
    worker_process = ChildProcess("worker", worker_environment, tmp_path)
    shipper_environment = {
        **worker_environment,
        "CRISP_STATE_DIR": str(tmp_path / "other"),
        "CRISP_KAFKA_BROKERS": f"127.0.0.1:{unused_port}",
    }
    shipper_process = ChildProcess("ship", shipper_environment, tmp_path)
    worker_process.start()
    shipper_process.start()
    try:
        eventually(lambda: "elasticsearch" in _problems(work) and "shipper-backlog" in _problems(ship))
        eventually(lambda: json.loads(get(ship, "/status.json")[1])["backlog_bytes"] == 3 * len(lines))
        eventually(lambda: sum(row["records"] for row in json.loads(get(work, "/status.json")[1])["lag"]) == 3)
        worker = browser.load(f"http://127.0.0.1:{work}/", "worker-elasticsearch-unavailable")
        shipper = browser.load(f"http://127.0.0.1:{ship}/", "shipper-kafka-unavailable")
    finally:
        worker_process.stop()
        shipper_process.stop()

    assert "Elasticsearch has accepted no documents for" in worker.text
    assert "Nothing is lost: Kafka keeps the records" in worker.text
    assert "3 records" in worker.text
    assert "Lines do not reach Kafka" in shipper.text
    assert f"the backlog is {3 * len(lines)} B" in shipper.text
    assert len([row for row in shipper.rows if row[:1] == ["shop"]]) == 3
    assert browser.console_messages == []
    assert browser.requested_urls == {f"http://127.0.0.1:{work}/", f"http://127.0.0.1:{ship}/"}
