"""Checks Kafka: brokers, topics, sizes, authorized operations, group. Nothing is written, no offset is committed."""

from collections.abc import Awaitable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)

from pipeline.config.settings import KafkaSettings, env_name
from pipeline.kafka import authorized_operations
from pipeline.kafka import client as kafka_client
from pipeline.kafka.error_text import describe_error
from pipeline.kafka.topic_config import (
    CLEANUP_POLICY,
    LARGE_RECORDS,
    LOG_APPEND_TIME,
    MAX_MESSAGE_BYTES,
    RETENTION_BYTES,
    RETENTION_MS,
    TIMESTAMP_TYPE,
    read_topic_config,
)
from pipeline.operations.check.finding import FAILED, CheckResult, failed, ok, warning

REQUEST_TIMEOUT_MS = 10_000
_AUTHORIZATION_ERRORS = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_RUN_SETUP = "run `crisp setup`, with the right to create topics"


async def run_checks(settings: KafkaSettings) -> list[CheckResult]:
    """Check the Kafka in the settings; only the connection if it cannot be used."""
    client = AIOKafkaClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    admin = AIOKafkaAdminClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        results = await _run_check("Kafka", _check_connection(settings, client, admin), settings)
        if results[0].status == FAILED:
            return results
        names = [settings.topic_raw, settings.topic_dead]
        topics = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
        operations = await authorized_operations.fetch_topic_operations(client, names)
        for name, check in zip(names, (_check_raw_topic, _check_dead_letter_topic), strict=True):
            results += await _run_check(f"topic {name}", check(settings, admin, topics[name], operations), settings)
        return results + await _run_check(f"group {settings.kafka_group}", _check_group(settings, admin), settings)
    finally:
        await admin.close()
        await client.close()


async def _run_check(subject: str, check: Awaitable[list[CheckResult]], settings: KafkaSettings) -> list[CheckResult]:
    try:
        return await check
    except KafkaError as error:
        return [failed(subject, describe_error(error), _remedy(settings, error))]


async def _check_connection(settings: KafkaSettings, client: Any, admin: Any) -> list[CheckResult]:
    await client.bootstrap()
    await admin.start()
    brokers = len(client.cluster.brokers())
    return [ok("Kafka", f"{settings.kafka_address} is reachable, {brokers} {'broker' if brokers == 1 else 'brokers'}")]


def _remedy(settings: KafkaSettings, error: KafkaError) -> str:
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)):
        return f"check {env_name('kafka_sasl')}, {env_name('kafka_user')} and {env_name('kafka_password')}"
    if isinstance(error, KafkaConnectionError):
        hint = "" if settings.kafka_tls else f", and {env_name('kafka_tls')} if the brokers require TLS"
        return f"check {env_name('kafka_brokers')}, and that the network does not block it{hint}"
    if isinstance(error, _AUTHORIZATION_ERRORS):
        return "grant this user DESCRIBE and DESCRIBE_CONFIGS by an ACL"
    return "see the broker's log"


async def _check_raw_topic(
    settings: KafkaSettings, admin: Any, topic: Any, operations: dict[str, Any]
) -> list[CheckResult]:
    name = settings.topic_raw
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _RUN_SETUP)]
    count = len(topic["partitions"])
    results = [ok(f"topic {name}", f"{count} partitions")]
    if count < settings.topic_partitions:
        remedy = f"more than {count} workers would idle; partitions can be added at any time"
        results = [warning(f"topic {name}", f"{count} partitions, configured are {settings.topic_partitions}", remedy)]
    config = await read_topic_config(admin, name)
    results.append(_check_record_size(name, config, settings.record_max_bytes))
    retention_ms = int(settings.topic_retention_seconds * 1000)
    if "compact" in config[CLEANUP_POLICY]:
        results.append(failed(f"topic {name}", "is compacted: records vanish", f"set its {CLEANUP_POLICY} to delete"))
    if 0 <= int(config[RETENTION_MS]) < retention_ms:
        seen = f"retains records for {int(config[RETENTION_MS]) // 1000} s, configured are {retention_ms // 1000}"
        results.append(warning(f"topic {name}", seen, "a longer outage of Elasticsearch loses lines"))
    results += _check_retention_bytes(name, int(config.get(RETENTION_BYTES, "-1")), settings.topic_retention_bytes)
    results += _check_timestamp_type(name, config)
    results += _check_operations(
        name, operations.get(name), {"write": "the shipper", "read": "the worker", "describe": "both"}
    )
    return results


def _check_retention_bytes(topic: str, actual: int, configured: int) -> list[CheckResult]:
    """A partition that fills up loses records before their time: the alert must know its size."""
    if max(actual, 0) == configured:
        return [ok(f"{RETENTION_BYTES} of {topic}", f"{actual} of each partition")] if configured else []
    seen = f"{actual} of each partition, configured are {configured}"
    remedy = (
        f"set {env_name('topic_retention_bytes')} to {max(actual, 0)}: pages and alerts use it, or change the topic"
    )
    return [warning(f"{RETENTION_BYTES} of {topic}", seen, remedy)]


async def _check_dead_letter_topic(
    settings: KafkaSettings, admin: Any, topic: Any, operations: dict[str, Any]
) -> list[CheckResult]:
    name = settings.topic_dead
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _RUN_SETUP)]
    config = await read_topic_config(admin, name)
    results = [ok(f"topic {name}", "exists"), _check_record_size(name, config, settings.dead_letter_topic_max_bytes)]
    results += _check_timestamp_type(name, config)
    return results + _check_operations(name, operations.get(name), {"write": "the worker", "describe": "the worker"})


def _check_record_size(topic: str, config: dict[str, str], required: int) -> CheckResult:
    subject = f"{MAX_MESSAGE_BYTES} of {topic}"
    if int(config[MAX_MESSAGE_BYTES]) < required:
        remedy = f"set it to {required}, or lower {env_name('event_max_bytes')}"
        return failed(subject, f"{config[MAX_MESSAGE_BYTES]}, but a record may have {required} bytes", remedy)
    if int(config[MAX_MESSAGE_BYTES]) > LARGE_RECORDS * required:
        remedy = f"set it to {required}: larger batches take a worker's memory, and are dead-lettered"
        return warning(subject, f"{config[MAX_MESSAGE_BYTES]}, more than {LARGE_RECORDS} times {required}", remedy)
    return ok(subject, f"{config[MAX_MESSAGE_BYTES]}, at least {required} is required")


def _check_timestamp_type(topic: str, config: dict[str, str]) -> list[CheckResult]:
    """With the producer's time, a wrong clock of a node has its records refused, or deleted by retention at once."""
    subject = f"{TIMESTAMP_TYPE} of {topic}"
    actual = config.get(TIMESTAMP_TYPE, "")
    if actual == LOG_APPEND_TIME:
        return [ok(subject, actual)]
    remedy = f"set it to {LOG_APPEND_TIME}: otherwise a wrong clock of a node has its records refused, or deleted early"
    return [warning(subject, actual or "unknown", remedy)]


def _check_operations(topic: str, allowed: frozenset[str] | None, required: dict[str, str]) -> list[CheckResult]:
    subject = f"authorized operations on {topic}"
    if allowed is None:
        return [warning(subject, "not reported by the broker")]
    missing = [name for name in required if name not in allowed]
    if not missing:
        return [ok(subject, ", ".join(required))]
    described = ", ".join(f"{name} (for {required[name]})" for name in missing)
    remedy = "grant them by an ACL, unless these settings are for the other component"
    return [warning(subject, f"missing: {described}", remedy)]


async def _check_group(settings: KafkaSettings, admin: Any) -> list[CheckResult]:
    subject = f"group {settings.kafka_group}"
    try:
        (response,) = await admin.describe_consumer_groups([settings.kafka_group], include_authorized_operations=True)
    except GroupCoordinatorNotAvailableError:
        return [ok(subject, "Kafka has no consumer groups yet")]
    code, _, state, _, _, members, *rest = response.groups[0]
    if code:
        return [failed(subject, for_code(code).__name__, f"grant this user READ on the group {settings.kafka_group}")]
    allowed = authorized_operations.operations_of(rest[-1]) if rest else None
    if allowed is not None and "read" not in allowed:
        return [warning(subject, "missing: read", "grant it by an ACL, unless these settings are the shipper's")]
    return [ok(subject, f"{len(members)} members, {state.lower()}" if members else "no members")]
