"""The ACLs of the manifests' Kafka users, on a broker with authorizer: sufficient for each process, and minimal."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from pipeline.local.stack import Stack
from tests.deploy.manifests import Manifest, needs_kubectl, of_kind, overlay
from tests.integration.broker import GROUP, TOPIC, Broker, temporary_broker
from tests.integration.flow import Flow

pytestmark = [needs_kubectl, pytest.mark.k8s]

KINDS = {"topic": TOPIC, "group": GROUP}
RAW, DEAD = "logs-raw", "logs-dead"


async def grant(broker: Broker, users: list[Manifest]) -> None:
    """Add the ACLs of KafkaUsers, as Strimzi's operator does."""
    for entry in users:
        for acl in entry["spec"]["authorization"]["acls"]:
            assert acl["resource"]["patternType"] == "literal"
            kind, name = KINDS[acl["resource"]["type"]], acl["resource"]["name"]
            await broker.grant(entry["metadata"]["name"], kind, name, *acl["operations"])


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    users = of_kind(overlay("dev"), "KafkaUser")
    with temporary_broker(tmp_path_factory.mktemp("kafka"), [entry["metadata"]["name"] for entry in users]) as broker:
        asyncio.run(grant(broker, users))
        yield broker


@pytest.fixture
def flow(stack: Stack, broker: Broker, tmp_path: Path) -> Iterator[Flow]:
    names = {"CRISP_TOPIC_RAW": RAW, "CRISP_TOPIC_DEAD": DEAD, "CRISP_KAFKA_GROUP": "crisp-worker"}
    flow = Flow(stack, tmp_path, **names, **broker.environment("none"))
    yield flow
    flow.stop()


def crisp(flow: Flow, user: str, *arguments: str) -> str:
    """Run a command as one of the users; fails the test with its output."""
    environment = {**os.environ, **flow.environment, "CRISP_KAFKA_USER": user}
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=90)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


def test_acls_are_sufficient_for_each_process(flow: Flow) -> None:
    crisp(flow, "crisp-setup", "setup")
    assert "already exists" in crisp(flow, "crisp-setup", "setup")
    (flow.make_container("web") / "0.log").write_text("2026-11-25T10:00:00.000000001Z stdout F hello\n")

    crisp(flow, "crisp-shipper", "ship", "--once")
    crisp(flow, "crisp-worker", "worker", "--once")

    assert flow.messages() == ["hello"]
    crisp(flow, "crisp-worker", "audit", "--from", "kafka")
    crisp(flow, "crisp-worker", "dead", "list")


async def produce(broker: Broker, user: str, topic: str) -> None:
    producer = AIOKafkaProducer(**broker.connection(user))
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"x", partition=0)
    finally:
        await producer.stop()


async def consume(broker: Broker, user: str, topic: str) -> None:
    consumer = AIOKafkaConsumer(**broker.connection(user), auto_offset_reset="earliest")
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        await asyncio.wait_for(consumer.getone(), 20)
    finally:
        await consumer.stop()


def test_other_operations_are_denied(flow: Flow, broker: Broker) -> None:
    crisp(flow, "crisp-setup", "setup")

    for user, operation, topic in (
        ("crisp-shipper", consume, RAW),
        ("crisp-shipper", produce, DEAD),
        ("crisp-worker", produce, RAW),
        ("crisp-setup", consume, RAW),
        ("crisp-setup", produce, RAW),
        ("crisp-keda", consume, RAW),
        ("crisp-keda", produce, RAW),
    ):
        with pytest.raises(TopicAuthorizationFailedError):
            asyncio.run(operation(broker, user, topic))
