"""The HTTP endpoint: responses, invalid requests, and slow clients."""

import errno
import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.config.settings import Settings
from pipeline.local.process import free_ports
from pipeline.monitoring import http_server
from pipeline.monitoring.http_server import Response, StatusServer
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics


@pytest.fixture
def port() -> Iterator[int]:
    (number,) = free_ports(1)
    server = StatusServer(
        Metrics(WORKER),
        alive=lambda: "",
        ready=lambda: "no partitions yet",
        status=lambda: {"kind": "worker"},
        page=lambda status, query: Response(
            "200 OK", "text/html", f"{status['kind']} {query}".encode(), "default-src 'none'"
        ),
    )
    assert server.start("127.0.0.1", number) == number
    yield number
    server.stop()


def send_request(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, body


def send_bytes(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(request)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/", 200, b"worker "),
        ("/?refresh=0", 200, b"worker refresh=0"),
        ("/status.json", 200, b'{"kind":"worker"}'),
        ("/livez", 200, b"ok\n"),
        ("/readyz", 503, b"no partitions yet\n"),
        ("/../etc/passwd", 404, b"try /, /livez, /readyz, /metrics, /status.json\n"),
    ],
)
def test_path_returns_its_page(port: int, path: str, status: int, body: bytes) -> None:
    assert send_request(port, path)[::2] == (status, body)


def test_every_response_has_security_headers(port: int) -> None:
    for path in ("/", "/status.json", "/metrics", "/livez", "/nothing"):
        _, headers, _ = send_request(port, path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_head_returns_length_without_body(port: int) -> None:
    status, headers, body = send_request(port, "/status.json", "HEAD")

    assert (status, headers["content-length"], body) == (200, "17", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_rejected(port: int, method: str) -> None:
    status, headers, _ = send_request(port, "/", method)

    assert (status, headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n", b"431"),
        (b"hello\r\n\r\n", b"400"),
        (b"\xff\xfe\x00 / HTTP/1.1\r\n\r\n", b"405"),
        (b"GET /\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_invalid_request_is_rejected(port: int, request_: bytes, status: bytes) -> None:
    assert send_bytes(port, request_).split(b" ")[1] == status


def test_idle_clients_do_not_block_others(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CLIENT_TIMEOUT_SECONDS", 2.0)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(http_server.MAX_CLIENTS - 1)]
    start = time.monotonic()
    for client in idle:
        client.sendall(b"GET / HT")

    assert send_request(port, "/livez")[0] == 200
    assert time.monotonic() - start < 2.0
    assert idle[0].recv(10) == b""  # dropped after the timeout
    for client in idle:
        client.close()


def test_probe_is_answered_beside_more_idle_clients_than_the_limit(port: int) -> None:
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2 * http_server.MAX_CLIENTS)]
    start = time.monotonic()

    for path in ("/livez", "/readyz", "/livez"):
        assert send_request(port, path)[0] in {200, 503}
    assert time.monotonic() - start < http_server.FIRST_BYTE_TIMEOUT_SECONDS
    for client in idle:
        client.close()


def test_client_of_another_address_keeps_its_place_beside_a_flood(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=5, source_address=("127.0.0.2", 0)) as slow:
        slow.sendall(b"GET /livez HT")
        flood = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(2 * http_server.MAX_CLIENTS)]
        assert flood[0].recv(10) == b""  # dropped for the newest

        slow.sendall(b"TP/1.1\r\n\r\n")

        assert slow.recv(12) == b"HTTP/1.1 200"
    for client in flood:
        client.close()


def test_client_that_sends_nothing_is_dropped(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "FIRST_BYTE_TIMEOUT_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", port), timeout=4) as client:
        assert client.recv(10) == b""


def test_error_in_a_page_returns_500_and_the_server_continues() -> None:
    (number,) = free_ports(1)
    errors = iter([RuntimeError("no such key"), None])

    def status() -> dict[str, str]:
        error = next(errors)
        if error:
            raise error
        return {}

    server = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", status, lambda *_: Response("200 OK", "text/html", b"")
    )
    server.start("127.0.0.1", number)
    try:
        assert send_request(number, "/status.json")[::2] == (500, b"RuntimeError\n")
        assert send_request(number, "/status.json")[0] == 200
    finally:
        server.stop()


def test_port_in_use_does_not_stop_the_process(port: int) -> None:
    server = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", dict, lambda *_: Response("200 OK", "text/html", b"")
    )

    assert server.start("127.0.0.1", port) == 0


@pytest.mark.parametrize(("host", "number"), [("127.0.0.1", 99999), ("::", 99999), ("::", -1), ("a..b", 9000)])
def test_address_that_cannot_be_used_does_not_stop_the_process(host: str, number: int) -> None:
    server = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", dict, lambda *_: Response("200 OK", "text/html", b"")
    )

    assert server.start(host, number) == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_default_host_serves_ipv4_and_ipv6(address: str) -> None:
    if address == "::1" and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    (number,) = free_ports(1)
    server = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", dict, lambda *_: Response("200 OK", "text/html", b"")
    )
    assert server.start(Settings().status_host, number) == number
    try:
        connection = http.client.HTTPConnection(address, number, timeout=5)
        connection.request("GET", "/livez")
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        server.stop()


def test_default_host_serves_ipv4_where_there_is_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    (number,) = free_ports(1)
    create_server = socket.create_server

    def create_ipv4_server(
        address: tuple[str, int], *, family: int = socket.AF_INET, dualstack_ipv6: bool = False
    ) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create_server(address, family=family, dualstack_ipv6=dualstack_ipv6)

    monkeypatch.setattr(socket, "create_server", create_ipv4_server)
    server = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", dict, lambda *_: Response("200 OK", "text/html", b"")
    )
    assert server.start("::", number) == number
    try:
        assert send_request(number, "/livez")[0] == 200
    finally:
        server.stop()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
