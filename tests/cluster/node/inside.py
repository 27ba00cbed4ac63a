"""PID 1 of a node's namespaces: its mounts, then its programs. All of them end with it.

Nothing of the machine is changed but the cgroups beneath `CGROUP`: /run, /var/log and /var/lib/{kubelet,containerd,
crisp} are the node's own, and so are the sysctls that a kubelet would set for the whole machine.
"""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tests.cluster.node import configuration
from tests.cluster.node.layout import ADDRESS, ADMIN_TOKEN, CGROUP, KUBELET_TOKEN, NAME, Layout

_KERNEL = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
_CGROUPS = Path("/sys/fs/cgroup")


def main(layout: Layout) -> None:
    """Start the node, write the file `up`, and live until killed."""
    _write_configuration(layout)
    _mount(layout)
    _prepare_cgroups()
    _start_all(layout)
    layout.path("up").touch()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            os.waitpid(-1, 0)  # PID 1 also reaps what was left behind by others
        except ChildProcessError:
            time.sleep(1)


def _write_configuration(layout: Layout) -> None:
    for name in ("kubelet", "log/pods", "log/containers", "crisp", "etcd", "pki", "containerd", "logs"):
        layout.path(name).mkdir(parents=True, exist_ok=True)
    texts = {
        "containerd.toml": configuration.containerd(layout),
        "kubelet.json": configuration.kubelet(layout),
        "proxy.json": configuration.kube_proxy(layout),
        "Corefile": configuration.corefile(layout),
        "admin.conf": configuration.kubeconfig(layout, ADMIN_TOKEN),
        "kubelet.conf": configuration.kubeconfig(layout, KUBELET_TOKEN),
        "pki/tokens.csv": configuration.tokens(),
    }
    for name, text in texts.items():
        layout.path(name).write_text(text)
    key = layout.path("pki", "sa.key")
    if not key.exists():
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)


def _mount(layout: Layout) -> None:
    _run("mount", "--make-rshared", "/")  # within this namespace: HostToContainer mounts need it
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    for name in ("cni/net.d", "lock", "netns", "static"):
        Path("/run", name).mkdir(parents=True)
    Path("/run/cni/net.d/10-bridge.conflist").write_text(configuration.pod_network())
    for name, target in (("kubelet", "/var/lib/kubelet"), ("crisp", "/var/lib/crisp"), ("log", "/var/log")):
        _bind(layout.path(name), target)
    _bind(layout.path("containerd"), "/var/lib/containerd")
    Path("/run/resolv.conf").write_text(f"nameserver {ADDRESS}\n")
    Path("/run/hosts").write_text(f"127.0.0.1 localhost\n{ADDRESS} {NAME}\n")
    _run("mount", "--bind", "/dev/null", "/etc/resolv.conf")  # the machine's server cannot be reached from here
    _run("mount", "--bind", "/run/hosts", "/etc/hosts")
    _run("hostname", NAME)
    for name, value in _KERNEL.items():  # the kubelet finds them as it wants them; the machine's own stay
        own = layout.path(name.replace("/", "-"))
        own.write_text(value)
        _bind(own, f"/proc/sys/{name}")


def _bind(source: Path, target: str) -> None:
    if source.is_dir():
        Path(target).mkdir(parents=True, exist_ok=True)
    _run("mount", "--bind", str(source), target)


def _prepare_cgroups() -> None:
    for controller in _CGROUPS.iterdir():
        if controller.is_dir() and controller.name != "unified":
            (controller / CGROUP).mkdir(exist_ok=True)
    for name in ("cpuset.cpus", "cpuset.mems"):
        parent = _CGROUPS / "cpuset" / name
        if parent.exists():
            (_CGROUPS / "cpuset" / CGROUP / name).write_text(parent.read_text())


def _start_all(layout: Layout) -> None:
    commands = configuration.commands(layout)
    start(layout, "containerd", commands)
    start(layout, "etcd", commands)
    _wait("etcd", lambda: _responds("http://127.0.0.1:2379/health"))
    start(layout, "kube-apiserver", commands)
    _wait("the API server", lambda: _responds(f"https://{ADDRESS}:6443/readyz"))
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns"):
        start(layout, name, commands)
    _wait("containerd", lambda: Path(configuration.CONTAINERD_SOCKET).exists())
    start(layout, "kubelet", commands)


def start(layout: Layout, name: str, commands: dict[str, list[str]]) -> None:
    """Start one of the programs, with its log beneath `logs` and its PID in these namespaces beside it."""
    # containerd takes its shim from the PATH: never that of another containerd on this machine.
    environment = {**os.environ, "PATH": f"{layout.binaries}:{os.environ['PATH']}"}
    with layout.path("logs", f"{name}.log").open("ab") as output:
        process = subprocess.Popen(
            commands[name],
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
    layout.path("logs", f"{name}.pid").write_text(str(process.pid))


def _wait(name: str, is_ready: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > deadline:
            sys.exit(f"{name} is not ready after {seconds:.0f} s")
        time.sleep(0.1)


def _responds(url: str) -> bool:
    try:
        context = ssl._create_unverified_context()  # noqa: S323 - our own server, whose certificate it has just made
        with urllib.request.urlopen(url, timeout=2, context=context) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[0] == "start":  # one program again, after it was killed
        start(Layout.decode(arguments[2]), arguments[1], configuration.commands(Layout.decode(arguments[2])))
    else:
        assert shutil.which("mount"), "mount is needed"
        main(Layout.decode(arguments[0]))
