"""A real Kubernetes API server with etcd, built once from Go modules and cached, started as child processes."""

import json
import shutil
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pipeline.local.process import ServerProcess, free_ports
from tests.k8s.binaries import binary

TOKEN = "test-token"  # noqa: S105 - of a server that only the test speaks to


class ApiServer:
    """A running API server; `ask` and `kubectl` speak to it as an administrator, `kubeconfig` lets others do so."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._etcd_port, self._peer_port, self.port = free_ports(3)
        self.server: ServerProcess

    def start(self) -> None:
        """Start etcd and the server and wait until it is ready."""
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        command = [
            *(str(binary("etcd")), "--data-dir", str(self.directory / "etcd")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}", "--unsafe-no-fsync"),
        ]
        self._etcd = ServerProcess("etcd", command, self.directory)
        self._etcd.wait(lambda: _answers(f"{client}/health"), 30)
        key = self.directory / "sa.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        (self.directory / "tokens.csv").write_text(f'{TOKEN},admin,admin-uid,"system:masters"\n')
        self.start_server()

    def start_server(self) -> None:
        """Start the API server alone, again after a kill."""
        key = str(self.directory / "sa.key")
        command = [
            str(binary("kube-apiserver")),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={self.port}"),
            *(f"--cert-dir={self.directory}", f"--service-account-key-file={key}"),
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            *("--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24"),
            *("--disable-admission-plugins=ServiceAccount", "--enable-priority-and-fairness=false"),
        ]
        self.server = ServerProcess("kube-apiserver", command, self.directory)
        self.server.wait(lambda: _answers(f"https://127.0.0.1:{self.port}/readyz"), 60)

    def etcd(self, verb: str, body: dict[str, Any]) -> Any:
        """A request to etcd's JSON gateway, past the API server: `kv/deleterange`, `kv/compaction`."""
        url = f"http://127.0.0.1:{self._etcd_port}/v3/{verb}"
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode()), timeout=10) as answer:
            return json.load(answer)

    def stop(self) -> None:
        """End both."""
        self.server.kill()
        self._etcd.kill()

    def kubeconfig(self, name: str = "kubeconfig", port: int = 0, **user: str) -> Path:
        """A file that the official client reads: for the administrator, or `user` with a token or tokenFile."""
        path = self.directory / name
        authority = str(self.directory / "apiserver.crt")
        cluster = {"server": f"https://127.0.0.1:{port or self.port}", "certificate-authority": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user or {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, kind: str = "application/json") -> Any:
        """A request as an administrator. Raises urllib.error.HTTPError."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": kind},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10, context=_unverified()) as answer:
            return json.load(answer)

    def kubectl(self, *arguments: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl; raises AssertionError with what it said when it fails."""
        command = ["kubectl", f"--kubeconfig={self.kubeconfig()}", *arguments]
        ended = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=120)
        assert not (check and ended.returncode), f"{arguments}: {ended.stderr}"
        return ended

    def apply(self, objects: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
        """Apply objects on the server, every field checked."""
        given = yaml.safe_dump_all(objects)
        return self.kubectl("apply", "--server-side", "--validate=strict", *options, "-f", "-", given=given)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


Server = TypeVar("Server", bound=ApiServer)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(
            url, timeout=2, context=_unverified() if url.startswith("https") else None
        ) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


@contextmanager
def running(kind: type[Server]) -> Iterator[Server]:
    """A server of that kind in a directory of its own, gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="crisp-kubernetes-"))
    made = kind(directory)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(directory, ignore_errors=True)
