"""`crisp check --connect` reports problems of real servers and their remedies."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.kafka import authorized_operations
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from tests.integration.flow import Flow


def check(environment: dict[str, str], code: int) -> dict[str, dict[str, Any]]:
    """The results by subject."""
    command = [sys.executable, "-m", "pipeline.cli", "check", "--connect", "--json"]
    completed = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert completed.returncode == code, completed.stdout + completed.stderr
    output = json.loads(completed.stdout)
    assert output["good"] is (code == 0)
    return {entry["subject"]: entry for entry in output["findings"]}


def test_after_setup_every_check_passes(flow: Flow) -> None:
    results = check(flow.environment, 0)

    topic, dead = flow.settings.topic_raw, flow.settings.topic_dead
    assert results["Kafka"]["status"] == "ok"
    assert results[f"topic {topic}"]["observed"] == "3 partitions"
    assert results[f"authorized operations on {topic}"]["observed"] == "write, read, describe"
    assert results[f"authorized operations on {dead}"]["observed"] == "write, describe"
    assert results[f"group {flow.settings.kafka_group}"]["status"] == "ok"
    assert results["Elasticsearch"]["observed"].endswith(flow.stack.address.es_version)
    assert results[f"index template crisp-{flow.prefix}"]["observed"].startswith("up to date")
    assert results["clock"]["status"] == "ok"


def test_missing_and_different_setup_is_reported(stack: Stack, tmp_path: Path) -> None:
    flow = Flow(stack, tmp_path)
    results = check(flow.environment, 1)
    for subject in (f"topic {flow.settings.topic_raw}", f"index template crisp-{flow.prefix}"):
        assert (results[subject]["status"], "crisp setup" in results[subject]["remedy"]) == ("failed", True)

    asyncio.run(_small_topic(flow))
    flow.request(f"_index_template/crisp-{flow.prefix}", {"index_patterns": [f"{flow.prefix}-20*"]}, "PUT")
    results = check(flow.environment, 1)
    size = results[f"max.message.bytes of {flow.settings.topic_raw}"]
    assert (size["status"], "CRISP_EVENT_MAX_BYTES" in size["remedy"]) == ("failed", True)
    assert results[f"topic {flow.settings.topic_raw}"]["observed"] == "1 partitions, configured are 3"
    assert results[f"message.timestamp.type of {flow.settings.topic_raw}"]["status"] == "warning"
    assert results[f"index template crisp-{flow.prefix}"]["observed"] == "is not owned by crisp"


async def _small_topic(flow: Flow) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=flow.settings.kafka_brokers)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(flow.settings.topic_raw, 1, 1, topic_configs={"max.message.bytes": "1000"})]
        )
    finally:
        await admin.close()


def test_unreachable_servers_are_reported_with_their_settings() -> None:
    kafka_port, es_port = free_ports(2)
    environment = {"CRISP_KAFKA_BROKERS": f"127.0.0.1:{kafka_port}", "CRISP_ES_URLS": f"http://127.0.0.1:{es_port}"}

    results = check(environment, 1)

    assert "CRISP_KAFKA_BROKERS" in results["Kafka"]["remedy"]
    assert "CRISP_ES_URLS" in results["Elasticsearch"]["remedy"]


@pytest.mark.parametrize(
    ("bits", "names"),
    [(0, ""), (1 << 4 | 1 << 8, "describe write"), (0b1111_1111_1000, "describe read write")],
)
def test_operations_are_decoded_from_the_bit_field(bits: int, names: str) -> None:
    assert authorized_operations.operations_of(bits) == frozenset(names.split())


def test_omitted_operations_are_none() -> None:
    assert authorized_operations.operations_of(-(2**31)) is None
