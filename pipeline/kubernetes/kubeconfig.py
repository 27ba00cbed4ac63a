"""Access by a kubeconfig. The official client reads the file: users' plugins, certificates, contexts.

Import this module only where it is used: the official client needs as much memory as half a shipper.
"""

import http.client
import ssl
import threading
from typing import Any
from urllib.parse import urlsplit

from kubernetes import config
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import should_bypass_proxies

from pipeline.errors import KubernetesError
from pipeline.kubernetes.access import trusting


class _NamedConnection(http.client.HTTPSConnection):
    """A TLS connection whose server has another name in its certificate: the kubeconfig's `tls-server-name`."""

    def __init__(self, host: str, port: int, *, timeout: float, context: ssl.SSLContext, name: str) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._tls, self._name = context, name

    def connect(self) -> None:
        """Connect, through the tunnel if there is one, and verify the other name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


class Kubeconfig:
    """A context of a kubeconfig, by default the current one; `path` may name several files, as KUBECONFIG does."""

    def __init__(self, path: str, context: str = "") -> None:
        self._configuration = configuration = Configuration()
        self._renewal = threading.Lock()  # a plugin that gets a new token runs once
        try:
            config.load_kube_config(path, context or None, client_configuration=configuration)
            self._tls = _tls_context(configuration)
            parts = urlsplit(str(configuration.host))
            self._secure, self._host = parts.scheme == "https", parts.hostname or ""
            self._port = parts.port or (443 if self._secure else 80)
        except Exception as error:  # the official client raises what its parsers and plugins raise
            raise KubernetesError(f"cannot use the kubeconfig {path}: {error}") from error
        self.url = str(configuration.host).rstrip("/")
        self.base_path = parts.path.rstrip("/")

    def open(self, timeout: float) -> http.client.HTTPConnection:
        """Return a connection, through the kubeconfig's or the environment's proxy if there is one."""
        proxy = self._proxy()
        host, port = (proxy.hostname or "", proxy.port or 80) if proxy else (self._host, self._port)
        if self._secure:
            name = str(self._configuration.tls_server_name or self._host)
            connection: http.client.HTTPConnection = _NamedConnection(
                host, port, timeout=timeout, context=self._tls, name=name
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=timeout)
        if proxy:
            connection.set_tunnel(self._host, self._port, headers=self._configuration.proxy_headers or {})
        return connection

    def _proxy(self) -> Any:
        """Return the proxy's URL in parts; None if there is none. Raises KubernetesError."""
        url = self._configuration.proxy
        if not url or should_bypass_proxies(self.url, self._configuration.no_proxy or ""):
            return None
        parts = urlsplit(url)
        if parts.scheme != "http":
            raise KubernetesError(f"the proxy of {self.url} is no http:// proxy: {parts.scheme}:// is not supported")
        return parts

    def authorization(self) -> str:
        """Return the current header; the official client renews tokens of plugins."""
        try:
            with self._renewal:
                return str(self._configuration.get_api_key_with_prefix("BearerToken") or "").strip()
        except Exception as error:  # as above
            raise KubernetesError(f"cannot renew the credentials for {self.url}: {error}") from error


def _tls_context(configuration: Any) -> ssl.SSLContext:
    context = trusting(configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
