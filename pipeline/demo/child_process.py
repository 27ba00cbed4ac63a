"""A process of crisp in the demo and in tests: started, killed, restarted, with its total CPU and peak memory."""

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
        self.prefix: tuple[str, ...] = ()  # a command that runs the program: setpriv
        self._environment = {**_without_settings(os.environ), **environment}
        self._cpu = 0.0
        self._exited_cpu = 0.0
        self._rss = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the process, which was started."""
        assert self._child is not None
        return self._child.pid

    def start(self, *arguments: str) -> None:
        """Start the process, also after a kill."""
        command = [*self.prefix, sys.executable, *self.program, self.name, *arguments]
        with self.output.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                env=self._environment,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C stops the demo, which then waits for the written lines
                preexec_fn=die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal without waiting."""
        assert self._child is not None
        self._child.send_signal(number)

    def poll(self) -> int | None:
        """Return the exit code if the process has exited, else None."""
        return self._child.poll() if self._child else None

    def wait(self, seconds: float) -> int:
        """Wait for the exit and return the exit code. Raises subprocess.TimeoutExpired."""
        assert self._child is not None
        return self._child.wait(seconds)

    def measure(self) -> None:
        """Record CPU and memory of the running process; the kernel drops them at its exit."""
        if self._child is not None and self._child.poll() is None:
            self._rss = max(self._rss, peak_rss_mib(self._child.pid))
            self._cpu = process_cpu_seconds(self._child.pid)

    def kill(self) -> None:
        """Send SIGKILL, wait, and count the kill."""
        self.kills += 1
        self._terminate(signal.SIGKILL)

    def stop(self) -> int:
        """Send SIGTERM, wait, and return the exit code."""
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
        """CPU time of all runs."""
        return self._exited_cpu + self._cpu

    @property
    def rss_mib(self) -> float:
        """Peak resident memory of all runs, in MiB."""
        return self._rss


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without settings of crisp, which are for the servers of the user."""
    own = {env_name(field.name) for field in dataclasses.fields(Settings)}
    return {name: value for name, value in environ.items() if name not in own}
