"""A proxy before Elasticsearch that spoils answers after Elasticsearch has done what was asked."""

import http.client
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Corruption = Callable[[bytes], bytes | None]
"""What is answered instead of a bulk's answer; None: the connection is closed without one."""


def no_response(_: bytes) -> bytes | None:
    """No answer at all."""
    return None


def truncated(answer: bytes) -> bytes:
    """Half of it, as if that were all."""
    return answer[: len(answer) // 2]


def malformed(_: bytes) -> bytes:
    """JSON that is no answer to a bulk request."""
    return b'{"took":1,"errors":false,"items":"many"}'


def missing_item(answer: bytes) -> bytes:
    """One item too few."""
    body = json.loads(answer)
    body["items"] = body["items"][1:]
    return json.dumps(body, separators=(",", ":")).encode()


def html_page(_: bytes) -> bytes:
    """What a load balancer says, with status 200."""
    return b"<html><body>please wait</body></html>"


class Proxy:
    """Spoils every `every`th bulk while `spoil` is set; `delay` in seconds before each answer of a bulk."""

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
                """The test says what matters."""

            def do_GET(self) -> None:
                proxy.forward(self)

            do_POST = do_PUT = do_HEAD = do_DELETE = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """One request there, and its answer, or what is made of it, back."""
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        there = http.client.HTTPConnection(self._target.hostname or "", self._target.port or 80, timeout=120)
        try:
            there.request(request.command, request.path, body, dict(request.headers))
            found = there.getresponse()
            answer, status = found.read(), found.status
            kind = found.headers.get("Content-Type", "application/json")
            product = found.headers.get("X-Elastic-Product", "Elasticsearch")
        except OSError:
            request.close_connection = True
            return
        finally:
            there.close()
        sent: bytes | None = answer
        announced = len(answer)
        if request.path.startswith("/_bulk"):
            time.sleep(self.delay)
            self.bulks += 1
            if self.bulks % self._every == 0 and (self.corruption or self.cut_connection):
                self.corrupted += 1
                sent = (
                    answer[: announced // 2]
                    if self.cut_connection
                    else self.corruption(answer)
                    if self.corruption
                    else answer
                )
                announced = announced if self.cut_connection else len(sent or b"")
        if sent is None:
            request.close_connection = True
            return
        request.send_response(status)
        for name, value in (("Content-Type", kind), ("X-Elastic-Product", product), ("Content-Length", announced)):
            request.send_header(name, str(value))
        request.end_headers()
        request.wfile.write(sent)
        request.close_connection = self.cut_connection

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
