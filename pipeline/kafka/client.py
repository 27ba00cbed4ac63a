"""Connection arguments of every Kafka client: brokers, TLS, SASL; and explanations of connection errors.

The shipper imports this module too, so it has no code of the worker.
"""

import contextlib
import functools
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.config import secrets
from pipeline.config.settings import KafkaSettings, env_name
from pipeline.errors import SettingsError
from pipeline.kafka.error_text import describe_error

_CONNECT_TIMEOUT_MS = 5000


def connection(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments for aiokafka's producer, consumer and admin client; the caller adds `client_id`.

    Raises SettingsError when a certificate or key cannot be read.
    """
    transport = "SSL" if settings.kafka_tls else "PLAINTEXT"
    arguments: dict[str, Any] = {
        "bootstrap_servers": list(settings.kafka_brokers),
        "security_protocol": transport,
        "ssl_context": tls_context(settings),
    }
    if settings.kafka_sasl != "none":
        arguments["security_protocol"] = f"SASL_{transport}"
        arguments["sasl_mechanism"] = settings.kafka_sasl
        arguments["sasl_plain_username"] = settings.kafka_user
        arguments["sasl_plain_password"] = secrets.kafka_password(settings).read()
    return arguments


def tls_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    """The CA and the client certificate; None without TLS. The broker's certificate and name are always verified.

    Raises SettingsError for an unreadable file.
    """
    if not settings.kafka_tls:
        return None
    return _tls_context(settings.kafka_ca_file, settings.kafka_cert_file, settings.kafka_key_file)


@functools.cache
def _tls_context(ca_file: str, cert_file: str, key_file: str) -> ssl.SSLContext:
    """One context for these files in the process, so that `reload` reaches every client."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise _unreadable("kafka_ca_file", ca_file, error) from error
    _load_client_certificate(context, cert_file, key_file)
    return context


def reload(settings: KafkaSettings, *clients: Any) -> None:
    """Use changed secrets and certificates for all new connections. Raises SettingsError.

    `clients` are the aiokafka clients of running producers and consumers.
    """
    context = tls_context(settings)
    if context is not None:
        if settings.kafka_ca_file:
            context.load_verify_locations(settings.kafka_ca_file)
        _load_client_certificate(context, settings.kafka_cert_file, settings.kafka_key_file)
    if settings.kafka_sasl != "none":
        for client in clients:
            client._sasl_plain_password = secrets.kafka_password(settings).read()  # noqa: SLF001


def _load_client_certificate(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise _unreadable("kafka_cert_file", cert_file, error) from error


def _unreadable(name: str, path: str, error: Exception) -> SettingsError:
    return SettingsError([f"{env_name(name)}: {path} cannot be read as PEM: {error}"])


@contextlib.asynccontextmanager
async def admin_client(settings: KafkaSettings, **options: Any) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client; closed at the end, also if it cannot connect. Raises KafkaError."""
    admin = AIOKafkaAdminClient(**connection(settings), **options)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


async def partitions(settings: KafkaSettings, topic: str) -> list[int]:
    """A topic's partition numbers. Raises KafkaError, also if the topic does not exist."""
    async with admin_client(settings) as admin:
        (description,) = await admin.describe_topics([topic])
    if description["error_code"] or not description["partitions"]:
        raise UnknownTopicOrPartitionError(topic)
    return [partition["partition"] for partition in description["partitions"]]


async def connection_problem(settings: KafkaSettings, topic: str = "") -> str:
    """Why no broker accepts a connection, or why the topic cannot be written; names the setting. Empty without problem.

    aiokafka reports only that it could not bootstrap, and lets the broker create a missing topic with its defaults.
    """
    arguments = connection(settings)
    problems = []
    for broker in arguments.pop("bootstrap_servers"):
        host, _, port = broker.rpartition(":")
        try:  # without the brackets of an IPv6 address
            connected = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=_CONNECT_TIMEOUT_MS, **arguments
            )
            try:
                return await _topic_problem(connected, topic, settings) if topic else ""
            finally:
                connected.close()
        except (KafkaError, OSError, TimeoutError, ValueError) as error:
            problems.append(f"{broker}: {_explain_connection_error(error)}")
    return "; ".join(problems)


async def _topic_problem(broker: Any, topic: str, settings: KafkaSettings) -> str:
    """Why the topic cannot be written, by the metadata of a connected broker; empty without problem."""
    response = await broker.send(MetadataRequest([topic], allow_auto_topic_creation=False))
    (metadata,) = response.topics
    code, partitions = metadata[0], metadata[-1]
    if code:
        return explain_error(settings, topic, for_code(code)())
    has_leader = any(partition[2] >= 0 for partition in partitions)
    return "" if has_leader else f"none of the {len(partitions)} partitions of {topic} has a leader"


def explain_error(settings: KafkaSettings, topic: str, error: BaseException) -> str:
    """The meaning of an error that Kafka returns, and its remedy."""
    if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
        more = "" if isinstance(error, TopicAuthorizationFailedError) else ", and before Kafka 2.8 IdempotentWrite"
        return f"the user of {env_name('kafka_user')} may not write to {topic}: grant it Write on the topic{more}"
    if isinstance(error, UnknownTopicOrPartitionError):
        return f"topic {topic} does not exist: `crisp setup` creates it"
    if isinstance(error, InvalidTimestampError):
        return (
            f"this node's clock differs from Kafka's by more than topic {topic} allows: synchronise the clocks (NTP), "
            "and set the topic's message.timestamp.type to LogAppendTime (`crisp setup` does when it creates it)"
        )
    if isinstance(error, MessageSizeTooLargeError):
        return (
            f"it exceeds the limit of topic {topic}: set its max.message.bytes to {settings.record_max_bytes} "
            f"(`crisp setup` does), or {env_name('event_max_bytes')} to less"
        )
    return str(error) or type(error).__name__


def _explain_connection_error(error: Exception) -> str:
    message = describe_error(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, check {env_name('kafka_ca_file')}: {message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS handshake failed, check {env_name('kafka_tls')} and {env_name('kafka_cert_file')}: {message}"
    if "uthentication" in f"{type(error).__name__} {message}":
        return f"authentication failed, check {env_name('kafka_user')} and {env_name('kafka_password')}: {message}"
    if "SaslMechanism" in f"{type(error).__name__} {message}":
        return f"SASL mechanism not supported, check {env_name('kafka_sasl')}: {message}"
    return message
