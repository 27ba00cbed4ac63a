"""The demo with existing logs: a directory is shipped, indexed and audited."""

import asyncio
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.contract.json_types import JsonObject
from pipeline.demo.child_process import ChildProcess
from pipeline.demo.run import POLL_SECONDS, OnProgress, last_line
from pipeline.demo.searcher import Searcher
from pipeline.elasticsearch.client import connect
from pipeline.errors import StackError
from pipeline.local.stack import Stack
from pipeline.operations.audit import tally
from pipeline.operations.audit.audit import Audit
from pipeline.operations.audit.log_directory import LogDirectory
from pipeline.operations.audit.tally import Tally
from pipeline.operations.setup import setup

MIN_AGE_SECONDS = 60.0
MAX_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class ExistingLogsAudit:
    """The tally of each file, their sum, and the seconds that shipping and indexing took."""

    tallies: list[Tally]
    total: Tally
    seconds: float


class ExistingLogs:
    """One run over a directory in the kubelet's layout, which is read-only."""

    def __init__(self, stack: Stack, directory: Path, logs: Path, on_progress: OnProgress) -> None:
        self._logs = logs.resolve()
        self._on_progress = on_progress
        environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(self._logs),
            "CRISP_STATE_DIR": str(directory / "state"),
            "CRISP_NODE_NAME": "laptop",
        }
        self._settings = load_settings(environment)
        self._processes = [ChildProcess("ship", environment, directory), ChildProcess("worker", environment, directory)]
        self._searcher = Searcher(stack.address.es_url)

    def run(self, *, follow: bool) -> ExistingLogsAudit:
        """Ship and index the logs (`follow`: also new lines, until Ctrl-C), then look up every event."""
        self._on_progress("creating topics and index template", 0, 0)
        asyncio.run(setup.create_all(self._settings))
        started = time.monotonic()
        if follow:
            self._follow()
        for process in self._processes:
            self._run_once(process)
        seconds = time.monotonic() - started
        self._on_progress("looking up every event", 0, 0)
        tallies = asyncio.run(self._audit())
        return ExistingLogsAudit(tallies, tally.total(tallies), round(seconds, 1))

    def _follow(self) -> None:
        for process in self._processes:
            process.start()
        try:
            while True:
                self._poll(*self._processes)
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self._on_progress("interrupted: waiting for written lines to be indexed", 0, 0)
        for process in self._processes:
            process.stop()

    def _run_once(self, process: ChildProcess) -> None:
        """Run the process with `--once` until it exits."""
        process.start("--once")
        end = time.monotonic() + MAX_SECONDS
        while time.monotonic() < end:
            try:
                code = process.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                self._poll()
                continue
            if code:
                raise StackError(f"crisp {process.name} exited with code {code}: {last_line(process.output)}")
            return
        raise StackError(f"crisp {process.name} did not exit")

    def _poll(self, *running: ChildProcess) -> None:
        for process in running:
            code = process.poll()
            if code is not None:
                raise StackError(f"crisp {process.name} exited with code {code}: {last_line(process.output)}")
        self._on_progress("shipping and indexing", 0, self._searcher.count())

    async def _audit(self) -> list[Tally]:
        client = connect(self._settings)
        try:
            return await Audit(self._settings, client, lambda *_: None, MIN_AGE_SECONDS).audit_directory(
                self._logs, {}, 0.0
            )
        finally:
            await client.close()

    def examples(self) -> list[JsonObject]:
        """Return some complete documents."""
        return self._searcher.examples()

    def stop(self) -> None:
        """Stop the running processes."""
        for process in self._processes:
            process.stop()


def require_log_files(logs: Path) -> None:
    """Raise StackError for a directory without log files in the kubelet's layout."""
    if not logs.is_dir():
        raise StackError(f"--logs {logs}: no such directory")
    if not LogDirectory(logs, Settings(), {}).pod_uids:
        layout = "<namespace>_<pod>_<uid>/<container>/<n>.log"
        raise StackError(f"--logs {logs}: no log files in the kubelet's layout ({layout})")
