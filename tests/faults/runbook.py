"""A runbook, with its commands run literally: those of crisp and Kafka in a shell, those of Kibana's console over HTTP.

The names of a deployment (topics, indices, log directory) are replaced by those of the test. What kubectl does to pods,
a test does to processes.
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
from typing import Any

from pipeline.local import artifacts, java
from tests.integration.flow import Flow

PAGES = Path(__file__).parent.parent.parent / "pipeline" / "runbooks"
_BLOCK = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Return the commands of a page: each shell line, each request of Kibana's console with its body."""
    result = []
    for kind, block in _BLOCK.findall((PAGES / f"{page}.md").read_text()):
        lines = [line.strip() for line in block.splitlines()]
        if kind == "console":
            lines = re.findall(r"[^\n]+(?:\n\{[^\n]+)?", "\n".join(lines))
        result += lines
    return result


class Runbook:
    """One page, applied to one flow."""

    def __init__(self, page: str, flow: Flow, directory: Path) -> None:
        self.prefix: tuple[str, ...] = ()  # a command that runs the commands: setpriv
        self._commands = commands(page)
        self._flow = flow
        self.directory = directory / "desk"
        self.directory.mkdir()
        script = self.directory / "kafka-configs.sh"
        java_command = f'exec "{java.home()}/bin/java" -cp "{artifacts.kafka()}/*" kafka.admin.ConfigCommand "$@"'
        script.write_text(f"#!/bin/sh\n{java_command}\n")
        script.chmod(0o755)

    def run(self, command: str, code: int = 0) -> str:
        """Run a shell command, which must exit with this code; return its output."""
        path = f"{Path(sys.executable).parent}:{self.directory}:{os.environ['PATH']}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CRISP_", "ES_"))}
        completed = subprocess.run(
            [*self.prefix, "bash", "-c", self._localize(command)],
            env={**inherited, **self._flow.environment, "PATH": path},
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        output = completed.stdout + completed.stderr
        assert completed.returncode == code, f"{command} exited with {completed.returncode}:\n{output}"
        return output

    def request(self, command: str) -> str:
        """Send a request of the console; return Elasticsearch's response."""
        head, _, body = self._localize(command).partition("\n")
        method, path = head.split()
        url = f"{self._flow.stack.address.es_url}/{path}"
        request = urllib.request.Request(
            url, body.encode() or None, {"content-type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return str(response.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{command}: {error.code} {error.read().decode()[:500]}") from error

    def _localize(self, command: str) -> str:
        """Replace the names of a deployment in a command by those of the test."""
        assert command in self._commands, f"{command!r} is not on the page: {self._commands}"
        settings = self._flow.settings
        for deployed, own in (
            ("logs-YYYY.MM.DD", time.strftime(f"{self._flow.prefix}-%Y.%m.%d", time.gmtime())),
            ("logs-*", f"{self._flow.prefix}-*"),
            ("logs-raw", settings.topic_raw),
            ("/var/log/pods", str(self._flow.logs)),
        ):
            command = command.replace(deployed, own)
        return command


def hits(printed: str) -> list[dict[str, Any]]:
    """Return the sources of the hits printed by `crisp tail --json`."""
    return [json.loads(line)["_source"] for line in printed.splitlines() if line.startswith("{")]
