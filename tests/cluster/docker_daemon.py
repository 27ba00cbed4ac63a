"""A Docker daemon of its own, in namespaces of its own: the end of its PID 1 ends every container in it.

It shares nothing with a Docker that runs on this machine: neither ports nor bridges, firewall rules or images. Its
network reaches the outside by slirp4netns, which needs no rule and no setting of the machine.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import StackError
from pipeline.local.artifacts import cache_directory
from pipeline.local.process import die_with_parent
from tests.k8s import binaries

START_SECONDS = 60.0
_CGROUP = "crisp-docker"
_CPU_SHARES = "8192"  # as eight processes outside have, not as one
_PACKAGES = {"dockerd": "docker.io", "docker": "docker.io", "runc": "runc", "slirp4netns": "slirp4netns"}
_PACKAGES |= {"iptables": "iptables", "ip": "iproute2", "mmdebstrap": "mmdebstrap"}
_DNS = "10.0.2.3"  # slirp4netns answers there
# PID 1 of the namespaces. /run is its own, as dockerd's sockets and the lock of iptables are there.
_INSIDE = """
mount --make-rprivate /
mount -t tmpfs tmpfs /run
echo nameserver {dns} > /run/resolv.conf
mount --bind /run/resolv.conf "$(realpath -m /etc/resolv.conf)"
mkdir -p /var/lib/docker
mount --bind {data} /var/lib/docker
ip link set lo up
until ip link show tap0 > /dev/null 2>&1; do sleep 0.1; done
exec dockerd --host unix://{socket} --exec-root /run/docker --pidfile /run/docker.pid \\
    --storage-driver overlay2 --cgroup-parent /{cgroup} --exec-opt native.cgroupdriver=cgroupfs
"""


def missing() -> str:
    """What this machine lacks to run the daemon; empty if nothing."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a Docker daemon of one's own needs Linux and root"
    packages = sorted({package for program, package in _PACKAGES.items() if shutil.which(program) is None})
    if packages:
        return f"not installed: {', '.join(packages)} (Debian: apt install {' '.join(packages)})"
    if not (binaries.directory() / "docker-compose").exists():
        return "no docker-compose: `make cluster-binaries` builds it"
    return ""


class DockerDaemon:
    """A running daemon. Its images and its build cache stay in the cache directory for the next one."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "dockerd.log"
        self._socket = directory / "docker.sock"
        self._config = directory / "config"
        plugins = self._config / "cli-plugins"
        plugins.mkdir(parents=True)
        (plugins / "docker-compose").symlink_to(binaries.directory() / "docker-compose")
        self.environment = {
            **os.environ,
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_CONFIG": str(self._config),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.pid = 0

    def start(self) -> None:
        """Start the daemon and wait until it responds. Raises StackError."""
        data = cache_directory() / "docker"
        data.mkdir(parents=True, exist_ok=True)
        controller = Path("/sys/fs/cgroup/cpu")  # version 1: a group has as much as one process, if nothing is set
        if controller.is_dir():
            group = controller / _CGROUP
            group.mkdir(exist_ok=True)
            (group / "cpu.shares").write_text(_CPU_SHARES)
        script = _INSIDE.format(dns=_DNS, socket=self._socket, data=data, cgroup=_CGROUP)
        namespaces = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]
        outer = self._spawn(["unshare", *namespaces, "sh", "-euc", script])
        limit = time.monotonic() + START_SECONDS
        self.pid = self._await_child(outer, limit)
        self._spawn(["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", str(self.pid), "tap0"])
        while self.run("info", check=False).returncode:
            if outer.poll() is not None or time.monotonic() > limit:
                raise StackError(f"dockerd does not respond:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.2)

    def stop(self) -> None:
        """Kill the daemon with all its containers, and remove their control groups."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        for process in reversed(self._processes):
            process.kill()
            process.wait()
        for group in Path("/sys/fs/cgroup").glob(f"*/{_CGROUP}"):
            for path in sorted(group.rglob("*/"), reverse=True):
                _remove_group(path)
            _remove_group(group)

    def run(
        self, *arguments: str, cwd: Path | None = None, check: bool = True, seconds: float = 900
    ) -> subprocess.CompletedProcess[str]:
        """Run `docker` with these arguments. Raises StackError if it fails and `check` is set."""
        result = subprocess.run(
            ["docker", *arguments],
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        if check and result.returncode:
            output = (result.stdout + result.stderr)[-3000:]
            raise StackError(f"docker {' '.join(arguments)} exits with {result.returncode}:\n{output}")
        return result

    def rows(self, *arguments: str) -> set[str]:
        """The lines that a command prints."""
        return set(self.run(*arguments).stdout.splitlines())

    def _spawn(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509
            )
        self._processes.append(process)
        return process

    def _await_child(self, outer: subprocess.Popen[bytes], limit: float) -> int:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        while time.monotonic() < limit and outer.poll() is None:
            if pids := children.read_text().split():
                return int(pids[0])
            time.sleep(0.05)
        raise StackError(f"no namespaces: {self._log.read_text()[-500:]}")


def _remove_group(path: Path) -> None:
    for _ in range(50):  # the kernel takes a moment to remove the processes that were killed
        try:
            path.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return


@contextmanager
def docker_daemon(directory: Path) -> Iterator[DockerDaemon]:
    """A daemon whose socket and log are in this directory (its path must be short); it is killed at the end."""
    daemon = DockerDaemon(directory)
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
