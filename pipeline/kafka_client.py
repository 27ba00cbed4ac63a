"""The arguments with which every Kafka client of ours connects: brokers, TLS, SASL.

The shipper imports this too, so nothing of the worker's stands here.
"""

import ssl
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import UnknownTopicOrPartitionError

from pipeline.errors import SettingsError
from pipeline.settings import Settings, variable


def connection(settings: Settings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's producer, consumer and admin client; `client_id` is the caller's to add.

    Raises SettingsError when a certificate or key cannot be read.
    """
    transport = "SSL" if settings.kafka_tls else "PLAINTEXT"
    arguments: dict[str, Any] = {
        "bootstrap_servers": [broker.strip() for broker in settings.kafka_brokers.split(",") if broker.strip()],
        "security_protocol": transport,
        "ssl_context": tls_context(settings),
    }
    if settings.kafka_sasl != "none":
        arguments["security_protocol"] = f"SASL_{transport}"
        arguments["sasl_mechanism"] = settings.kafka_sasl
        arguments["sasl_plain_username"] = settings.kafka_user
        arguments["sasl_plain_password"] = settings.kafka_password
    return arguments


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What to trust and what to show; None without TLS. The broker's certificate and name are always verified.

    Raises SettingsError when a certificate or key cannot be read.
    """
    if not settings.kafka_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    except (OSError, ssl.SSLError) as fault:
        raise _unreadable("kafka_ca_file", settings.kafka_ca_file, fault) from fault
    if settings.kafka_cert_file:
        try:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file or None)
        except (OSError, ssl.SSLError) as fault:
            raise _unreadable("kafka_cert_file", settings.kafka_cert_file, fault) from fault
    return context


def _unreadable(name: str, path: str, fault: Exception) -> SettingsError:
    return SettingsError([f"{variable(name)}: {path} cannot be read as PEM: {fault}"])


async def partitions(settings: Settings, topic: str) -> list[int]:
    """A topic's partition numbers. Raises KafkaError, also when there is no such topic."""
    admin = AIOKafkaAdminClient(**connection(settings))
    await admin.start()
    try:
        (found,) = await admin.describe_topics([topic])
    finally:
        await admin.close()
    if found["error_code"] or not found["partitions"]:
        raise UnknownTopicOrPartitionError(topic)
    return [partition["partition"] for partition in found["partitions"]]
