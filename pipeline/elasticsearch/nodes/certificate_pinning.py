"""Pin Elasticsearch's certificate authority by its SHA-256 fingerprint, which its first start prints.

The client library compares a fingerprint only with the server's own certificate, and then does not verify the host
name. Here the first request fetches the server's certificate chain, selects the certificate with the fingerprint and
trusts it alone; the connections for requests then verify chain and host name as usual.
"""

import asyncio
import hashlib
import ssl
from typing import Any

from elastic_transport import ConnectionError as NodeConnectionError
from elastic_transport import NodeConfig, TlsError

from pipeline.elasticsearch.nodes.bounded_node import BoundedNode

EXTRAS_KEY = "_crisp_fingerprint"
"""Key of `NodeConfig._extras` that holds the fingerprint."""

_FETCH_TIMEOUT_SECONDS = 10.0


def make_context() -> ssl.SSLContext:
    """Return a context that verifies chain and host name and trusts no certificate yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Without this flag a self-signed server certificate (not an authority's) cannot be the only trusted one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def normalize(text: str) -> str:
    """Return a fingerprint as 64 lower-case hex digits. Raises ValueError if it is invalid."""
    digits = text.replace(":", "").strip().lower()
    if len(bytes.fromhex(digits)) != hashlib.sha256().digest_size:
        raise ValueError("not a SHA-256 fingerprint: 64 hex digits")
    return digits


class PinnedNode(BoundedNode):
    """A node whose first request selects the certificate to trust."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._pin_lock = asyncio.Lock()
        self._pinned = config.ssl_context is None

    async def perform_request(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override] # the base class is not async
        """Pin the certificate, then send the request. Raises TlsError if no certificate has the fingerprint."""
        async with self._pin_lock:
            if not self._pinned:
                await self._pin()
        return await super().perform_request(*args, **kwargs)

    async def _pin(self) -> None:
        fingerprint = self.config._extras[EXTRAS_KEY]  # noqa: SLF001 - the library's documented attribute for such values
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                chain = await _fetch_chain(self.config.host, self.config.port)
        except ssl.SSLError as error:
            raise TlsError(str(error), errors=(error,)) from error
        except OSError as error:
            raise NodeConnectionError(str(error) or "no answer in time", errors=(error,)) from error
        for certificate in chain:
            if hashlib.sha256(certificate).hexdigest() == fingerprint:
                assert self.config.ssl_context is not None
                self.config.ssl_context.load_verify_locations(cadata=certificate)
                self._pinned = True
                return
        raise TlsError(f"none of the {len(chain)} certificates of {self.base_url} has the fingerprint {fingerprint}")


async def _fetch_chain(host: str, port: int) -> list[bytes]:
    """Return a server's certificate chain (DER), unverified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent on this connection
    _, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        connection = writer.get_extra_info("ssl_object")
        if hasattr(connection, "get_unverified_chain"):  # public since Python 3.13
            return list(connection.get_unverified_chain())
        chain = connection._sslobj.get_unverified_chain()  # noqa: SLF001
        return [bytes(ssl.PEM_cert_to_DER_cert(certificate.public_bytes())) for certificate in chain]
    finally:
        writer.close()
