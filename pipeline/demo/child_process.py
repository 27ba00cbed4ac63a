"""One of crisp's own processes in the demo: started, killed, started again, and what it used all along."""

import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.config.settings import Settings, env_name
from pipeline.local.process import die_with_parent, peak_rss_mib, process_cpu_seconds

STOP_SECONDS = 30.0


class ChildProcess:
    """`crisp ship` or `crisp worker` as a child process."""

    def __init__(self, name: str, environment: Mapping[str, str], directory: Path) -> None:
        self.name = name
        self.output = directory / f"{name}.log"
        self.kills = 0
        self.program: tuple[str, ...] = ("-m", "pipeline.cli")
        self._environment = {**_without_settings(os.environ), **environment}
        self._cpu = 0.0
        self._exited_cpu = 0.0
        self._rss = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Start it, again after a kill."""
        command = [sys.executable, *self.program, self.name, *arguments]
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a Ctrl-C is for the demo, which brings home what is written
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, and go on."""
        assert self._child is not None
        self._child.send_signal(number)

    def poll(self) -> int | None:
        """The exit code, once it has ended by itself."""
        return self._child.poll() if self._child else None

    def wait(self, seconds: float) -> int:
        """The exit code, when it ends. Raises subprocess.TimeoutExpired."""
        assert self._child is not None
        return self._child.wait(seconds)

    def measure(self) -> None:
        """Note what it used until now; also before it is ended, since then nobody can say."""
        if self._child is not None and self._child.poll() is None:
            self._rss = max(self._rss, peak_rss_mib(self._child.pid))
            self._cpu = process_cpu_seconds(self._child.pid)

    def kill(self) -> None:
        """kill -9, and note it."""
        self.kills += 1
        self._terminate(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM and wait; returns the exit code."""
        return self._terminate(signal.SIGTERM)

    def _terminate(self, number: signal.Signals) -> int:
        child = self._child
        if child is None:
            return 0
        self.measure()
        self._exited_cpu += self._cpu
        self._cpu = 0.0
        child.send_signal(number)
        try:
            code = child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        self._child = None
        return code

    @property
    def cpu_seconds(self) -> float:
        """CPU time of all its lives."""
        return self._exited_cpu + self._cpu

    @property
    def rss_mib(self) -> float:
        """The most resident memory of any of its lives."""
        return self._rss


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's environment without settings of crisp: they are for his own servers, not for these."""
    own = {env_name(row.name) for row in dataclasses.fields(Settings)}
    return {name: value for name, value in environ.items() if name not in own}
