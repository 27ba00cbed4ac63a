"""Every command of `crisp --help` on real servers: in a pipe, on a terminal of 80 and of 200 columns, without servers.

`build/commands.md` has the exit code and the last line of each.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually, flow_with_pages
from tests.support import command_table, terminal
from tests.support.command_table import AWAY, CALLS, GOOD, SERVERLESS, WRONG, Call
from tests.support.http import get

pytestmark = pytest.mark.faults  # minutes: with the long suites
SECONDS = 120.0
COLUMNS = (80, 200)
LOCAL = ("local status", "local up", "local down")  # in this order: the first without, the last with servers
LINES = ("payment refused", '{"level":"error","message":"no stock","code":200}', '{"message":"no stock","code":"none"}')


class Site:
    """Where commands are called: settings, files, and what is in Kafka and Elasticsearch."""

    def __init__(self, environment: dict[str, str], values: dict[str, str], directory: Path) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CRISP_", "ES_"))}
        self.environment = {**inherited, **environment, "TMPDIR": str(directory)}
        self.values = values

    def pipe(self, command: str, call: Call) -> tuple[int, str, str]:
        """Call a command in a pipe; return its exit code, output and errors."""
        process = subprocess.Popen(
            self._command(command, call),
            env={**self.environment, "COLUMNS": "40"},  # a pipe has no width
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if call.endless:
            time.sleep(5)
            process.send_signal(signal.SIGTERM)  # a shell's background jobs ignore SIGINT
        try:
            output, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
        return process.returncode, output, errors

    def terminal(self, command: str, call: Call, columns: int) -> tuple[int, str]:
        """Call a command on a terminal; return its exit code and its text."""
        return terminal.run(self._command(command, call), self.environment, columns, SECONDS)

    def _command(self, command: str, call: Call) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli", *call.expand(command, self.values)]


@pytest.fixture(scope="module")
def public_directory() -> Iterator[Path]:
    """A directory that every user may enter: Elasticsearch runs as another one than root."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@pytest.fixture(scope="module")
def site(stack: Stack, public_directory: Path) -> Iterator[Site]:
    """A running shipper and worker; documents with a field of two types, and a dead letter."""
    directory = public_directory / "site"
    directory.mkdir()
    flow, ship, work = flow_with_pages(stack, directory)
    flow.shipper.start()
    flow.worker.start()
    try:
        log = flow.make_container("pay-1") / "0.log"
        log.write_text("".join(f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n" for text in LINES))
        flow.produce(b"x\n", headers=[("crisp", b"1")])
        eventually(lambda: flow.count() == len(LINES) and len(flow.values(flow.settings.topic_dead)) == 1)
        eventually(lambda: get(work, "/readyz")[0] == get(ship, "/readyz")[0] == 200)
        yield _make_site(flow, f"http://127.0.0.1:{ship} http://127.0.0.1:{work}", directory)
    finally:
        flow.stop()


def _make_site(flow: Flow, urls: str, directory: Path) -> Site:
    values = command_table.write_files(directory)
    values |= {"logs": str(flow.logs), "id": flow.documents()[0]["_id"]}
    environment = {**flow.environment, "CRISP_STATUS_URLS": urls, "CRISP_KUBECONFIG": values["missing"]}
    # A second shipper and worker beside the running ones: `ship --once`, `worker --once`.
    environment |= {"CRISP_STATE_DIR": str(directory / "state-2"), "CRISP_KAFKA_GROUP": f"{flow.prefix}-2"}
    environment |= {"CRISP_SHIP_PORT": "0", "CRISP_WORKER_PORT": "0"}
    return Site(environment, values, directory)


@pytest.fixture
def away(tmp_path: Path) -> Site:
    """Settings of servers that do not exist."""
    kafka, elasticsearch, status = free_ports(3)
    values = command_table.write_files(tmp_path)
    environment = {
        "CRISP_KAFKA_BROKERS": f"127.0.0.1:{kafka}",
        "CRISP_ES_URLS": f"http://127.0.0.1:{elasticsearch}",
        "CRISP_STATUS_URLS": f"http://127.0.0.1:{status}",
        "CRISP_LOGS_DIR": values["logs"],
        "CRISP_STATE_DIR": str(tmp_path / "state"),
        "CRISP_SHIP_PORT": "0",
        "CRISP_WORKER_PORT": "0",
        "CRISP_NODE_NAME": "node-1",
    }
    return Site(environment, values, tmp_path)


def last_line(text: str) -> str:
    """The last line that is not blank."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "")


def check_pipe(site: Site, command: str, call: Call) -> tuple[str, str]:
    """Call a command in a pipe; return its output, and its last line for the table."""
    code, output, errors = site.pipe(command, call)
    message = f"crisp {command} {call.arguments}: exit code {code}\n{output}\n{errors}"
    assert code == call.code, message
    expected = call.output.format_map(site.values)
    assert expected in (last_line(errors or output) if call.state == WRONG else output + errors), message
    assert "Traceback" not in errors, message
    assert "\x1b" not in output, message
    return output, last_line(output + errors if call.state == GOOD else errors or output)


def check_terminals(site: Site, command: str, call: Call, piped: str) -> None:
    """A terminal shows all of a table within its width; a pipe has each row in one line."""
    for columns in COLUMNS:
        code, text = site.terminal(command, call, columns)
        message = f"crisp {command} {call.arguments}, {columns} columns: exit code {code}\n{text}"
        assert code == call.code, message
        assert "Traceback" not in text, message
        if call.fits:
            assert max(map(len, text.splitlines()), default=0) <= columns, message
            assert text.count("…") == piped.count("…"), message  # a runbook has one of its own
    if call.fits:
        assert len(piped.splitlines()) <= len(text.splitlines()) + 2, f"{piped}\n{text}"


@pytest.mark.parametrize("command", [name for name in CALLS if name not in LOCAL])
def test_command_with_good_and_wrong_input(command: str, site: Site) -> None:
    rows = {}
    wrong = next(call for call in CALLS[command] if call.state == WRONG)
    for call in [call for call in CALLS[command] if call.state == GOOD] + [wrong]:
        piped, last = check_pipe(site, command, call)
        if call.state == GOOD:
            check_terminals(site, command, call, piped)
        given = f"`{call.arguments}`" if call.arguments else ""
        rows[f"{call.state} {given}".rstrip()] = (call.code, last)
    command_table.save(command, rows)


@pytest.mark.parametrize("command", [name for name in CALLS if name not in SERVERLESS])
def test_command_without_servers(command: str, away: Site) -> None:
    for call in [call for call in CALLS[command] if call.state == AWAY]:
        _, last = check_pipe(away, command, call)
        command_table.save(command, {f"{call.state} `{call.arguments}`": (call.code, last)})


def test_local_servers_are_started_shown_and_stopped(public_directory: Path) -> None:
    site = Site({}, command_table.write_files(public_directory), public_directory)
    try:
        for command in LOCAL:
            for call in CALLS[command]:
                _, last = check_pipe(site, command, call)
                command_table.save(command, {call.state: (call.code, last)})
    finally:
        site.pipe("local down", CALLS["local down"][0])
