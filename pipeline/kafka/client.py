"""The arguments with which every Kafka client of ours connects: brokers, TLS, SASL.

The shipper imports this too, so nothing of the worker's stands here.
"""

import functools
import ssl
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.metadata import MetadataRequest

from pipeline.config import secrets
from pipeline.config.settings import Settings, env_name, record_max_bytes
from pipeline.errors import SettingsError

_CONNECT_TIMEOUT_MS = 5000


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
        arguments["sasl_plain_password"] = secrets.read(settings, "kafka_password")
    return arguments


@functools.cache
def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """What to trust and what to show; None without TLS. The broker's certificate and name are always verified.

    One for the process, so that `renew` reaches every client. Raises SettingsError for what cannot be read.
    """
    if not settings.kafka_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    except (OSError, ssl.SSLError) as fault:
        raise _unreadable("kafka_ca_file", settings.kafka_ca_file, fault) from fault
    _load_client_certificate(context, settings)
    return context


def reload(settings: Settings, *clients: Any) -> None:
    """Use changed secrets and certificates for every connection from now on; raises SettingsError.

    `clients` are the aiokafka clients of producers and consumers that run.
    """
    context = tls_context(settings)
    if context is not None:
        if settings.kafka_ca_file:
            context.load_verify_locations(settings.kafka_ca_file)
        _load_client_certificate(context, settings)
    if settings.kafka_sasl != "none":
        for client in clients:
            client._sasl_plain_password = secrets.read(settings, "kafka_password")  # noqa: SLF001


def _load_client_certificate(context: ssl.SSLContext, settings: Settings) -> None:
    if settings.kafka_cert_file:
        try:
            context.load_cert_chain(settings.kafka_cert_file, settings.kafka_key_file or None)
        except (OSError, ssl.SSLError) as fault:
            raise _unreadable("kafka_cert_file", settings.kafka_cert_file, fault) from fault


def _unreadable(name: str, path: str, error: Exception) -> SettingsError:
    return SettingsError([f"{env_name(name)}: {path} cannot be read as PEM: {error}"])


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


async def connection_problem(settings: Settings, topic: str = "") -> str:
    """Why no broker lets us in, or the topic cannot be written, in words that name the setting; empty when all is well.

    aiokafka itself says only that it could not bootstrap, and would have a missing topic made as the broker likes.
    """
    arguments = connection(settings)
    faults = []
    for broker in arguments.pop("bootstrap_servers"):
        host, _, port = broker.rpartition(":")
        try:
            opened = await create_conn(host, int(port), request_timeout_ms=_CONNECT_TIMEOUT_MS, **arguments)
            try:
                return await _topic_problem(opened, topic, settings) if topic else ""
            finally:
                opened.close()
        except (KafkaError, OSError, TimeoutError, ValueError) as fault:
            faults.append(f"{broker}: {_explain_connection_error(fault)}")
    return "; ".join(faults)


async def _topic_problem(broker: Any, topic: str, settings: Settings) -> str:
    """What hinders writing to the topic, as the broker behind a connection tells it."""
    answer = await broker.send(MetadataRequest([topic], allow_auto_topic_creation=False))
    (found,) = answer.topics
    code, partitions = found[0], found[-1]
    if code:
        return explain_error(settings, topic, for_code(code)())
    led = any(partition[2] >= 0 for partition in partitions)
    return "" if led else f"none of the {len(partitions)} partitions of {topic} has a leader"


def explain_error(settings: Settings, topic: str, error: BaseException) -> str:
    """What a fault that Kafka answers with means for us, and what is to be done about it."""
    if isinstance(error, TopicAuthorizationFailedError | ClusterAuthorizationFailedError):
        more = "" if isinstance(error, TopicAuthorizationFailedError) else ", before Kafka 2.8 IdempotentWrite too"
        return f"the user of {env_name('kafka_user')} may not write to {topic}: it needs the right Write on it{more}"
    if isinstance(error, UnknownTopicOrPartitionError):
        return f"there is no topic {topic}: `crisp setup` makes it"
    if isinstance(error, MessageSizeTooLargeError):
        return (
            f"it is more than the topic {topic} takes: set its max.message.bytes to {record_max_bytes(settings)} "
            f"(`crisp setup` does), or {env_name('event_max_bytes')} to less"
        )
    return str(error) or type(error).__name__


def _explain_connection_error(error: Exception) -> str:
    said = str(error) or type(error).__name__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted, check {env_name('kafka_ca_file')}: {said}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS with it, check {env_name('kafka_tls')} and {env_name('kafka_cert_file')}: {said}"
    if "uthentication" in f"{type(error).__name__} {said}":
        return f"it refuses us, check {env_name('kafka_user')} and {env_name('kafka_password')}: {said}"
    if "SaslMechanism" in f"{type(error).__name__} {said}":
        return f"it does not know that mechanism, check {env_name('kafka_sasl')}: {said}"
    return said
