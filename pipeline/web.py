"""What a part tells over HTTP: `/livez`, `/readyz`, `/metrics`, `/status.json`. A thread beside the event loop.

The thread only reads plain values that the loop has set; it never waits for the loop, so it answers when that hangs.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson

from pipeline.metrics import Metrics

log = logging.getLogger(__name__)

Trouble = Callable[[], str]
"""Why it is not alive, or not ready; empty when it is."""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Requests of probes are no news."""


class Web:
    """The endpoint of one process."""

    def __init__(self, metrics: Metrics, alive: Trouble, ready: Trouble, status: Callable[[], dict[str, Any]]) -> None:
        self._metrics = metrics
        self._pages: dict[str, Callable[[], tuple[str, str, bytes]]] = {
            "/livez": lambda: _health(alive()),
            "/readyz": lambda: _health(ready()),
            "/metrics": lambda: ("200 OK", "text/plain; version=0.0.4; charset=utf-8", self._metrics.page()),
            "/status.json": lambda: ("200 OK", "application/json", orjson.dumps(status())),
        }
        self._server: WSGIServer | None = None

    def start(self, host: str, port: int) -> int:
        """Listen, unless the port is 0; returns the port. A port that is taken is told, and nothing else stops."""
        if not port:
            return 0
        try:
            self._server = make_server(host, port, self._answer, handler_class=_Quiet)
        except OSError as fault:
            log.error("status and metrics cannot be served on %s:%d: %s", host, port, fault)
            return 0
        threading.Thread(target=self._server.serve_forever, name="web", daemon=True).start()
        return self._server.server_port

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _answer(self, request: dict[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
        page = self._pages.get(request.get("PATH_INFO", ""))
        if page is None:
            code, kind, body = "404 Not Found", "text/plain", ("try " + ", ".join(self._pages) + "\n").encode()
        else:
            code, kind, body = page()
        start(code, [("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")])
        return [body]


def _health(trouble: str) -> tuple[str, str, bytes]:
    if trouble:
        return "503 Service Unavailable", "text/plain; charset=utf-8", f"{trouble}\n".encode()
    return "200 OK", "text/plain; charset=utf-8", b"ok\n"
