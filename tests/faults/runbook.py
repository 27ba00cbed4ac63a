"""A runbook's page, and its commands run as they stand there: those of crisp and Kafka in a shell, Kibana's over HTTP.

What they name is that of a deployment; here it is the test's own topics, indices and log directory. What kubectl does
to pods, a test does to processes.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from pipeline.local import artifacts, java
from tests.integration.flow import Flow

PAGES = Path(__file__).parent.parent.parent / "pipeline" / "runbooks"
_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """What a page says to run: each line of a shell, each request of Kibana's console with its body."""
    found = []
    for kind, block in _BLOCK.findall((PAGES / f"{page}.md").read_text()):
        lines = [line.strip() for line in block.splitlines()]
        if kind == "console":
            lines = re.findall(r"[^\n]+(?:\n\{[^\n]+)?", "\n".join(lines))
        found += lines
    return found


class Runbook:
    """One page, followed on one flow."""

    def __init__(self, page: str, flow: Flow, directory: Path) -> None:
        self._commands = commands(page)
        self._flow = flow
        self.directory = directory / "desk"
        self.directory.mkdir()
        tool = self.directory / "kafka-configs.sh"
        run = f'exec "{java.home()}/bin/java" -cp "{artifacts.kafka()}/*" kafka.admin.ConfigCommand "$@"'
        tool.write_text(f"#!/bin/sh\n{run}\n")
        tool.chmod(0o755)

    def run(self, command: str, code: int = 0) -> str:
        """What a shell's command prints; it must end with that code."""
        path = f"{Path(sys.executable).parent}:{self.directory}:{os.environ['PATH']}"
        known = {name: value for name, value in os.environ.items() if not name.startswith(("CRISP_", "ES_"))}
        ended = subprocess.run(
            ["bash", "-c", self._localize(command)],
            env={**known, **self._flow.environment, "PATH": path},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert ended.returncode == code, f"{command} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}"
        return ended.stdout + ended.stderr

    def request(self, command: str) -> str:
        """Elasticsearch's answer to a request of the console."""
        head, _, body = self._localize(command).partition("\n")
        method, path = head.split()
        url = f"{self._flow.stack.address.es_url}/{path}"
        request = urllib.request.Request(
            url, body.encode() or None, {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as fault:
            raise AssertionError(f"{command}: {fault.code} {fault.read().decode()[:500]}") from fault

    def _localize(self, command: str) -> str:
        """The command with this test's names in place of a deployment's."""
        assert command in self._commands, f"the page does not say {command!r}, but: {self._commands}"
        settings = self._flow.settings
        for theirs, ours in (
            ("logs-YYYY.MM.DD", time.strftime(f"{self._flow.prefix}-%Y.%m.%d", time.gmtime())),
            ("logs-*", f"{self._flow.prefix}-*"),
            ("logs-raw", settings.topic_raw),
            ("/var/log/pods", str(self._flow.logs)),
        ):
            command = command.replace(theirs, ours)
        return command


def hits(printed: str) -> list[dict]:
    """The sources of what `crisp tail --json` printed."""
    return [json.loads(line)["_source"] for line in printed.splitlines() if line.startswith("{")]
