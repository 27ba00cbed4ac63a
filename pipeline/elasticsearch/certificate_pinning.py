"""Trust in Elasticsearch by the SHA-256 fingerprint of its certificate authority, as its first start prints it.

The client library compares a fingerprint with the server's own certificate only, and then no longer with the name in
it. Here the first request looks at the chain that the server shows, takes from it the certificate that has the
fingerprint, and trusts that one alone; the connections that carry requests then verify chain and name as usual.
"""

import asyncio
import hashlib
import ssl
from typing import Any

from elastic_transport import AiohttpHttpNode, NodeConfig, TlsError
from elastic_transport import ConnectionError as NodeConnectionError

EXTRAS_KEY = "_crisp_fingerprint"
"""Key of `NodeConfig._extras` that holds the fingerprint."""

_FETCH_TIMEOUT_SECONDS = 10.0


def make_context() -> ssl.SSLContext:
    """A context that verifies everything and trusts nothing yet."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Without this a certificate that signs itself (a server's own, not an authority's) could not be trusted alone.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return made


def normalize(text: str) -> str:
    """A fingerprint as 64 lower-case hex digits. Raises ValueError for what is none."""
    digits = text.replace(":", "").strip().lower()
    if len(bytes.fromhex(digits)) != hashlib.sha256().digest_size:
        raise ValueError("not a SHA-256 fingerprint: 64 hex digits")
    return digits


class PinnedNode(AiohttpHttpNode):
    """A node whose first request finds the certificate to trust."""

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)
        self._pin_lock = asyncio.Lock()
        self._pinned = config.ssl_context is None

    async def perform_request(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override] # the base class is not async
        """As the library's, after the look. Raises its TlsError when no certificate has the fingerprint."""
        async with self._pin_lock:
            if not self._pinned:
                await self._pin()
        return await super().perform_request(*args, **kwargs)

    async def _pin(self) -> None:
        wanted = self.config._extras[EXTRAS_KEY]  # noqa: SLF001 - the library's documented place for such values
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                chain = await _fetch_chain(self.config.host, self.config.port)
        except ssl.SSLError as fault:
            raise TlsError(str(fault), errors=(fault,)) from fault
        except OSError as fault:
            raise NodeConnectionError(str(fault) or "no answer in time", errors=(fault,)) from fault
        for certificate in chain:
            if hashlib.sha256(certificate).hexdigest() == wanted:
                assert self.config.ssl_context is not None
                self.config.ssl_context.load_verify_locations(cadata=certificate)
                self._pinned = True
                return
        raise TlsError(f"none of the {len(chain)} certificates that {self.base_url} shows has the fingerprint {wanted}")


async def _fetch_chain(host: str, port: int) -> list[bytes]:
    """The certificates (DER) that a server shows, unverified."""
    look = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    look.check_hostname = False
    look.verify_mode = ssl.CERT_NONE  # nothing is sent on this connection
    _, writer = await asyncio.open_connection(host, port, ssl=look)
    try:
        shown = writer.get_extra_info("ssl_object")
        if hasattr(shown, "get_unverified_chain"):  # public since Python 3.13
            return list(shown.get_unverified_chain())
        return [bytes(ssl.PEM_cert_to_DER_cert(c.public_bytes())) for c in shown._sslobj.get_unverified_chain()]  # noqa: SLF001
    finally:
        writer.close()
