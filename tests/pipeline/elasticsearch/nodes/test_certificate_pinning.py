"""A client trusts the certificate with the pinned fingerprint alone, and still verifies the host name."""

import asyncio
import hashlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from elastic_transport import ConnectionError as NodeConnectionError
from elastic_transport import TlsError

from pipeline.config.environment import load_settings
from pipeline.elasticsearch import client, requests
from pipeline.elasticsearch.nodes import certificate_pinning
from pipeline.errors import SettingsError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nx-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"
    b'content-length: 15\r\nconnection: close\r\n\r\n{"name":"fake"}'
)


@dataclass(frozen=True)
class TlsServer:
    """A server with a self-signed certificate for 127.0.0.1, which answers every request."""

    port: int
    certificate: Path

    @property
    def fingerprint(self) -> str:
        """The SHA-256 fingerprint as `openssl` prints it."""
        digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.certificate.read_text())).hexdigest().upper()
        return ":".join(digest[start : start + 2] for start in range(0, 64, 2))


@pytest.fixture
def certificate_directory(tmp_path: Path) -> Path:
    """The directory of a new certificate and its key."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=fake"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.fixture
async def server(certificate_directory: Path) -> AsyncIterator[TlsServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_directory / "tls.crt", certificate_directory / "tls.key")

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(65536):
            writer.write(RESPONSE)
        writer.close()

    listening = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    yield TlsServer(listening.sockets[0].getsockname()[1], certificate_directory / "tls.crt")
    listening.close()


async def request_name(**environment: str) -> str:
    """Return the name that the server tells the client of these settings."""
    connected = client.connect(load_settings(environment))
    try:
        return str((await connected.info())["name"])
    finally:
        await connected.close()


async def test_server_with_the_pinned_certificate_is_used(server: TlsServer) -> None:
    urls = f"https://127.0.0.1:{server.port}"

    assert await request_name(CRISP_ES_URLS=urls, CRISP_ES_CA_FINGERPRINT=server.fingerprint) == "fake"


async def test_server_with_another_certificate_is_rejected(server: TlsServer) -> None:
    urls = f"https://127.0.0.1:{server.port}"

    connected = client.connect(load_settings({"CRISP_ES_URLS": urls, "CRISP_ES_CA_FINGERPRINT": "ab" * 32}))
    response = await requests.request(connected, "GET", "/")
    await connected.close()

    assert response.status == requests.UNREACHABLE
    assert "CRISP_ES_CA_FINGERPRINT: none of the 1 certificates" in response.body


async def test_host_name_is_verified_with_a_pinned_certificate(server: TlsServer) -> None:
    urls = f"https://localhost:{server.port}"

    with pytest.raises(TlsError):
        await request_name(CRISP_ES_URLS=urls, CRISP_ES_CA_FINGERPRINT=server.fingerprint)


async def test_unreachable_server_is_a_connection_error(server: TlsServer, unused_tcp_port: int) -> None:
    urls = f"https://127.0.0.1:{unused_tcp_port}"

    with pytest.raises(NodeConnectionError):
        await request_name(CRISP_ES_URLS=urls, CRISP_ES_CA_FINGERPRINT=server.fingerprint)


async def test_server_is_trusted_by_its_certificate_in_a_file(server: TlsServer) -> None:
    urls = f"https://127.0.0.1:{server.port}"

    assert await request_name(CRISP_ES_URLS=urls, CRISP_ES_CA_FILE=str(server.certificate)) == "fake"
    with pytest.raises(TlsError):
        await request_name(CRISP_ES_URLS=urls)


async def test_server_is_not_verified_if_that_is_switched_off(server: TlsServer) -> None:
    urls = f"https://127.0.0.1:{server.port}"

    assert await request_name(CRISP_ES_URLS=urls, CRISP_ES_VERIFY="false") == "fake"


def test_unreadable_certificate_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    settings = load_settings({"CRISP_ES_URLS": "https://127.0.0.1:9", "CRISP_ES_CA_FILE": str(tmp_path / "ca.pem")})

    with pytest.raises(SettingsError, match=r"CRISP_ES_CA_FILE: .*cannot be read as PEM"):
        client.connect(settings)


@pytest.mark.parametrize(
    ("text", "valid"), [("AB:" * 31 + "AB", True), ("ab" * 32, True), ("ab" * 31, False), ("no hex", False)]
)
def test_fingerprint_has_64_hex_digits(text: str, valid: bool) -> None:  # noqa: FBT001 - a case of the table
    if valid:
        assert certificate_pinning.normalize(text) == "ab" * 32
    else:
        with pytest.raises(ValueError, match=r"SHA-256|hex"):
            certificate_pinning.normalize(text)
