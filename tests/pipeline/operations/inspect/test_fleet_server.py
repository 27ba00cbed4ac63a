"""The page of the fleet over HTTP, of real status servers."""

import asyncio
import contextlib
import dataclasses
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from pipeline.errors import KubernetesError
from pipeline.local.process import free_ports
from pipeline.monitoring.http_server import StatusServer
from pipeline.monitoring.metric_table import SHIPPER as SHIPPER_TABLE
from pipeline.monitoring.metrics import Metrics
from pipeline.monitoring.pages import shipper_page
from pipeline.operations.inspect import fleet_server, overview
from pipeline.operations.inspect.fleet_server import FleetServer
from pipeline.operations.inspect.overview import ElasticsearchOverview, KafkaOverview, Overview
from tests.support.http import get
from tests.support.statuses import SHIPPER

NODE = dataclasses.replace(SHIPPER, name="node-1", backlog_bytes=5, backlog_age_seconds=2.0)


async def fetch(port: int, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(get, port, path)


async def read(ports: list[int]) -> Overview:
    hosts = [("127.0.0.1", port) for port in ports]
    processes = await overview._processes(hosts)
    return overview.assemble(processes, KafkaOverview("b:1", 0, 0.0), ElasticsearchOverview("green"), [])


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Any], int]]:
    tasks: list[asyncio.Task[None]] = []

    def start(gather: Any) -> int:
        server = FleetServer(gather)
        (port,) = free_ports(1)
        assert server.start("127.0.0.1", port) == port
        tasks.append(asyncio.create_task(server.run()))
        return port

    yield start
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until_ready(port: int) -> None:
    async with asyncio.timeout(10):
        while (await fetch(port, "/readyz"))[0] != 200:  # noqa: ASYNC110 - another process is asked
            await asyncio.sleep(0.05)


async def test_fleet_and_the_pages_of_its_processes(serve: Callable[[Any], int]) -> None:
    node_port, silent_port = free_ports(2)
    node = StatusServer(Metrics(SHIPPER_TABLE), str, str, lambda: NODE, shipper_page.render)
    node.start("127.0.0.1", node_port)
    port = serve(lambda: read([node_port, silent_port]))
    await until_ready(port)
    try:
        status, text = await fetch(port, "/")
        assert (status, "node-1" in text, f"127.0.0.1:{silent_port}" in text) == (200, True, True)
        assert f'href="process/127.0.0.1%3A{node_port}/"' in text
        report = json.loads((await fetch(port, "/fleet.json"))[1])
        assert (report["state"], report["fleet"]["unknown"], report["process_count"]) == ("critical", 1, 1)
        assert report["fleet"]["slowest_nodes"][0]["address"] == f"127.0.0.1:{node_port}"
        (row,) = report["processes"]
        assert "Largest backlogs" in (await fetch(port, f"/{row['path']}"))[1]
        assert json.loads((await fetch(port, f"/{row['path']}status.json"))[1])["node"] == "n"
        for unknown in ("/process/", "/process/10.0.0.1%3A22/", f"/{row['path']}metrics", "/etc/passwd"):
            assert (await fetch(port, unknown))[0] == 404
        assert (await fetch(port, "/livez"))[0] == 200
    finally:
        node.stop()


async def test_nothing_is_shown_before_the_first_round(serve: Callable[[Any], int]) -> None:
    async def never() -> Overview:
        await asyncio.Event().wait()
        raise AssertionError

    port = serve(never)
    for path in ("/", "/fleet.json", "/readyz"):
        assert await fetch(port, path) == (503, "the statuses have not been read yet\n")


async def test_state_that_cannot_be_read_again_becomes_critical(
    serve: Callable[[Any], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = 0

    async def once() -> Overview:
        nonlocal rounds
        rounds += 1
        if rounds > 1:
            raise KubernetesError("no answer")
        return await read([])

    monkeypatch.setattr(fleet_server, "MIN_PAUSE_SECONDS", 0.01)
    port = serve(once)
    await until_ready(port)
    assert "not since" not in (await fetch(port, "/"))[1]

    monkeypatch.setattr(fleet_server, "STALE_SECONDS", 0.05)
    await asyncio.sleep(0.3)
    assert "not since" in (await fetch(port, "/"))[1]
    assert (await fetch(port, "/fleet.json"))[0] == 503
    assert rounds > 2


async def test_answer_that_is_too_large_or_never_ends_is_unknown() -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                writer.write(b" " * (1 << 16))
                await writer.drain()

    server = await asyncio.start_server(flood, "127.0.0.1", 0, family=socket.AF_INET)
    async with server:
        snapshot = await read([server.sockets[0].getsockname()[1]])

    (unknown,) = snapshot.unknown_processes
    assert unknown.reason == "Unreachable: the answer exceeds 1 MiB"
