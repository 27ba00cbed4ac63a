"""The endpoint of a part: what it answers, what it refuses, and that nobody can hold it up."""

import http.client
import socket
import time
from collections.abc import Iterator

import pytest

from pipeline.local.process import free_ports
from pipeline.monitoring import http_server
from pipeline.monitoring.http_server import Response, StatusServer
from pipeline.monitoring.metrics import WORKER, Metrics


@pytest.fixture
def port() -> Iterator[int]:
    (number,) = free_ports(1)
    made = StatusServer(
        Metrics(WORKER),
        alive=lambda: "",
        ready=lambda: "no partitions yet",
        status=lambda: {"kind": "worker"},
        page=lambda facts, query: Response(
            "200 OK", "text/html", f"{facts['kind']} {query}".encode(), "default-src 'none'"
        ),
    )
    assert made.start("127.0.0.1", number) == number
    yield number
    made.stop()


def send_request(port: int, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body


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
def test_each_page_is_answered(port: int, path: str, status: int, body: bytes) -> None:
    assert send_request(port, path)[::2] == (status, body)


def test_every_answer_says_what_a_browser_may_do_with_it(port: int) -> None:
    for path in ("/", "/status.json", "/metrics", "/livez", "/nothing"):
        _, headers, _ = send_request(port, path)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in headers["content-security-policy"]


def test_head_has_the_length_and_no_body(port: int) -> None:
    status, headers, body = send_request(port, "/status.json", "HEAD")

    assert (status, headers["content-length"], body) == (200, "17", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_it_is_read_only(port: int, method: str) -> None:
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
def test_what_is_no_request_of_ours_is_refused(port: int, request_: bytes, status: bytes) -> None:
    assert send_bytes(port, request_).split(b" ")[1] == status


def test_clients_that_say_nothing_hold_nobody_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CLIENT_TIMEOUT_SECONDS", 1.0)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(http_server.MAX_CLIENTS - 1)]
    began = time.monotonic()
    for client in idle:
        client.sendall(b"GET / HT")

    assert send_request(port, "/livez")[0] == 200
    assert time.monotonic() - began < 1.0
    assert idle[0].recv(10) == b""  # dropped after its time
    for client in idle:
        client.close()


def test_beyond_the_limit_a_client_is_dropped_and_room_comes_back(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "CLIENT_TIMEOUT_SECONDS", 1.0)
    idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(http_server.MAX_CLIENTS)]
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one_more:
        assert one_more.recv(10) == b""
    for client in idle:
        assert client.recv(10) == b""
        client.close()

    assert send_request(port, "/livez")[0] == 200


def test_a_page_that_cannot_be_made_is_told_and_the_next_one_comes() -> None:
    (number,) = free_ports(1)
    faults = iter([RuntimeError("no such key"), None])

    def status() -> dict[str, str]:
        fault = next(faults)
        if fault:
            raise fault
        return {}

    made = StatusServer(
        Metrics(WORKER), lambda: "", lambda: "", status, lambda *_: Response("200 OK", "text/html", b"")
    )
    made.start("127.0.0.1", number)
    try:
        assert send_request(number, "/status.json")[::2] == (500, b"RuntimeError\n")
        assert send_request(number, "/status.json")[0] == 200
    finally:
        made.stop()


def test_a_port_that_is_taken_is_told_and_stops_nothing(port: int) -> None:
    made = StatusServer(Metrics(WORKER), lambda: "", lambda: "", dict, lambda *_: Response("200 OK", "text/html", b""))

    assert made.start("127.0.0.1", port) == 0
