"""A Kubernetes node with a real kubelet and containerd, in namespaces of its own; all ends with its first process.

Two processes hold the namespaces: one the network, which outlives a power cut of the node as Kafka's and
Elasticsearch's do; one the rest, as PID 1. Both die with the thread that started them.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import StackError
from tests.cluster.node import requirements
from tests.cluster.node.layout import ADDRESS, CGROUP, NAME, Layout
from tests.deploy.manifests import ROOT
from tests.k8s import binaries

_TOP = Path("/var/tmp")
_LOCK = _TOP / "crisp-node.lock"
_START_SECONDS = 180.0
_DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


class Node:
    """One node. `start`, `cut_power`, `start` again; `stop` takes away what it left."""

    def __init__(self, top: Path) -> None:
        cni, runc = requirements.cni_directory(), shutil.which("runc")
        assert cni is not None
        assert runc is not None
        self.layout = Layout(str(top), str(binaries.directory()), str(cni), runc)
        self._network = self._hold_network()
        self._servers: subprocess.Popen[str] | None = None
        self._holder: subprocess.Popen[bytes] | None = None
        self._pid = 0  # of the node's PID 1, in this machine's namespace

    # --- its life

    def _hold_network(self) -> subprocess.Popen[bytes]:
        """Make a network with the node's address, which nothing outside can reach."""
        holder = subprocess.Popen([*_DIE_WITH_PARENT, "unshare", "--net", "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        wait_for("a network", lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != own)
        self._network_pid = holder.pid
        for command in (
            "ip link set lo up",
            "ip link add node0 type veth peer name node1",
            f"ip addr add {ADDRESS}/24 dev node0",
            "ip link set node0 up",
            "ip link set node1 up",
            f"ip route add default via {ADDRESS.rpartition('.')[0]}.254 dev node0",  # services' addresses need a route
            "sysctl -qw net.ipv4.ip_forward=1",
        ):
            subprocess.run([*self._in_network(), *command.split()], check=True)
        bridged = [*self._in_network(), "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"]
        subprocess.run(bridged, check=False, capture_output=True)  # where the kernel has it as a module: not needed
        return holder

    def _in_network(self) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._network_pid}/ns/net", "--"]

    def start(self) -> None:
        """Start the node; return when it is ready. Raises StackError."""
        self._remove_cgroups()
        self.layout.path("up").unlink(missing_ok=True)
        options = ("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc", "--propagation")
        inside = [sys.executable, "-m", "tests.cluster.node.inside", self.layout.encode()]
        with self.layout.path("inside.log").open("ab") as output:
            self._holder = subprocess.Popen(
                [*self._in_network(), *_DIE_WITH_PARENT, "unshare", *options, "private", *inside],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        wait_for("the node", self._is_up, _START_SECONDS)
        wait_for("the kubelet", self._is_ready, _START_SECONDS)

    def _is_up(self) -> bool:
        holder = self._holder
        assert holder is not None
        if holder.poll() is not None:
            raise StackError("the node ended:\n" + self.layout.path("inside.log").read_text()[-2000:])
        children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        return bool(self._pid) and self.layout.path("up").exists()

    def _is_ready(self) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        result = self.try_kubectl("get", "node", NAME, "-o", f"jsonpath={path}")
        return result.stdout.strip() == "True"

    def cut_power(self) -> None:
        """Kill everything of the node at once; its disk stays, the servers go on."""
        if self._holder is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait(30)
        self._holder, self._pid = None, 0
        self._remove_cgroups()

    def stop(self) -> None:
        """End everything, and remove what it left."""
        with contextlib.ExitStack() as stack:  # each step also after an error of another
            stack.callback(shutil.rmtree, self.layout.top, ignore_errors=True)
            stack.callback(self._network.wait)
            stack.callback(self._network.kill)
            stack.callback(self._stop_servers)
            stack.callback(self.cut_power)

    def _stop_servers(self) -> None:
        if self._servers is not None:
            assert self._servers.stdin is not None
            assert self._servers.stdout is not None
            self._servers.stdin.close()
            self._servers.wait(60)
            self._servers.stdout.close()

    @staticmethod
    def _remove_cgroups() -> None:
        for _ in range(20):
            left = [path for path in Path("/sys/fs/cgroup").glob(f"*/{CGROUP}") if path.is_dir()]
            for top in left:
                for path in sorted((each for each in top.rglob("*") if each.is_dir()), reverse=True):
                    _remove_cgroup(path)
                _remove_cgroup(top)
            if not left:
                return
            time.sleep(0.25)

    # --- its programs

    def execute(self, *command: str) -> str:
        """Run a command in the node's namespaces; return its output. Raises StackError."""
        namespaces = ["nsenter", "-t", str(self._pid), "-m", "-n", "-p", "-i", "-u", "--"]
        result = subprocess.run(
            [*namespaces, *command], check=False, capture_output=True, text=True, cwd=ROOT, timeout=600
        )
        if result.returncode:
            raise StackError(f"{' '.join(command)}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def kill(self, program: str) -> None:
        """Kill one of the node's programs by SIGKILL."""
        self.execute("kill", "-KILL", self.layout.path("logs", f"{program}.pid").read_text())

    def restart(self, program: str) -> None:
        """Start a program that was killed."""
        self.execute(sys.executable, "-m", "tests.cluster.node.inside", "start", program, self.layout.encode())

    def import_image(self, archive: Path) -> None:
        """Import images into containerd; the kubelet never removes them."""
        ctr, label = self.layout.binary("ctr"), "io.cri-containerd.pinned=pinned"
        self.execute(ctr, "-n", "k8s.io", "images", "import", "--label", label, str(archive))

    def try_kubectl(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl as administrator."""
        command = [*self._in_network(), "kubectl", f"--kubeconfig={self.layout.kubeconfig}", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=text, timeout=300)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl as administrator; return its output. Raises StackError."""
        result = self.try_kubectl(*arguments, text=text)
        if result.returncode:
            raise StackError(f"kubectl {' '.join(arguments)}:\n{result.stdout}{result.stderr}")
        return result.stdout

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or update objects."""
        self.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

    def get(self, *arguments: str) -> Any:
        """Return objects of the API."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    # --- the servers

    def start_servers(self) -> None:
        """Start Kafka and Elasticsearch; `wait_servers` returns when both are ready."""
        mount = ("unshare", "--mount", "sh", "-c", 'mount --bind /dev/null /etc/resolv.conf; exec "$@"', "-")
        server = [sys.executable, "-m", "tests.cluster.node.servers", str(self.layout.path("servers"))]
        with self.layout.path("servers.log").open("ab") as output:
            self._servers = subprocess.Popen(
                [*self._in_network(), *_DIE_WITH_PARENT, *mount, *server],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def wait_servers(self) -> None:
        """Return when the last command to the servers is done. Raises StackError."""
        assert self._servers is not None
        assert self._servers.stdout is not None
        if not self._servers.stdout.readline():
            raise StackError("the servers ended:\n" + self.layout.path("servers.log").read_text()[-2000:])

    def command_servers(self, command: str) -> None:
        """`kill kafka`, `start elasticsearch` …; return when it is done."""
        assert self._servers is not None
        assert self._servers.stdin is not None
        self._servers.stdin.write(f"{command}\n")
        self._servers.stdin.flush()
        self.wait_servers()

    def request(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to Elasticsearch; return its response."""
        data = [] if body is None else ["-H", "content-type: application/json", "--data-binary", "@-"]
        command = ["curl", "-sS", "--max-time", "60", "-X", method, *data, f"http://{ADDRESS}:9200{path}"]
        text = None if body is None else json.dumps(body)
        result = subprocess.run([*self._in_network(), *command], capture_output=True, text=True, input=text, check=True)
        return json.loads(result.stdout)


def _remove_cgroup(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # still in use: tried again


def wait_for(what: str, is_ready: Callable[[], bool], seconds: float = 60.0, pause: float = 0.2) -> float:
    """Return after how many seconds it is ready. Raises StackError."""
    started = time.monotonic()
    while not is_ready():
        if time.monotonic() - started > seconds:
            raise StackError(f"{what} is not ready after {seconds:.0f} s")
        time.sleep(pause)
    return time.monotonic() - started


@contextmanager
def running_node() -> Iterator[Node]:
    """A node that is ready, with servers that start meanwhile; everything is ended and removed at the end."""
    with _LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: all have the same cgroups
        for left in _TOP.glob("crisp-node-*/"):  # by a run that was killed
            shutil.rmtree(left)
        top = Path(tempfile.mkdtemp(prefix="crisp-node-", dir=_TOP))
        top.chmod(0o755)
        node = Node(top)
        try:
            node.start_servers()
            node.start()
            yield node
        finally:
            node.stop()
