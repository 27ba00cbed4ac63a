"""Responses of any server: no redirect is followed, no response is larger than its bound, none is trusted blindly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from pipeline.config.environment import load_settings
from pipeline.elasticsearch import client, requests
from pipeline.elasticsearch.nodes import bounded_node
from pipeline.elasticsearch.requests import Response

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-elastic-product: Elasticsearch\r\n"


class RawServer:
    """Sends the same bytes for each request, `endless` spaces after them; counts the requests."""

    def __init__(self, response: bytes, *, endless: bool = False) -> None:
        self._response = response
        self._endless = endless
        self.requests = 0
        self.sent = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["RawServer"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                writer.write(self._response)
                await writer.drain()
                while self._endless:
                    writer.write(b" " * 65536)
                    await writer.drain()
                    self.sent += 65536
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has closed the connection
        finally:
            writer.close()


async def ask(server: RawServer) -> Response:
    elasticsearch = client.connect(load_settings({"CRISP_ES_URLS": server.url}))
    try:
        return await requests.request(elasticsearch, "POST", "/_bulk", b"{}\n")
    finally:
        await elasticsearch.close()


def with_length(body: bytes) -> bytes:
    return JSON_HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_error_and_nothing_is_sent_to_its_target(status: int) -> None:
    async with RawServer(with_length(b"{}")).running() as target:
        head = b"HTTP/1.1 %d X\r\nlocation: %b/other\r\ncontent-length: 0\r\n\r\n" % (status, target.url.encode())
        async with RawServer(head).running() as server:
            response = await ask(server)

    assert response.status == requests.UNREACHABLE
    assert f"status {status} redirects to '{target.url}/other'" in response.body
    assert "CRISP_ES_URLS" in response.body
    assert target.requests == 0


@pytest.mark.parametrize(
    "framing",
    [b"\r\n", b"content-length: 99999999999\r\n\r\n", b"content-type: text/plain\r\n\r\n"],
    ids=["until the connection closes", "with a length", "as text"],
)
async def test_response_without_end_is_an_error(framing: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_node, "MAX_RESPONSE_BYTES", 1 << 20)
    async with RawServer(JSON_HEAD + framing, endless=True).running() as server:
        response = await ask(server)

    assert response == Response(requests.UNREACHABLE, "the response exceeds 1 MiB")
    assert server.sent < 16 << 20  # what the sockets hold


async def test_response_of_the_largest_size_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b'{"a":"%b"}' % (b"x" * 1000)
    monkeypatch.setattr(bounded_node, "MAX_RESPONSE_BYTES", len(body))
    async with RawServer(with_length(body)).running() as server:
        assert await ask(server) == Response(200, {"a": "x" * 1000})

    monkeypatch.setattr(bounded_node, "MAX_RESPONSE_BYTES", len(body) - 1)
    async with RawServer(with_length(body)).running() as server:
        assert (await ask(server)).status == requests.UNREACHABLE


@pytest.mark.parametrize("value", [b"[]", b"{}", b"1"])
async def test_response_of_too_many_values_is_an_error(value: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_RESPONSE_VALUES", 1000)
    async with RawServer(with_length(b"[" + value + (b"," + value) * 1000 + b"]")).running() as server:
        response = await ask(server)

    assert response.status == requests.UNREACHABLE
    assert response.body.startswith("the response has more than 1,000 values: b'[")


NOT_JSON: list[Callable[[], bytes]] = [
    lambda: b"<html>" * 100_000,
    lambda: b'{"a":',
    lambda: b"[" * 5000,
    lambda: b"\xff\xfe",
]


@pytest.mark.parametrize("make", NOT_JSON)
async def test_response_that_is_not_json_is_an_error_with_its_beginning(make: Callable[[], bytes]) -> None:
    async with RawServer(with_length(make())).running() as server:
        response = await ask(server)

    assert response.status == requests.UNREACHABLE
    assert response.body.startswith("the response is not JSON: b'")
    assert len(response.body) < 500
