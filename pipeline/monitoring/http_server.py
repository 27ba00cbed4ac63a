"""The HTTP endpoint of a process: `/`, `/status.json`, `/metrics`, `/livez`, `/readyz`.

It runs in a thread with its own event loop and only reads plain values that the main loop has set; it never waits for
the main loop, so it responds even if that hangs. Read-only: GET and HEAD. Slow clients and large requests are dropped;
a new client beyond the limit takes the place of an older one, so that idle clients keep no probe waiting.
"""

import asyncio
import errno
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

import orjson

from pipeline.monitoring.metrics import Metrics

MAX_CLIENTS = 32
MAX_REQUEST_BYTES = 8192
FIRST_BYTE_TIMEOUT_SECONDS = 2.0
CLIENT_TIMEOUT_SECONDS = 5.0
START_TIMEOUT_SECONDS = 5.0
MAX_PORT = 65535
ALL_ADDRESSES = "::"
"""Listen on every address, IPv6 and IPv4."""
_HEADERS = (
    "Cache-Control: no-store",
    "X-Content-Type-Options: nosniff",
    "X-Frame-Options: DENY",
    "Referrer-Policy: no-referrer",
    "Cross-Origin-Resource-Policy: same-origin",
    "Connection: close",
)
_DENY_ALL = "default-src 'none'; frame-ancestors 'none'"

log = logging.getLogger(__name__)

HealthCheck = Callable[[], str]
"""Returns why the process is not alive or not ready; empty if it is."""

Status = TypeVar("Status")


class Response(NamedTuple):
    """An HTTP response: status line, media type, body, and Content-Security-Policy."""

    status: str
    content_type: str
    body: bytes
    content_security_policy: str = _DENY_ALL

    def encode(self, *, head: bool) -> bytes:
        """The bytes; without body for HEAD."""
        headers = (
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            f"Content-Security-Policy: {self.content_security_policy}",
        )
        allow = ("Allow: GET, HEAD",) if self.status.startswith("405") else ()
        lines = (f"HTTP/1.1 {self.status}", *headers, *allow, *_HEADERS, "", "")
        return "\r\n".join(lines).encode() + (b"" if head else self.body)


Route = Callable[[str], Response]
"""Responds to a request with this query."""


class HttpServer:
    """Serves what `find` returns for a path; 404 for None, with the `routes` to try."""

    def __init__(self, find: Callable[[str], Route | None], routes: Iterable[str] = ()) -> None:
        self._find = find
        self._routes = tuple(routes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._clients: dict[asyncio.StreamWriter, str] = {}  # the address of each, the oldest client first

    def start(self, host: str, port: int) -> int:
        """Listen, unless the port is 0; returns the port, 0 if nothing can listen there: that is only logged."""
        if not port:
            return 0
        bound: list[int] = []
        ready = threading.Event()
        threading.Thread(
            target=lambda: asyncio.run(self._run(host, port, bound, ready)), name="status-server", daemon=True
        ).start()
        if not ready.wait(START_TIMEOUT_SECONDS):
            log.error("status and metrics are not served yet: %s has not been resolved", host)
        return bound[0] if bound else 0

    async def _run(self, host: str, port: int, bound: list[int], ready: threading.Event) -> None:
        try:
            server = await self._listen(host, port)
        except (OSError, ValueError) as error:
            log.error("status and metrics cannot be served on port %d of %s: %s", port, host, error)
            ready.set()
            return
        self._loop = asyncio.get_running_loop()
        bound.append(server.sockets[0].getsockname()[1])
        ready.set()
        async with server:
            await self._stopping.wait()

    async def _listen(self, host: str, port: int) -> asyncio.Server:
        if not 0 < port <= MAX_PORT:
            raise ValueError(f"a port is a number from 1 to {MAX_PORT}")
        if host != ALL_ADDRESSES:
            return await asyncio.start_server(
                self._handle_client, host, port, limit=MAX_REQUEST_BYTES, backlog=MAX_CLIENTS
            )
        return await asyncio.start_server(
            self._handle_client, sock=_listen_on_all(port), limit=MAX_REQUEST_BYTES, backlog=MAX_CLIENTS
        )

    def stop(self) -> None:
        """Stop listening."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    async def _handle_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request and its response. Slow clients are dropped."""
        if len(self._clients) >= MAX_CLIENTS:
            self._drop_client()
        self._clients[writer] = str((writer.get_extra_info("peername") or [""])[0])
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT_SECONDS):
                writer.write(await self._respond(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError):
            log.debug("a client of the status page disconnected or was too slow")
        finally:
            self._clients.pop(writer, None)
            writer.transport.abort()

    def _drop_client(self) -> None:
        """Drop the oldest client of the address that has most of them."""
        busiest = Counter(self._clients.values()).most_common(1)[0][0]
        dropped = next(writer for writer, address in self._clients.items() if address == busiest)
        del self._clients[dropped]
        dropped.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(FIRST_BYTE_TIMEOUT_SECONDS):
                first = await reader.readexactly(1)
            request = first + await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return Response("431 Request Header Fields Too Large", "text/plain", b"too much\n").encode(head=False)
        except asyncio.IncompleteReadError:
            return b""
        parts = request.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
            return Response("400 Bad Request", "text/plain", b"no HTTP request\n").encode(head=False)
        method, target, _ = parts
        if method not in {"GET", "HEAD"}:
            return Response("405 Method Not Allowed", "text/plain", b"GET or HEAD\n").encode(head=False)
        return self._render(target).encode(head=method == "HEAD")

    def _render(self, target: str) -> Response:
        path, _, query = target.partition("?")
        page = self._find(path)
        if page is None:
            return Response("404 Not Found", "text/plain", ("try " + ", ".join(self._routes) + "\n").encode())
        try:
            return page(query)
        except Exception as error:  # an error in one page must not end the thread
            log.exception("cannot render the page %s", path)
            return Response("500 Internal Server Error", "text/plain", f"{type(error).__name__}\n".encode())


class StatusServer(HttpServer):
    """The endpoint of one process. `page` renders the status, with the query, as the response to `/`."""

    def __init__(
        self,
        metrics: Metrics,
        alive: HealthCheck,
        ready: HealthCheck,
        status: Callable[[], Status],
        page: Callable[[Status, str], Response],
    ) -> None:
        routes: dict[str, Route] = {
            "/": lambda query: page(status(), query),
            "/livez": lambda _: health_response(alive()),
            "/readyz": lambda _: health_response(ready()),
            "/metrics": lambda _: Response("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics.exposition()),
            "/status.json": lambda _: Response("200 OK", "application/json", orjson.dumps(status())),
        }
        super().__init__(routes.get, routes)


def _listen_on_all(port: int) -> socket.socket:
    """Return a socket for IPv6 and IPv4; for IPv4 alone on a machine without IPv6. Raises OSError."""
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPERM}:
            raise
    return socket.create_server(("", port))


def health_response(problem: str) -> Response:
    """200 without a problem, else 503 with it."""
    if problem:
        return Response("503 Service Unavailable", "text/plain; charset=utf-8", f"{problem}\n".encode())
    return Response("200 OK", "text/plain; charset=utf-8", b"ok\n")
