"""`crisp check --connect` finds what is wrong with real servers, and says what to do."""

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
    """The findings by what they are about."""
    command = [sys.executable, "-m", "pipeline.cli", "check", "--connect", "--json"]
    ended = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == code, ended.stdout + ended.stderr
    said = json.loads(ended.stdout)
    assert said["good"] is (code == 0)
    return {one["what"]: one for one in said["findings"]}


def test_after_setup_all_is_well(flow: Flow) -> None:
    found = check(flow.environment, 0)

    topic, dead = flow.settings.topic_raw, flow.settings.topic_dead
    assert found["Kafka"]["state"] == "ok"
    assert found[f"topic {topic}"]["seen"] == "3 partitions"
    assert found[f"rights on {topic}"]["seen"] == "write, read, describe"
    assert found[f"rights on {dead}"]["seen"] == "write, describe"
    assert found[f"group {flow.settings.kafka_group}"]["state"] == "ok"
    assert found["Elasticsearch"]["seen"].endswith(flow.stack.address.es_version)
    assert found[f"index template crisp-{flow.prefix}"]["seen"].startswith("ours")
    assert found["clock"]["state"] == "ok"


def test_what_is_not_set_up_or_set_up_otherwise_is_said(stack: Stack, tmp_path: Path) -> None:
    flow = Flow(stack, tmp_path)
    found = check(flow.environment, 1)
    for what in (f"topic {flow.settings.topic_raw}", f"index template crisp-{flow.prefix}"):
        assert (found[what]["state"], "crisp setup" in found[what]["todo"]) == ("failed", True)

    asyncio.run(_small_topic(flow))
    flow.request(f"_index_template/crisp-{flow.prefix}", {"index_patterns": [f"{flow.prefix}-20*"]}, "PUT")
    found = check(flow.environment, 1)
    size = found[f"max.message.bytes of {flow.settings.topic_raw}"]
    assert (size["state"], "CRISP_EVENT_MAX_BYTES" in size["todo"]) == ("failed", True)
    assert found[f"topic {flow.settings.topic_raw}"]["seen"] == "1 partitions, the settings say 3"
    assert found[f"index template crisp-{flow.prefix}"]["seen"] == "is not crisp's"


async def _small_topic(flow: Flow) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=flow.settings.kafka_brokers)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(flow.settings.topic_raw, 1, 1, topic_configs={"max.message.bytes": "1000"})]
        )
    finally:
        await admin.close()


def test_servers_that_are_not_there_are_named_with_their_settings() -> None:
    nobody, nothing = free_ports(2)
    environment = {"CRISP_KAFKA_BROKERS": f"127.0.0.1:{nobody}", "CRISP_ES_URLS": f"http://127.0.0.1:{nothing}"}

    found = check(environment, 1)

    assert "CRISP_KAFKA_BROKERS" in found["Kafka"]["todo"]
    assert "CRISP_ES_URLS" in found["Elasticsearch"]["todo"]


@pytest.mark.parametrize(
    ("bits", "names"),
    [(0, set()), (1 << 4 | 1 << 8, {"write", "describe"}), (0b1111_1111_1000, {"read", "write", "describe"})],
)
def test_rights_are_read_from_kafka_s_bits(bits: int, names: set[str]) -> None:
    assert authorized_operations.operations_of(bits) == names


def test_a_broker_without_rights_does_not_tell_any() -> None:
    assert authorized_operations.operations_of(-(2**31)) is None
