"""The operations that Kafka authorizes on a topic, as its metadata lists them (protocol version 8).

aiokafka uses older versions of that request, which omit them. Source: Kafka's MetadataRequest.json and
MetadataResponse.json, and AclOperation for the numbers.
"""

from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Boolean, Int16, Int32, Schema, String

OPERATIONS = {"read": 3, "write": 4, "describe": 8}
OMITTED = -(2**31)


class _MetadataResponse(Response):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", String()), ("port", Int32), ("rack", String()))),
        ("cluster_id", String()),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("name", String()),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataRequest8(RequestStruct):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(String())),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataRequest8]):  # type: ignore[misc] # aiokafka ships no types
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataRequest8]) -> _MetadataRequest8:
        """The request; missing topics are not created."""
        return request_struct_class(self._topics, False, False, True)  # noqa: FBT003 - positions of the protocol


def operations_of(bits: int) -> frozenset[str] | None:
    """The operations in Kafka's bit field; None if the broker omits them."""
    if bits == OMITTED:
        return None
    return frozenset(name for name, number in OPERATIONS.items() if bits >> number & 1)


async def fetch_topic_operations(client: AIOKafkaClient, topics: list[str]) -> dict[str, frozenset[str] | None]:
    """The authorized operations of each existing topic. Raises KafkaError."""
    response: Any = await client.send(client.get_random_node(), _MetadataRequest(topics))
    return {topic[1]: operations_of(topic[4]) for topic in response.topics if not topic[0]}
