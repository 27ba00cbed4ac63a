"""A bulk endpoint that accepts everything at once, to measure the worker's cost without Elasticsearch's."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.local.process import free_ports

_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.elasticsearch+json;compatible-with=8\r\n"
    b"x-elastic-product: Elasticsearch\r\ncontent-length: %d\r\n\r\n%b"
)
_TEMPLATE = b'{"index_templates":[{"name":"%b","index_template":{"_meta":{"owner":"crisp"}}}]}'
_NO_INDEX = b'{"error":{"type":"index_not_found_exception","reason":"no such index"},"status":404}'
_NO_INDICES = b'{"indices":[],"aliases":[],"data_streams":[]}'
_FOUND = b'{"hits":{"total":{"value":1}}}'


class _Received:
    """The documents received so far."""

    documents = 0


@contextmanager
def running() -> Iterator[int]:
    """Run the sink in its own process, on a free port."""
    (port,) = free_ports(1)
    child = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.sink", str(port)])
    try:
        time.sleep(1)
        yield port
    finally:
        child.kill()
        child.wait()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while head := await _head(reader):
        if b"expect: 100-continue" in head.lower():  # libcurl waits a second for it before each large body
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        lengths = [row for row in head.lower().split(b"\r\n") if row.startswith(b"content-length:")]
        body = await reader.readexactly(int(lengths[0].split(b":")[1])) if lengths else b""
        if b"_bulk" in head.split(b"\r\n", 1)[0]:
            count = body.count(b"\n") // 2
            _Received.documents += count
            items = b",".join([b'{"create":{"status":201}}'] * count)
            response = _HEAD % (len(b'{"errors":false,"items":[%b]}' % items), b'{"errors":false,"items":[%b]}' % items)
        elif b"/received" in head:
            response = _HEAD % (len(b"%d" % _Received.documents), b"%d" % _Received.documents)
        elif b"/_resolve/index/" in head:
            response = _HEAD % (len(_NO_INDICES), _NO_INDICES)
        elif b"_search" in head:
            response = _HEAD % (len(_FOUND), _FOUND)
        elif b"_mapping" in head:
            response = _HEAD.replace(b"200 OK", b"404 Not Found") % (len(_NO_INDEX), _NO_INDEX)
        else:
            template = _TEMPLATE % head.split(b" ", 2)[1].rpartition(b"/")[2]
            response = _HEAD % (len(template), template)
        writer.write(response)
        await writer.drain()
    writer.close()


async def _head(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""


async def _main(port: int) -> None:
    server = await asyncio.start_server(_serve, "127.0.0.1", port, limit=2**20)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
