"""The configuration of a topic, by Kafka's names of its entries."""

import asyncio
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import UnknownTopicOrPartitionError, for_code

MAX_MESSAGE_BYTES = "max.message.bytes"
RETENTION_MS = "retention.ms"
RETENTION_BYTES = "retention.bytes"
CLEANUP_POLICY = "cleanup.policy"
MIN_INSYNC_REPLICAS = "min.insync.replicas"
TIMESTAMP_TYPE = "message.timestamp.type"
LOG_APPEND_TIME = "LogAppendTime"
"""The broker's clock counts: a node whose clock is wrong is neither refused, nor are its records deleted at once."""
LARGE_RECORDS = 4
"""As many records of the maximum size a worker unpacks at once."""

MAX_ATTEMPTS = 10
PAUSE_SECONDS = 0.3
_NAMES = (MAX_MESSAGE_BYTES, RETENTION_MS, RETENTION_BYTES, CLEANUP_POLICY, MIN_INSYNC_REPLICAS, TIMESTAMP_TYPE)


async def read_topic_config(admin: Any, topic: str) -> dict[str, str]:
    """Return the entries above. A broker may not know a topic yet that was just created. Raises KafkaError."""
    resource = ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(_NAMES, ""))
    for attempt in range(MAX_ATTEMPTS):
        if attempt:
            await asyncio.sleep(PAUSE_SECONDS)
        (response,) = await admin.describe_configs([resource])
        code, reason, *_, entries = response.resources[0]
        if code and for_code(code) is not UnknownTopicOrPartitionError:
            raise for_code(code)(f"cannot read the configuration of {topic}: {reason}")
        if not code and entries:
            return {entry[0]: str(entry[1]) for entry in entries}
    raise UnknownTopicOrPartitionError(f"the broker does not report the configuration of {topic}")
