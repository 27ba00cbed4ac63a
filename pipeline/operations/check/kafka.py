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

from pipeline.config.settings import Settings, record_max_bytes, variable
from pipeline.kafka import authorized_operations
from pipeline.kafka import client as kafka_client
from pipeline.operations.check.finding import FAILED, Finding, failed, ok, warning

SIZE, RETENTION, CLEANUP = "max.message.bytes", "retention.ms", "cleanup.policy"
REQUEST_MS = 10_000
_FORBIDDEN = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)
_SETUP = "run `crisp setup`, with the rights to make topics"


async def findings(settings: Settings) -> list[Finding]:
    """Everything that could be asked."""
    client = AIOKafkaClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_MS)
    admin = AIOKafkaAdminClient(**kafka_client.connection(settings), request_timeout_ms=REQUEST_MS)
    try:
        made = await _tried("Kafka", _reached(settings, client, admin), settings)
        if made[0].state == FAILED:
            return made
        names = [settings.topic_raw, settings.topic_dead]
        topics = {topic["topic"]: topic for topic in await admin.describe_topics(names)}
        allowed = await authorized_operations.of_topics(client, names)
        for name, asked in zip(names, (_raw, _dead), strict=True):
            made += await _tried(f"topic {name}", asked(settings, admin, topics[name], allowed), settings)
        return made + await _tried(f"group {settings.kafka_group}", _group(settings, admin), settings)
    finally:
        await admin.close()
        await client.close()


async def _tried(what: str, asked: Awaitable[list[Finding]], settings: Settings) -> list[Finding]:
    try:
        return await asked
    except KafkaError as fault:
        return [failed(what, str(fault), _todo(settings, fault))]


async def _reached(settings: Settings, client: Any, admin: Any) -> list[Finding]:
    await client.bootstrap()
    await admin.start()
    brokers = len(client.cluster.brokers())
    return [ok("Kafka", f"{settings.kafka_brokers} answers, {brokers} {'broker' if brokers == 1 else 'brokers'}")]


def _todo(settings: Settings, fault: KafkaError) -> str:
    if isinstance(fault, (AuthenticationFailedError, SaslAuthenticationFailed, UnsupportedSaslMechanismError)):
        return f"check {variable('kafka_sasl')}, {variable('kafka_user')} and {variable('kafka_password')}"
    if isinstance(fault, KafkaConnectionError):
        hint = "" if settings.kafka_tls else f", and {variable('kafka_tls')} if the brokers speak TLS only"
        return f"check {variable('kafka_brokers')}, and that nothing on the way blocks it{hint}"
    if isinstance(fault, _FORBIDDEN):
        return "give this user an ACL that lets it describe it and its configuration"
    return "the broker's own log says more"


async def _raw(settings: Settings, admin: Any, topic: Any, allowed: dict[str, Any]) -> list[Finding]:
    name = settings.topic_raw
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _SETUP)]
    number = len(topic["partitions"])
    made = [ok(f"topic {name}", f"{number} partitions")]
    if number < settings.topic_partitions:
        todo = "more than that many workers would idle; add partitions at any time"
        made = [warning(f"topic {name}", f"{number} partitions, the settings say {settings.topic_partitions}", todo)]
    have = await _config(admin, name)
    made.append(_size(name, have, record_max_bytes(settings)))
    wanted = int(settings.topic_retention_seconds * 1000)
    if "compact" in have[CLEANUP]:
        made.append(failed(f"topic {name}", "is compacted: records vanish", f"set its {CLEANUP} to delete"))
    if 0 <= int(have[RETENTION]) < wanted:
        seen = f"keeps records for {int(have[RETENTION]) // 1000} s, the settings say {wanted // 1000}"
        made.append(warning(f"topic {name}", seen, "an outage of Elasticsearch longer than that loses lines"))
    made += _rights(name, allowed.get(name), {"write": "the shipper", "read": "the worker", "describe": "both"})
    return made


async def _dead(settings: Settings, admin: Any, topic: Any, allowed: dict[str, Any]) -> list[Finding]:
    name = settings.topic_dead
    if topic["error_code"]:
        return [failed(f"topic {name}", for_code(topic["error_code"]).__name__, _SETUP)]
    have = await _config(admin, name)
    made = [ok(f"topic {name}", "is there"), _size(name, have, 2 * record_max_bytes(settings))]
    return made + _rights(name, allowed.get(name), {"write": "the worker", "describe": "the worker"})


async def _config(admin: Any, topic: str) -> dict[str, str]:
    keys = dict.fromkeys((SIZE, RETENTION, CLEANUP), "")
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, keys)])
    code, reason, *_, entries = answer.resources[0]
    if code:
        raise for_code(code)(f"the configuration of {topic} cannot be read: {reason}")
    return {entry[0]: str(entry[1]) for entry in entries}


def _size(topic: str, have: dict[str, str], need: int) -> Finding:
    what = f"{SIZE} of {topic}"
    if int(have[SIZE]) < need:
        todo = f"set it to {need}, or lower {variable('event_max_bytes')}"
        return failed(what, f"{have[SIZE]}, but a record may have {need} bytes", todo)
    return ok(what, f"{have[SIZE]}, at least {need} is needed")


def _rights(topic: str, allowed: frozenset[str] | None, wanted: dict[str, str]) -> list[Finding]:
    what = f"rights on {topic}"
    if allowed is None:
        return [warning(what, "the broker does not tell")]
    absent = [name for name in wanted if name not in allowed]
    if not absent:
        return [ok(what, ", ".join(wanted))]
    lacking = ", ".join(f"{name} (for {wanted[name]})" for name in absent)
    return [warning(what, f"this user lacks {lacking}", "give it an ACL, unless these settings are of the other part")]


async def _group(settings: Settings, admin: Any) -> list[Finding]:
    what = f"group {settings.kafka_group}"
    try:
        (answer,) = await admin.describe_consumer_groups([settings.kafka_group], include_authorized_operations=True)
    except GroupCoordinatorNotAvailableError:
        return [ok(what, "no group of any name was here yet")]
    code, _, state, _, _, members, *rest = answer.groups[0]
    if code:
        return [failed(what, for_code(code).__name__, f"give this user READ on the group {settings.kafka_group}")]
    allowed = authorized_operations.named(rest[-1]) if rest else None
    if allowed is not None and "read" not in allowed:
        return [
            warning(what, "this user may not read by it", "give it an ACL, unless these settings are the shipper's")
        ]
    return [ok(what, f"{len(members)} members, {state.lower()}" if members else "no worker is in it")]
