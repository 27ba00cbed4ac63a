"""Creates the raw and the dead-letter topic, or checks those that exist. Idempotent."""

from typing import Any

from aiokafka.admin import NewTopic
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    NotControllerError,
    RequestTimedOutError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    for_code,
)

from pipeline.config.settings import KafkaSettings, env_name
from pipeline.errors import SetupError, UnavailableError
from pipeline.kafka import client as kafka_client
from pipeline.kafka.error_text import describe_error
from pipeline.kafka.topic_config import (
    CLEANUP_POLICY,
    LARGE_RECORDS,
    LOG_APPEND_TIME,
    MAX_MESSAGE_BYTES,
    MIN_INSYNC_REPLICAS,
    RETENTION_BYTES,
    RETENTION_MS,
    TIMESTAMP_TYPE,
    read_topic_config,
)

_MAY_CHANGE = (InvalidReplicationFactorError, NotControllerError, RequestTimedOutError, TopicAuthorizationFailedError)
"""Errors while brokers start one after the other, or before the user's rights are made."""


async def create_topics(settings: KafkaSettings) -> list[str]:
    """Create the topics; return a message each. Raises SetupError."""
    durability = {MIN_INSYNC_REPLICAS: "2"} if settings.topic_replication > 2 else {}
    topics = [
        NewTopic(
            settings.topic_raw,
            settings.topic_partitions,
            settings.topic_replication,
            topic_configs={
                MAX_MESSAGE_BYTES: str(settings.record_max_bytes),
                RETENTION_MS: str(int(settings.topic_retention_seconds * 1000)),
                RETENTION_BYTES: str(settings.topic_retention_bytes or -1),
                TIMESTAMP_TYPE: LOG_APPEND_TIME,
                **durability,
            },
        ),
        NewTopic(
            settings.topic_dead,
            1,
            settings.topic_replication,
            topic_configs={
                MAX_MESSAGE_BYTES: str(settings.dead_letter_topic_max_bytes),
                RETENTION_MS: "-1",
                TIMESTAMP_TYPE: LOG_APPEND_TIME,
                **durability,
            },
        ),
    ]
    try:
        async with kafka_client.admin_client(settings, client_id="crisp-setup") as admin:
            response = await admin.create_topics(topics)
            codes = {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in response.topic_errors}
            return [line for topic in topics for line in await _describe_topic(admin, topic, *codes[topic.name])]
    except KafkaError as error:
        raise UnavailableError(f"cannot create topics at {settings.kafka_address}: {describe_error(error)}") from error


async def _describe_topic(admin: Any, topic: NewTopic, code: int, reason: str) -> list[str]:
    """Describe a created topic, or check an existing one; `code` is the error code of its creation."""
    if not code:
        return [f"topic {topic.name}: created, {topic.num_partitions} partitions"]
    if for_code(code) in _MAY_CHANGE:
        raise UnavailableError(f"topic {topic.name}: {for_code(code).__name__}: {reason}")
    if for_code(code) is not TopicAlreadyExistsError:
        raise SetupError(f"topic {topic.name}: {for_code(code).__name__}: {reason}")
    config = await read_topic_config(admin, topic.name)
    _check_config(topic, config)
    (described,) = await admin.describe_topics([topic.name])
    partitions = len(described["partitions"])
    return [f"topic {topic.name}: already exists, {partitions} partitions", *_differences(topic, config, partitions)]


def _check_config(topic: NewTopic, config: dict[str, str]) -> None:
    """Raise SetupError for a topic that would lose or reject records."""
    required = int(topic.topic_configs[MAX_MESSAGE_BYTES])
    if int(config[MAX_MESSAGE_BYTES]) < required:
        raise SetupError(
            f"topic {topic.name} exists, but accepts records of {config[MAX_MESSAGE_BYTES]} bytes only:"
            f" set its {MAX_MESSAGE_BYTES} to {required}, or lower {env_name('event_max_bytes')}"
        )
    if "compact" in config[CLEANUP_POLICY]:
        raise SetupError(
            f"topic {topic.name} exists, but is compacted: records would vanish; set its {CLEANUP_POLICY} to delete"
        )


def _differences(topic: NewTopic, config: dict[str, str], partitions: int) -> list[str]:
    """Return harmless differences from the settings, as text."""
    lines = []
    if partitions < topic.num_partitions:
        lines.append(
            f"  {partitions} partitions instead of {topic.num_partitions}: more than {partitions} workers would idle;"
            " partitions can be added at any time, nothing depends on their number"
        )
    for key in (RETENTION_MS, RETENTION_BYTES, MIN_INSYNC_REPLICAS, TIMESTAMP_TYPE):
        configured = topic.topic_configs.get(key)
        if configured is not None and config.get(key, configured) != configured:
            lines.append(f"  {key} is {config[key]}, configured is {configured}")
    largest = LARGE_RECORDS * int(topic.topic_configs[MAX_MESSAGE_BYTES])
    if int(config[MAX_MESSAGE_BYTES]) > largest:
        lines.append(
            f"  {MAX_MESSAGE_BYTES} is {config[MAX_MESSAGE_BYTES]}: a worker's memory is sized for {largest}; a batch"
            " that is larger, packed or unpacked, is dead-lettered"
        )
    return lines
