"""Kafka, asked: brokers, topics, sizes, rights. Nothing is written and nobody's offsets move."""

from collections.abc import Awaitable
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
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

from pipeline.config.settings import Settings, env_name, record_max_bytes
from pipeline.kafka import authorized_operations
from pipeline.kafka import client as kafka_client
from pipeline.operations.check.finding import FAILED, CheckResult, failed, ok, warning

MAX_MESSAGE_BYTES, RETENTION_MS, CLEANUP_POLICY = "max.message.bytes", "retention.ms", "cleanup.policy"
REQUEST_TIMEOUT_MS = 10_000
_AUTHORIZATION_ERRORS = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_RUN_SETUP = "run `crisp setup`, with the rights to make topics"


async def run_checks(settings: Settings) -> list[CheckResult]:
    """Everything that could be asked."""
    client = AIOKafkaClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    admin = AIOKafkaAdminClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        made = await _run_check("Kafka", _check_connection(settings, client, admin), settings)
        if made[0].state == FAILED:
            return made
        names = [settings.topic_raw, settings.topic_dead]
        topics = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
        allowed = await authorized_operations.fetch_topic_operations(client, names)
        for name, asked in zip(names, (_check_raw_topic, _check_dead_letter_topic), strict=True):
            made += await _run_check(f"topic {name}", asked(settings, admin, topics[name], allowed), settings)
        return made + await _run_check(f"group {settings.kafka_group}", _check_group(settings, admin), settings)
    finally:
        await admin.close()
        await client.close()


async def _run_check(what: str, check: Awaitable[list[CheckResult]], settings: Settings) -> list[CheckResult]:
    try:
        return await check
    except KafkaError as fault:
        return [failed(what, str(fault), _remedy(settings, fault))]


async def _check_connection(settings: Settings, client: Any, admin: Any) -> list[CheckResult]:
    await client.bootstrap()
    await admin.start()
    brokers = len(client.cluster.brokers())
    return [ok("Kafka", f"{settings.kafka_brokers} answers, {brokers} {'broker' if brokers == 1 else 'brokers'}")]


def _remedy(settings: Settings, error: KafkaError) -> str:
    if isinstance(error, (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)):
        return f"check {env_name('kafka_sasl')}, {env_name('kafka_user')} and {env_name('kafka_password')}"
    if isinstance(error, KafkaConnectionError):
        hint = "" if settings.kafka_tls else f", and {env_name('kafka_tls')} if the brokers speak TLS only"
        return f"check {env_name('kafka_brokers')}, and that nothing on the way blocks it{hint}"
    if isinstance(error, _AUTHORIZATION_ERRORS):
        return "give this user an ACL that lets it describe it and its configuration"
    return "the broker's own log says more"


async def _check_raw_topic(settings: Settings, admin: Any, topic: Any, operations: dict[str, Any]) -> list[CheckResult]:
    name = settings.topic_raw
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _RUN_SETUP)]
    number = len(topic["partitions"])
    made = [ok(f"topic {name}", f"{number} partitions")]
    if number < settings.topic_partitions:
        todo = "more than that many workers would idle; add partitions at any time"
        made = [warning(f"topic {name}", f"{number} partitions, the settings say {settings.topic_partitions}", todo)]
    have = await _topic_config(admin, name)
    made.append(_check_record_size(name, have, record_max_bytes(settings)))
    wanted = int(settings.topic_retention_seconds * 1000)
    if "compact" in have[CLEANUP_POLICY]:
        made.append(failed(f"topic {name}", "is compacted: records vanish", f"set its {CLEANUP_POLICY} to delete"))
    if 0 <= int(have[RETENTION_MS]) < wanted:
        seen = f"keeps records for {int(have[RETENTION_MS]) // 1000} s, the settings say {wanted // 1000}"
        made.append(warning(f"topic {name}", seen, "an outage of Elasticsearch longer than that loses lines"))
    made += _check_operations(
        name, operations.get(name), {"write": "the shipper", "read": "the worker", "describe": "both"}
    )
    return made


async def _check_dead_letter_topic(
    settings: Settings, admin: Any, topic: Any, operations: dict[str, Any]
) -> list[CheckResult]:
    name = settings.topic_dead
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _RUN_SETUP)]
    have = await _topic_config(admin, name)
    made = [ok(f"topic {name}", "is there"), _check_record_size(name, have, 2 * record_max_bytes(settings))]
    return made + _check_operations(name, operations.get(name), {"write": "the worker", "describe": "the worker"})


async def _topic_config(admin: Any, topic: str) -> dict[str, str]:
    keys = dict.fromkeys((MAX_MESSAGE_BYTES, RETENTION_MS, CLEANUP_POLICY), "")
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, keys)])
    code, reason, *_, entries = answer.resources[0]
    if code:
        raise for_code(code)(f"the configuration of {topic} cannot be read: {reason}")
    return {entry[0]: str(entry[1]) for entry in entries}


def _check_record_size(topic: str, config: dict[str, str], required: int) -> CheckResult:
    what = f"{MAX_MESSAGE_BYTES} of {topic}"
    if int(config[MAX_MESSAGE_BYTES]) < required:
        todo = f"set it to {required}, or lower {env_name('event_max_bytes')}"
        return failed(what, f"{config[MAX_MESSAGE_BYTES]}, but a record may have {required} bytes", todo)
    return ok(what, f"{config[MAX_MESSAGE_BYTES]}, at least {required} is needed")


def _check_operations(topic: str, allowed: frozenset[str] | None, required: dict[str, str]) -> list[CheckResult]:
    what = f"rights on {topic}"
    if allowed is None:
        return [warning(what, "the broker does not tell")]
    absent = [name for name in required if name not in allowed]
    if not absent:
        return [ok(what, ", ".join(required))]
    lacking = ", ".join(f"{name} (for {required[name]})" for name in absent)
    return [warning(what, f"this user lacks {lacking}", "give it an ACL, unless these settings are of the other part")]


async def _check_group(settings: Settings, admin: Any) -> list[CheckResult]:
    what = f"group {settings.kafka_group}"
    try:
        (answer,) = await admin.describe_consumer_groups([settings.kafka_group], include_authorized_operations=True)
    except GroupCoordinatorNotAvailableError:
        return [ok(what, "no group of any name was here yet")]
    code, _, state, _, _, members, *rest = answer.groups[0]
    if code:
        return [failed(what, for_code(code).__name__, f"give this user READ on the group {settings.kafka_group}")]
    allowed = authorized_operations.operations_of(rest[-1]) if rest else None
    if allowed is not None and "read" not in allowed:
        return [
            warning(what, "this user may not read by it", "give it an ACL, unless these settings are the shipper's")
        ]
    return [ok(what, f"{len(members)} members, {state.lower()}" if members else "no worker is in it")]
