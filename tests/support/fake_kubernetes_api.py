"""A small API server over TLS: lists, watches, the pod proxy, and the errors that a test orders. No control plane.

What it does is what the API's documentation says of these requests; `tests/k8s` tries the same on a real one.
"""

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

APPS = {"daemonsets": "DaemonSet", "deployments": "Deployment"}


class KubernetesApi:
    """The state of the server, which the test changes."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.directory, self.host = directory, host
        self.tokens = {"token-1"}
        self.pods: dict[str, Object] = {}  # by uid
        self.apps: dict[str, list[Object]] = {"daemonsets": [], "deployments": []}
        self.statuses: dict[str, Any] = {}  # NAMESPACE/POD:PORT -> status, or (code, message)
        self.responses: list[tuple[int, dict[str, str], bytes]] = []  # the next ones, whatever is requested
        self.forbidden: set[str] = set()  # "pods", "pods/proxy", "daemonsets", "deployments", "cluster"
        self.expired = 0  # resourceVersions up to this one are gone
        self.hanging = threading.Event()  # no events are sent, connections stay open
        self.stalled = threading.Event()  # watches get no response, not even headers
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.changed = threading.Condition()
        self.version = 100
        self.generation = 0  # of watches
        self.events: list[tuple[int, Object]] = []
        self._create_certificate()
        self.server = _Server((host, 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = int(self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def _create_certificate(self) -> None:
        if not (self.directory / "tls.crt").exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            command += ["-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=kubernetes"]
            command += ["-addext", "subjectAltName=IP:127.0.0.1,IP:::1,DNS:kubernetes.default.svc"]
            subprocess.run(command, cwd=self.directory, check=True, capture_output=True)

    def close(self) -> None:
        """Stop; watches end."""
        self.hanging.clear()
        self.stalled.clear()
        self.end_watches()
        self.server.shutdown()
        self.server.server_close()

    def service_account(self, token: str = "token-1") -> Path:  # noqa: S107 - of this server only
        """Write a service account's directory; return it."""
        (self.directory / "token").write_text(token)
        (self.directory / "ca.crt").write_bytes((self.directory / "tls.crt").read_bytes())
        return self.directory

    def kubeconfig(self, **cluster: Any) -> Path:
        """Write a kubeconfig whose token is the service account's file; return its path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        url = f"https://{host}:{self.port}"
        users = [{"name": "test", "user": {"tokenFile": str(self.service_account() / "token")}}]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [
                {"name": "test", "cluster": {"server": url, "certificate-authority": "tls.crt", **cluster}},
            ],
            "users": users,
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        path = self.directory / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def put(self, pod: Object, event: str = "ADDED") -> None:
        """Add, change or delete a pod, and send the event to all watches."""
        with self.changed:
            self.version += 1
            pod = {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self.version)}}
            uid = pod["metadata"]["uid"]
            if event == "DELETED":
                self.pods.pop(uid, None)
            else:
                self.pods[uid] = pod
            self.events.append((self.version, {"type": event, "object": pod}))
            self.changed.notify_all()

    def bookmark(self) -> None:
        """Send a bookmark."""
        with self.changed:
            self.version += 1
            metadata = {"metadata": {"resourceVersion": str(self.version)}}
            self.events.append((self.version, {"type": "BOOKMARK", "object": metadata}))
            self.changed.notify_all()

    def compact(self) -> None:
        """Forget the history: watches from before are Gone."""
        self.expired = self.version

    def send_error(self, code: int) -> None:
        """Send an ERROR event to all watches."""
        with self.changed:
            self.version += 1
            status = {"kind": "Status", "code": code, "message": "an error within the watch"}
            self.events.append((self.version, {"type": "ERROR", "object": status}))
            self.changed.notify_all()

    def end_watches(self) -> None:
        """End the current watches as the server does after timeoutSeconds; hanging ones without what is unsent."""
        with self.changed:
            self.generation += 1
            self.changed.notify_all()


def make_pod(name: str, node: str = "node-1", namespace: str = "shop", **labels: str) -> Object:
    """A minimal pod."""
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": f"uid-{name}", "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "app", "image": "shop/app:1.2"}]},
        "status": {"phase": "Running"},
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients of these tests end connections at will."""


def _handler(api: KubernetesApi) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        state = api

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: KubernetesApi

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the tests look at `requests`."""

    def do_GET(self) -> None:
        """Respond to one request."""
        api, parts = self.state, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        # Before the request is seen: a test that has seen it may end the watches at once.
        self.generation = api.generation
        api.requests.append(self.path)
        api.headers.append(dict(self.headers))
        if api.responses:
            code, headers, body = api.responses.pop(0)
            self._send(code, body, headers)
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in api.tokens:
            self._status(401, "Unauthorized")
        elif parts.path == "/version":
            self._send(200, json.dumps({"gitVersion": "v1.36.3"}).encode())
        else:
            self._resource(parts.path.strip("/").split("/"), query)

    def _resource(self, path: list[str], query: dict[str, str]) -> None:
        group = path[2:] if path[0] == "api" else path[3:]
        namespace = ""
        if group[0] == "namespaces":
            namespace, group = group[1], group[2:]
        resource = group[0] + ("/proxy" if group[2:3] == ["proxy"] else "")
        if resource in self.state.forbidden or (not namespace and "cluster" in self.state.forbidden):
            where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
            self._status(403, f'{resource} is forbidden: User "test" cannot list resource "{resource}" {where}')
        elif resource == "pods/proxy":
            self._proxy(f"{namespace}/{group[1]}", group[3:])
        elif resource in APPS:
            self._list(self.state.apps[resource], namespace, query)
        elif query.get("watch") == "true":
            self._watch(query)
        else:
            self._list(list(self.state.pods.values()), namespace, query)

    def _proxy(self, target: str, rest: list[str]) -> None:
        status = self.state.statuses.get(target)
        if rest != ["status.json"] or status is None:
            self._status(404, f'pods "{target}" not found')
        elif isinstance(status, tuple):
            self._status(*status)
        else:
            self._send(200, json.dumps(status).encode())

    def _list(self, objects: list[Object], namespace: str, query: dict[str, str]) -> None:
        chosen = [
            entry for entry in objects if namespace in {"", entry["metadata"]["namespace"]} and _matches(entry, query)
        ]
        start, limit = int(query.get("continue") or 0), int(query.get("limit") or len(chosen) or 1)
        metadata = {"resourceVersion": str(self.state.version)}
        if start + limit < len(chosen):
            metadata["continue"] = str(start + limit)
        page = {"metadata": metadata, "items": chosen[start : start + limit]}
        self._send(200, json.dumps(page).encode())

    def _watch(self, query: dict[str, str]) -> None:
        api, version = self.state, int(query["resourceVersion"])
        if version < api.expired:
            self._status(410, "too old resource version")
            return
        while api.stalled.is_set():
            time.sleep(0.05)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        position = sum(number <= version for number, _ in api.events)
        while True:
            events = []
            if not api.hanging.is_set():
                events, position = api.events[position:], len(api.events)
            for _, event in events:
                if event["type"] in {"BOOKMARK", "ERROR"} or _matches(event["object"], query):
                    line = json.dumps(event).encode() + b"\n"
                    self._chunk(line[: len(line) // 2])  # a line may come in any pieces
                    self._chunk(line[len(line) // 2 :])
            if self.generation != api.generation and (api.hanging.is_set() or position >= len(api.events)):
                self._chunk(b"")
                return
            with api.changed:
                api.changed.wait(0.05)

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _status(self, code: int, message: str) -> None:
        status = {"kind": "Status", "status": "Failure", "message": message, "code": code}
        self._send(code, json.dumps(status).encode())

    def _send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _matches(entry: Object, query: dict[str, str]) -> bool:
    """Whether an object has the labels and fields of the query's selectors; those forms that crisp uses."""
    node = query.get("fieldSelector", "").removeprefix("spec.nodeName=")
    if node and entry.get("spec", {}).get("nodeName") != node:
        return False
    key, _, values = query.get("labelSelector", "").partition(" in ")
    return not key or entry["metadata"].get("labels", {}).get(key) in values.strip("()").replace(" ", "").split(",")


@contextlib.contextmanager
def running(directory: Path, host: str = "127.0.0.1") -> Iterator[KubernetesApi]:
    """A server for the duration of a test."""
    api = KubernetesApi(directory, host)
    try:
        yield api
    finally:
        api.close()
