"""Makes what the pipeline needs before its first line: topics and index template. Doing it again changes nothing."""

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline import kafka_client
from pipeline.elastic import template
from pipeline.elastic.client import connect
from pipeline.errors import SetupError
from pipeline.settings import Settings, record_max_bytes, variable

_TRIES = 8


async def everything(settings: Settings) -> list[str]:
    """Topics and index template; returns what was done, a line each. Raises SetupError."""
    client = connect(settings)
    try:
        return [*await topics(settings), *await index_template(client, settings)]
    finally:
        await client.close()


async def topics(settings: Settings) -> list[str]:
    """Make the topics; returns what was done, a line each. Raises SetupError."""
    sizes = {"max.message.bytes": str(record_max_bytes(settings))}
    wanted = [
        NewTopic(
            settings.topic_raw,
            settings.topic_partitions,
            settings.topic_replication,
            topic_configs={**sizes, "retention.ms": str(int(settings.topic_retention_seconds * 1000))},
        ),
        NewTopic(
            settings.topic_dead,
            1,
            settings.topic_replication,
            topic_configs={"max.message.bytes": str(2 * record_max_bytes(settings)), "retention.ms": "-1"},
        ),
    ]
    admin = AIOKafkaAdminClient(**kafka_client.connection(settings), client_id="crisp-setup")
    try:
        await admin.start()
        answer = await admin.create_topics(wanted)
        codes = {row[0]: (row[1], row[2] if len(row) > 2 else "") for row in answer.topic_errors}
        return [await _topic(admin, topic, *codes[topic.name]) for topic in wanted]
    except KafkaError as fault:
        raise SetupError(f"topics cannot be made at {settings.kafka_brokers}: {fault!r}") from fault
    finally:
        await admin.close()


async def _topic(admin: Any, topic: Any, code: int, reason: str) -> str:
    if not code:
        return f"topic {topic.name}: made, {topic.num_partitions} partitions"
    if for_code(code) is not TopicAlreadyExistsError:
        raise SetupError(f"topic {topic.name}: {for_code(code).__name__}: {reason}")
    have = await _config(admin, topic.name, "max.message.bytes")
    need = int(topic.topic_configs["max.message.bytes"])
    if have < need:
        raise SetupError(
            f"topic {topic.name} is there, but takes records of {have} bytes only: set its max.message.bytes to {need},"
            f" or lower {variable('event_max_bytes')}"
        )
    return f"topic {topic.name}: is there already"


async def _config(admin: Any, topic: str, key: str) -> int:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {key: ""})])
    entries = answer.resources[0][4]
    return next(int(entry[1]) for entry in entries if entry[0] == key)


async def index_template(client: AsyncElasticsearch, settings: Settings) -> list[str]:
    """Put the index template, without what this server lacks; returns what was done. Raises SetupError."""
    without = template.Lacking()
    title = template.name(settings)
    await _refuse_foreign(client, title)
    for _ in range(_TRIES):
        try:
            await client.perform_request(
                "PUT",
                f"/_index_template/{title}",
                headers={"content-type": "application/json", "accept": "application/json"},
                body=template.body(settings, without),
            )
        except ApiError as fault:
            more = template.lacking(str(fault.body))
            if fault.status_code != 400 or not (more.types - without.types or more.settings - without.settings):
                raise SetupError(f"index template {title} refused: {fault.body}") from fault
            without = template.Lacking(without.types | more.types, without.settings | more.settings)
        except TransportError as fault:
            raise SetupError(f"Elasticsearch at {settings.es_urls} cannot be reached: {fault}") from fault
        else:
            return [f"index template {title}: put, version {template.VERSION}", *_without(without)]
    raise SetupError(f"index template {title}: this server lacks too much: {sorted(without.types)}")


async def _refuse_foreign(client: AsyncElasticsearch, title: str) -> None:
    try:
        found = await client.perform_request("GET", f"/_index_template/{title}", headers={"accept": "application/json"})
    except ApiError as fault:
        if fault.status_code == 404:
            return
        raise SetupError(f"index template {title} cannot be read: {fault.status_code} {fault.body}") from fault
    except TransportError as fault:
        raise SetupError(f"Elasticsearch cannot be reached: {fault}") from fault
    marked = found.body["index_templates"][0]["index_template"].get("_meta")
    if not template.is_ours(marked):
        raise SetupError(f"an index template {title} is there that is not crisp's: rename or remove it")


def _without(without: template.Lacking) -> list[str]:
    lines = [f"  this server has no mapper {kind}: a plain one is used instead" for kind in sorted(without.types)]
    return lines + [f"  this server has no setting {key}: left out" for key in sorted(without.settings)]
