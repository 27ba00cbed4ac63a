"""Makes what the pipeline needs before its first line: topics, lifecycles, templates. Again it changes nothing."""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from pipeline.config.settings import Settings, env_name, record_max_bytes
from pipeline.elasticsearch.client import connect
from pipeline.errors import SetupError
from pipeline.kafka import client as kafka_client
from pipeline.operations.setup.index_templates import IndexSetup
from pipeline.operations.setup.kibana_import import KibanaClient

MAX_MESSAGE_BYTES = "max.message.bytes"
RETENTION_MS = "retention.ms"
CLEANUP_POLICY = "cleanup.policy"
MIN_INSYNC_REPLICAS = "min.insync.replicas"


async def create_all(settings: Settings) -> list[str]:
    """Topics, lifecycles, templates, what Kibana shows; returns what was done, a line each. Raises SetupError."""
    client = connect(settings)
    try:
        done = [*await create_topics(settings), *await IndexSetup(client, settings).run()]
    finally:
        await client.close()
    return [*done, *([await import_kibana_objects(settings)] if settings.kibana_url else [])]


async def import_kibana_objects(settings: Settings) -> str:
    """What Kibana shows; returns what was done. Raises SetupError."""
    if not settings.kibana_url:
        raise SetupError(f"{env_name('kibana_url')} says no Kibana")
    return await asyncio.to_thread(KibanaClient(settings).import_objects)


async def create_topics(settings: Settings) -> list[str]:
    """Make the topics; returns what was done, a line each. Raises SetupError."""
    safe = {MIN_INSYNC_REPLICAS: "2"} if settings.topic_replication > 2 else {}
    wanted = [
        NewTopic(
            settings.topic_raw,
            settings.topic_partitions,
            settings.topic_replication,
            topic_configs={
                MAX_MESSAGE_BYTES: str(record_max_bytes(settings)),
                RETENTION_MS: str(int(settings.topic_retention_seconds * 1000)),
                **safe,
            },
        ),
        NewTopic(
            settings.topic_dead,
            1,
            settings.topic_replication,
            topic_configs={MAX_MESSAGE_BYTES: str(2 * record_max_bytes(settings)), RETENTION_MS: "-1", **safe},
        ),
    ]
    admin = AIOKafkaAdminClient(**kafka_client.connection(settings), client_id="crisp-setup")
    try:
        await admin.start()
        answer = await admin.create_topics(wanted)
        codes = {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in answer.topic_errors}
        return [line for topic in wanted for line in await _create_topic(admin, topic, *codes[topic.name])]
    except KafkaError as fault:
        raise SetupError(f"topics cannot be made at {settings.kafka_brokers}: {fault!r}") from fault
    finally:
        await admin.close()


async def _create_topic(admin: Any, topic: NewTopic, code: int, reason: str) -> list[str]:
    if not code:
        return [f"topic {topic.name}: made, {topic.num_partitions} partitions"]
    if for_code(code) is not TopicAlreadyExistsError:
        raise SetupError(f"topic {topic.name}: {for_code(code).__name__}: {reason}")
    have = await _topic_config(admin, topic.name)
    _check_config(topic, have)
    (described,) = await admin.describe_topics([topic.name])
    number = len(described["partitions"])
    return [f"topic {topic.name}: is there already, {number} partitions", *_differences(topic, have, number)]


def _check_config(topic: NewTopic, have: dict[str, str]) -> None:
    """Refuse a topic that would lose records or cannot hold ours."""
    need = int(topic.topic_configs[MAX_MESSAGE_BYTES])
    if int(have[MAX_MESSAGE_BYTES]) < need:
        raise SetupError(
            f"topic {topic.name} is there, but takes records of {have[MAX_MESSAGE_BYTES]} bytes only:"
            f" set its {MAX_MESSAGE_BYTES} to {need}, or lower {env_name('event_max_bytes')}"
        )
    if "compact" in have[CLEANUP_POLICY]:
        raise SetupError(
            f"topic {topic.name} is there, but is compacted: records would vanish; set its {CLEANUP_POLICY} to delete"
        )


def _differences(topic: NewTopic, have: dict[str, str], number: int) -> list[str]:
    """What is otherwise than the settings say, and may stay so."""
    lines = []
    if number < topic.num_partitions:
        lines.append(
            f"  {number} partitions instead of {topic.num_partitions}: more than {number} workers would idle; more can "
            "be added at any time, nothing depends on their number"
        )
    for key in (RETENTION_MS, MIN_INSYNC_REPLICAS):
        wanted = topic.topic_configs.get(key)
        if wanted is not None and have[key] != wanted:
            lines.append(f"  {key} is {have[key]}, the settings say {wanted}")
    return lines


async def _topic_config(admin: Any, topic: str) -> dict[str, str]:
    keys = dict.fromkeys((MAX_MESSAGE_BYTES, RETENTION_MS, CLEANUP_POLICY, MIN_INSYNC_REPLICAS), "")
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, keys)])
    return {entry[0]: str(entry[1]) for entry in answer.resources[0][4]}
