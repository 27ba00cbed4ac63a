"""A node whose responses are bounded, and which follows no redirect.

The client library reads a response of any size, and sends a request's body again to wherever a redirect points.
"""

import asyncio
from typing import Self

import aiohttp
from aiohttp.client_reqrep import ClientResponse
from aiohttp.connector import Connection
from elastic_transport import AiohttpHttpNode

from pipeline.config.settings import env_name

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""Unpacked. The largest response that crisp requests is a page of documents for `crisp tail`."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class BoundedResponse(ClientResponse):
    """A response that fails if it is a redirect, or longer than `MAX_RESPONSE_BYTES`."""

    async def start(self, connection: Connection) -> Self:
        """Read the status and the headers. Raises ClientError for a redirect, before anything is sent there."""
        await super().start(connection)
        if self.status in _REDIRECTS:
            target = str(self.headers.get("location", ""))[:200]
            raise aiohttp.ClientError(
                f"status {self.status} redirects to {target!r}; redirects are not followed: check {env_name('es_urls')}"
            )
        return self

    async def read(self) -> bytes:
        """Return the body. Raises ClientPayloadError if it is too long; then the connection is closed."""
        if self._body is None:
            parts, size = [], 0
            try:
                async for part in self.content.iter_any():
                    size += len(part)
                    if size > MAX_RESPONSE_BYTES:
                        raise aiohttp.ClientPayloadError(f"the response exceeds {MAX_RESPONSE_BYTES >> 20} MiB")
                    parts.append(part)
            except BaseException:
                self.close()
                raise
            self._body = b"".join(parts)
        return await super().read()


class BoundedNode(AiohttpHttpNode):
    """A node with `BoundedResponse`."""

    def _create_aiohttp_session(self) -> None:
        """Replace the library's method: the same session, with another class of responses."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        self.session = aiohttp.ClientSession(
            headers=self.headers,
            skip_auto_headers=("accept", "accept-encoding", "user-agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=BoundedResponse,
            connector=aiohttp.TCPConnector(limit_per_host=self._connections_per_node, ssl=self._ssl_context or False),
        )
