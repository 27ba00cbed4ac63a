"""Clients with the same files share one TLS context, which `reload` changes for all of them."""

import asyncio
from pathlib import Path
from typing import Any

import certifi
import pytest
from aiokafka.errors import InvalidTimestampError

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.kafka import client

END = "-----END CERTIFICATE-----\n"


def certificates(number: int) -> str:
    return END.join(Path(certifi.where()).read_text().split(END)[:number]) + END


def test_reload_reaches_every_client_with_the_same_files(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(certificates(1))
    environment = {"CRISP_KAFKA_TLS": "true", "CRISP_KAFKA_CA_FILE": str(ca_file)}
    settings = load_settings(environment)
    other: dict[str, Any] = client.connection(load_settings({**environment, "CRISP_TOPIC_RAW": "other"}))

    ca_file.write_text(certificates(2))
    client.reload(settings)

    context = client.tls_context(settings)
    assert context is not None
    assert context is other["ssl_context"]
    assert len(context.get_ca_certs()) == 2


def test_unreadable_certificate_authority_names_its_setting(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text("no certificate")

    with pytest.raises(SettingsError, match=r"CRISP_KAFKA_CA_FILE: .*cannot be read as PEM"):
        client.tls_context(load_settings({"CRISP_KAFKA_TLS": "true", "CRISP_KAFKA_CA_FILE": str(ca_file)}))


def test_plaintext_connection_has_no_context() -> None:
    assert client.tls_context(load_settings({})) is None


def test_refused_timestamp_is_explained_by_the_clocks() -> None:
    message = client.explain_error(Settings(), "logs-raw", InvalidTimestampError())

    assert "this node's clock differs from Kafka's" in message
    assert "message.timestamp.type to LogAppendTime" in message


async def test_broker_with_ipv6_address_is_asked_at_that_address() -> None:
    asked = asyncio.Event()

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    try:
        server = await asyncio.start_server(close, "::1", 0)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with server:
        port = server.sockets[0].getsockname()[1]
        broker = f"[::1]:{port}"
        problem = await client.connection_problem(load_settings({"CRISP_KAFKA_BROKERS": broker}))

    assert asked.is_set(), problem
    assert problem.startswith(f"{broker}: ")
