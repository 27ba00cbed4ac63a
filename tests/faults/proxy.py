"""A proxy for Elasticsearch that corrupts responses after Elasticsearch has completed the requests."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Corruption = Callable[[bytes], bytes | None]
"""Replaces the body of a bulk response; None: the connection is closed without a response."""


def no_response(_: bytes) -> bytes | None:
    """Send no response."""
    return None


def truncated(body: bytes) -> bytes:
    """Send half of the body, with a matching Content-Length."""
    return body[: len(body) // 2]


def malformed(_: bytes) -> bytes:
    """Send JSON that is not a bulk response."""
    return b'{"took":1,"errors":false,"items":"many"}'


def missing_item(body: bytes) -> bytes:
    """Leave out one item."""
    response = json.loads(body)
    response["items"] = response["items"][1:]
    return json.dumps(response, separators=(",", ":")).encode()


def html_page(_: bytes) -> bytes:
    """Send the page of a load balancer, with status 200."""
    return b"<html><body>please wait</body></html>"


class Proxy:
    """Corrupts every `every`th bulk response while `corruption` is set; delays bulk responses by `delay` seconds."""

    def __init__(self, target: str, every: int = 2) -> None:
        self.corruption: Corruption | None = None
        self.cut_connection = False
        self.delay = 0.0
        self.corrupted = 0
        self.bulks = 0
        self._every = every
        self._target = urlsplit(target)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

            def do_GET(self) -> None:
                proxy.forward(self)

            do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The address of the proxy."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """Forward a request, and return its response, corrupted if due."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        connection = http.client.HTTPConnection(self._target.hostname or "", self._target.port or 80, timeout=120)
        try:
            connection.request(request.command, request.path, body, dict(request.headers))
            response = connection.getresponse()
            content, status = response.read(), response.status
            content_type = response.headers.get("Content-Type", "application/json")
            product = response.headers.get("X-Elastic-Product", "Elasticsearch")
        except OSError:
            request.close_connection = True
            return
        finally:
            connection.close()
        sent: bytes | None = content
        content_length = len(content)
        if request.path.startswith("/_bulk"):
            time.sleep(self.delay)
            self.bulks += 1
            if self.bulks % self._every == 0 and (self.corruption or self.cut_connection):
                self.corrupted += 1
                if self.cut_connection:
                    sent = content[: content_length // 2]
                elif self.corruption:
                    sent = self.corruption(content)
                    content_length = len(sent or b"")
        if sent is None:
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in (
            ("Content-Type", content_type),
            ("X-Elastic-Product", product),
            ("Content-Length", content_length),
        ):
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(sent)
        request.close_connection = self.cut_connection

    def close(self) -> None:
        """Stop the proxy."""
        self._server.shutdown()
        self._server.server_close()
