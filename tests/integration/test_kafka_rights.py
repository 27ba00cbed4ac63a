"""The rights of the manifests' Kafka users, on a real broker with its authorizer: enough for each part, and no more."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest

from pipeline.local import kafka
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.deploy.manifests import Manifest, needs_kubectl, of_kind, overlay
from tests.integration.flow import Flow

pytestmark = [needs_kubectl, pytest.mark.k8s]

PASSWORD = "secret"  # noqa: S105 - of a broker that lives as long as this test
TYPES = {"topic": 2, "group": 3}
LITERAL, ALLOW = 3, 3
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8, "DescribeConfigs": 10}
RAW, DEAD = "logs-raw", "logs-dead"


def properties(users: list[str]) -> str:
    """The local broker's, with SASL and Kafka's own authorizer."""
    jaas = " ".join(f'user_{name}="{PASSWORD}"' for name in ["admin", *users])
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    text = kafka._PROPERTIES.replace("PLAINTEXT://127.0.0.1:{port}", "SASL_PLAINTEXT://127.0.0.1:{port}")
    text = text.replace("=PLAINTEXT:PLAINTEXT,", "=SASL_PLAINTEXT:SASL_PLAINTEXT,")
    return text + "\n".join(
        (
            "inter.broker.listener.name=SASL_PLAINTEXT",
            "sasl.enabled.mechanisms=PLAIN",
            "sasl.mechanism.inter.broker.protocol=PLAIN",
            f"listener.name.sasl_plaintext.plain.sasl.jaas.config={module} required "
            f'username="admin" password="{PASSWORD}" {jaas};',
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:admin;User:ANONYMOUS",
        )
    )


def connection(port: int, user: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": f"127.0.0.1:{port}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": user,
        "sasl_plain_password": PASSWORD,
    }


async def grant(port: int, users: list[Manifest]) -> None:
    """What Strimzi's operator does with a KafkaUser."""
    admin = AIOKafkaAdminClient(**connection(port, "admin"))
    await admin.start()
    try:
        for entry in users:
            for acl in entry["spec"]["authorization"]["acls"]:
                assert acl["resource"]["patternType"] == "literal"
                for operation in acl["operations"]:
                    who = f"User:{entry['metadata']['name']}"
                    what = (TYPES[acl["resource"]["type"]], acl["resource"]["name"], LITERAL)
                    request = CreateAclsRequest(*what, who, "*", OPERATIONS[operation], ALLOW)
                    answer = await admin._send_to_controller(request)
                    assert all(row[0] == 0 for row in answer.creation_responses), answer
    finally:
        await admin.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    users = of_kind(overlay("dev"), "KafkaUser")
    directory = tmp_path_factory.mktemp("kafka")
    port, controller = free_ports(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kafka, "_PROPERTIES", properties([entry["metadata"]["name"] for entry in users]))
        server = kafka.start(directory, port, controller)
    try:
        kafka.wait(server, port)
        asyncio.run(grant(port, users))
        yield port
    finally:
        server.stop()


@pytest.fixture
def flow(stack: Stack, broker: int, tmp_path: Path) -> Iterator[Flow]:
    names = {"CRISP_TOPIC_RAW": RAW, "CRISP_TOPIC_DEAD": DEAD, "CRISP_GROUP": "crisp-worker"}
    there = {"CRISP_KAFKA_BROKERS": f"127.0.0.1:{broker}", "CRISP_KAFKA_SASL": "PLAIN"}
    made = Flow(stack, tmp_path, **names, **there, CRISP_KAFKA_USER="none", CRISP_KAFKA_PASSWORD=PASSWORD)
    yield made
    made.end()


def crisp(flow: Flow, user: str, *arguments: str) -> str:
    """A command as one of the users; fails the test with what it said."""
    environment = {**os.environ, **flow.environment, "CRISP_KAFKA_USER": user}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_each_part_does_its_work_with_its_own_rights(flow: Flow) -> None:
    crisp(flow, "crisp-setup", "setup")
    assert "is there already" in crisp(flow, "crisp-setup", "setup")
    (flow.container("web") / "0.log").write_text("2026-11-25T10:00:00.000000001Z stdout F hello\n")

    crisp(flow, "crisp-shipper", "ship", "--once")
    crisp(flow, "crisp-worker", "worker", "--once")

    assert flow.messages() == ["hello"]
    crisp(flow, "crisp-worker", "audit", "--from", "kafka")
    crisp(flow, "crisp-worker", "dead", "list")


async def produce(port: int, user: str, topic: str) -> None:
    producer = AIOKafkaProducer(**connection(port, user))
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"x", partition=0)
    finally:
        await producer.stop()


async def consume(port: int, user: str, topic: str) -> None:
    consumer = AIOKafkaConsumer(**connection(port, user), auto_offset_reset="earliest")
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        await asyncio.wait_for(consumer.getone(), 20)
    finally:
        await consumer.stop()


def test_no_part_may_do_what_is_anothers(flow: Flow, broker: int) -> None:
    crisp(flow, "crisp-setup", "setup")

    for user, act, topic in (
        ("crisp-shipper", consume, RAW),
        ("crisp-shipper", produce, DEAD),
        ("crisp-worker", produce, RAW),
        ("crisp-setup", consume, RAW),
        ("crisp-setup", produce, RAW),
        ("crisp-keda", consume, RAW),
        ("crisp-keda", produce, RAW),
    ):
        with pytest.raises(TopicAuthorizationFailedError):
            asyncio.run(act(broker, user, topic))
