"""The demo with a directory of real logs: shipped, indexed, and audited."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

from pipeline.config import settings
from pipeline.demo.child_process import Part
from pipeline.demo.run import LOOK_SECONDS, Tell, last_line
from pipeline.demo.searcher import Searcher
from pipeline.elasticsearch.client import connect
from pipeline.errors import StackError
from pipeline.local.stack import Stack
from pipeline.operations.audit import tally
from pipeline.operations.audit.audit import Audit
from pipeline.operations.audit.log_directory import Directory
from pipeline.operations.audit.tally import Account
from pipeline.operations.setup import setup

YOUNG_SECONDS = 60.0
LONGEST_SECONDS = 24 * 3600.0


class GivenLogs:
    """One run over a directory in the kubelet's layout, which is only read."""

    def __init__(self, stack: Stack, directory: Path, logs: Path, tell: Tell) -> None:
        self._logs = logs.resolve()
        self._tell = tell
        environment = {
            **stack.environment,
            "CRISP_LOGS_DIR": str(self._logs),
            "CRISP_STATE_DIR": str(directory / "state"),
            "CRISP_NODE_NAME": "laptop",
        }
        self._settings = settings.load(environment)
        self._parts = [Part("ship", environment, directory), Part("worker", environment, directory)]
        self._searcher = Searcher(stack.address.es_url)

    def run(self, *, follow: bool) -> tuple[list[Account], dict[str, Any]]:
        """Ship and index what there is (`follow`: and what comes, until Ctrl-C), then look every event up."""
        self._tell("making topics and index template", 0, 0)
        asyncio.run(setup.everything(self._settings))
        started = time.monotonic()
        if follow:
            self._follow()
        for part in self._parts:
            self._once(part)
        seconds = time.monotonic() - started
        self._tell("looking every event up", 0, 0)
        accounts = asyncio.run(self._audit())
        whole = tally.total(accounts)
        return accounts, {**whole.row(), "seconds": round(seconds, 1), "files": len(accounts)}

    def _follow(self) -> None:
        for part in self._parts:
            part.start()
        try:
            while True:
                self._look(*self._parts)
                time.sleep(LOOK_SECONDS)
        except KeyboardInterrupt:
            self._tell("interrupted: what is written is still brought home", 0, 0)
        for part in self._parts:
            part.stop()

    def _once(self, part: Part) -> None:
        """To the end of what there is; both have an end of their own."""
        part.start("--once")
        end = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < end:
            try:
                code = part.wait(LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                self._look()
                continue
            if code:
                raise StackError(f"crisp {part.name} ended with code {code}: {last_line(part.output)}")
            return
        raise StackError(f"crisp {part.name} did not come to an end")

    def _look(self, *running: Part) -> None:
        for part in running:
            code = part.ended()
            if code is not None:
                raise StackError(f"crisp {part.name} ended by itself with code {code}: {last_line(part.output)}")
        self._tell("shipping and indexing", 0, self._searcher.count())

    async def _audit(self) -> list[Account]:
        client = connect(self._settings)
        try:
            return await Audit(self._settings, client, lambda *_: None, YOUNG_SECONDS).of_directory(self._logs, {}, 0.0)
        finally:
            await client.close()

    def examples(self) -> list[dict[str, Any]]:
        """Some of the documents in full."""
        return self._searcher.examples()

    def end(self) -> None:
        """End what is still running."""
        for part in self._parts:
            part.stop()


def refuse_empty(logs: Path) -> None:
    """Raises StackError for a directory that has no log files in the kubelet's layout."""
    if not logs.is_dir():
        raise StackError(f"--logs {logs}: no such directory")
    if not Directory(logs, settings.Settings(), {}).uids:
        layout = "<namespace>_<pod>_<uid>/<container>/<n>.log"
        raise StackError(f"--logs {logs}: no log files in the kubelet's layout below it ({layout})")
