"""A server as a child process: output in a file, reliable termination, measured CPU time."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pipeline.errors import StackError

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 12


class ServerProcess:
    """A child in a session of its own. Unless `detached`, it dies with the thread that started it (Linux).

    Raises StackError if it cannot be started.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        detached: bool = False,
    ) -> None:
        self.name = name
        self.output = directory / f"{name}.log"
        try:
            with self.output.open("ab") as output:
                self._child = subprocess.Popen(
                    command,
                    cwd=directory,
                    env={**os.environ, **(environment or {})},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=user,
                    extra_groups=[] if user else None,
                    preexec_fn=None if detached or sys.platform != "linux" else die_with_parent,  # noqa: PLW1509
                )
        except OSError as error:
            where = f" (as the user {user}, who must have access to it: TMPDIR names another place)" if user else ""
            raise StackError(f"{name} cannot be started: {error.filename}: {error.strerror}{where}") from error
        self.pid = self._child.pid

    def wait(self, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready` is true. Raises StackError with the last output on exit or timeout."""
        limit = time.monotonic() + seconds
        while not ready():
            code = self._child.poll()
            if code is not None:
                raise StackError(f"{self.name} exited with code {code}:\n{self._last_output()}")
            if time.monotonic() > limit:
                raise StackError(f"{self.name} was not ready within {seconds:.0f} s:\n{self._last_output()}")
            time.sleep(0.1)

    def _last_output(self) -> str:
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-_TAIL_LINES:])

    def stop(self, seconds: float = 10.0) -> None:
        """Stop the process and its children; SIGKILL after `seconds`."""
        stop_session(self.pid, seconds, self._child.poll)

    def kill(self) -> None:
        """Stop the process with SIGKILL."""
        stop_session(self.pid, 0.0, self._child.poll)

    def pause(self) -> None:
        """Suspend the process: connections stay open, nothing responds."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Continue after `pause`."""
        os.killpg(self.pid, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """CPU time of the process and its children so far."""
        return session_cpu_seconds(self.pid)


def stop_session(pid: int, seconds: float, poll: Callable[[], object]) -> None:
    """Send SIGTERM to a process group, SIGKILL after `seconds`; returns when its leader has exited (`poll`)."""
    limit = time.monotonic() + seconds
    try:
        if seconds:
            os.killpg(pid, signal.SIGTERM)
            while time.monotonic() < limit and poll() is None:
                time.sleep(0.05)
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has exited, and so have its children
    limit = time.monotonic() + 10
    while poll() is None and time.monotonic() < limit:
        time.sleep(0.02)


def session_cpu_seconds(session: int) -> float:
    """User and system time of every process in a session, including children that have exited and been waited for."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(") ")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[3]) == session:
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def process_cpu_seconds(pid: int) -> float:
    """User and system time of one process so far; 0 if it has exited."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss_mib(pid: int) -> float:
    """The peak resident memory of a process, in MiB; 0 if it has exited."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def free_ports(count: int) -> list[int]:
    """Loopback ports that are free at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [server.getsockname()[1] for server in sockets]
    finally:
        for server in sockets:
            server.close()


def die_with_parent() -> None:
    """In the child: SIGKILL when the thread that started it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
