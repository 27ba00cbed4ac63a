"""How to reach an API server, and with which credentials: a pod's service account, or a kubeconfig."""

import http.client
import os
import ssl
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pipeline.errors import KubernetesError

SERVICE_ACCOUNT_DIRECTORY = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ApiAccess(Protocol):
    """The address of an API server, and credentials for it."""

    @property
    def url(self) -> str:
        """The address for messages."""

    @property
    def base_path(self) -> str:
        """The path before `/api`; usually empty."""

    def open(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection that is not connected yet. Raises KubernetesError."""

    def authorization(self) -> str:
        """Return the current value of the Authorization header; empty: none. Raises KubernetesError."""


class ServiceAccount:
    """The service account of this pod. The kubelet rotates the token: it is read for every request."""

    base_path = ""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._host = environ.get("KUBERNETES_SERVICE_HOST", "").strip("[]")
        port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
        if not self._host or not port.isdecimal():
            raise KubernetesError(f"not in a pod: KUBERNETES_SERVICE_HOST is {self._host!r}, its port {port!r}")
        self._port = int(port)

    @property
    def url(self) -> str:
        """The address for messages."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"https://{host}:{self._port}"

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        path = SERVICE_ACCOUNT_DIRECTORY / "ca.crt"
        try:
            return trusting(str(path))
        except (OSError, ssl.SSLError) as error:
            raise KubernetesError(f"cannot load the cluster's CA {path}: {error}") from error

    def open(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection, never through a proxy: the API server is in the cluster's network."""
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)

    def authorization(self) -> str:
        """Return the current token's header."""
        path = SERVICE_ACCOUNT_DIRECTORY / "token"
        try:
            token = path.read_text().strip()
        except (OSError, ValueError) as error:
            raise KubernetesError(f"cannot read the service account's token: {error}") from error
        if not token:
            raise KubernetesError(f"the service account's token {path} is empty")
        return f"Bearer {token}"


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS context that trusts a CA file; None: the system's CAs. Raises OSError."""
    context = ssl.create_default_context(cafile=ca_file)
    # Python 3.13 rejects CAs without Authority Key Identifier by default. Many clusters have one, and Go accepts it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def find_access(kubeconfig: str, environ: Mapping[str, str] = os.environ, *, context: str = "") -> ApiAccess:
    """Return an operator's access: `kubeconfig`, else KUBECONFIG, else this pod's service account, else ~/.kube/config.

    `context`: of the kubeconfig, instead of its current one; then the service account is not used. Raises
    KubernetesError.
    """
    path = kubeconfig or environ.get("KUBECONFIG", "")
    in_pod = environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT_DIRECTORY / "token").exists()
    if in_pod and not path and not context:
        return ServiceAccount(environ)
    from pipeline.kubernetes.kubeconfig import Kubeconfig  # imported here: not needed in a pod

    return Kubeconfig(path or str(Path("~/.kube/config").expanduser()), context)
