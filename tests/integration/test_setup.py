"""`crisp setup` with existing topics, templates and indices."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.elasticsearch import index_template
from pipeline.errors import SetupError
from pipeline.kafka import client
from pipeline.local.stack import Stack
from tests.integration.flow import Flow, eventually


@pytest.fixture
def bare(stack: Stack, tmp_path: Path) -> Flow:
    """A flow without setup."""
    return Flow(stack, tmp_path)


def create_topic(flow: Flow, name: str, partitions: int, **configs: str) -> None:
    async def create() -> None:
        admin = AIOKafkaAdminClient(**client.connection(flow.settings))
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        finally:
            await admin.close()

    asyncio.run(create())


def test_second_setup_changes_nothing(flow: Flow) -> None:
    messages = flow.set_up()

    assert [line for line in messages if not line.startswith(" ")] == [
        f"topic {flow.settings.topic_raw}: already exists, 3 partitions",
        f"topic {flow.settings.topic_dead}: already exists, 1 partitions",
        "lifecycle: not supported by this server: delete old indices by other means",
        f"index template crisp-{flow.prefix}: up to date, version {index_template.VERSION}",
        f"index template crisp-{flow.prefix}-infra: up to date, version {index_template.VERSION}",
        f"index template crisp-{flow.prefix}-late: up to date, version {index_template.VERSION}",
    ]


def test_template_drift_is_reported_and_corrected(flow: Flow) -> None:
    path = f"_index_template/crisp-{flow.prefix}"
    template = flow.request(path)["index_templates"][0]["index_template"]
    template["template"]["settings"]["index"]["refresh_interval"] = "45s"
    template["template"]["mappings"]["properties"]["message"] = {"type": "keyword"}
    flow.request(path, template, "PUT")

    messages = flow.set_up()

    assert f"index template crisp-{flow.prefix}: differed, updated, version {index_template.VERSION}" in "\n".join(
        messages
    )
    assert any(line.endswith(": index.refresh_interval, mappings.message") for line in messages)
    corrected = flow.request(path)["index_templates"][0]["index_template"]["template"]["settings"]["index"]
    assert corrected["refresh_interval"] == "1s"


class Operator:
    """Elasticsearch's file settings: their objects are read-only for all others."""

    _version = itertools.count(1)

    def __init__(self, stack: Stack) -> None:
        home = stack.directory / "elasticsearch" / f"elasticsearch-{stack.address.es_version}" / "config"
        self._directory = home / "operator"
        self._owner = home.stat().st_uid

    def apply(self, templates: dict[str, Any]) -> None:
        """Set these index templates, and remove the previous ones."""
        self._directory.mkdir(exist_ok=True)
        metadata = {"version": str(next(self._version)), "compatibility": "8.0.0"}
        state = {"index_templates": {"composable_index_templates": templates}}
        new = self._directory / "new"
        new.write_text(json.dumps({"metadata": metadata, "state": state}))
        for path in (self._directory, new):
            os.chown(path, self._owner, -1)
        new.rename(self._directory / "settings.json")


@pytest.fixture
def operator(bare: Flow) -> Iterator[Operator]:
    """File settings as ECK's operator writes them for a StackConfigPolicy; removed at the end."""
    operator = Operator(bare.stack)
    yield operator
    operator.apply({})


def test_template_of_an_operator_is_not_changed_and_its_drift_is_reported(bare: Flow, operator: Operator) -> None:
    bare.set_up()
    templates = {}
    for template in index_template.all_templates(bare.settings):
        (existing,) = bare.request(f"_index_template/{template.name}")["index_templates"]
        templates[template.name] = existing["index_template"]
    operator.apply(templates)
    name = f"crisp-{bare.prefix}"
    eventually(lambda: "set as read-only by [file_settings]" in _put_error(bare, name, templates[name]))

    unchanged = bare.set_up()
    assert f"index template {name}: up to date, version {index_template.VERSION}" in unchanged

    templates[name]["template"]["settings"]["index"]["refresh_interval"] = "45s"
    operator.apply(templates)
    eventually(lambda: "45s" in json.dumps(bare.request(f"_index_template/{name}")))
    (message,) = [line for line in bare.set_up() if line.startswith(f"index template {name}:")]
    assert message.startswith(
        f"index template {name}: differs from version {index_template.VERSION}: index.refresh_interval; not changed"
    )
    assert "only Elasticsearch's file_settings may change it" in message
    assert "StackConfigPolicy" in message
    assert "45s" in json.dumps(bare.request(f"_index_template/{name}"))


def _put_error(flow: Flow, name: str, body: dict[str, Any]) -> str:
    try:
        flow.request(f"_index_template/{name}", body, "PUT")
    except urllib.error.HTTPError as error:
        return error.read().decode()
    return ""


def test_template_of_higher_priority_is_reported(bare: Flow) -> None:
    name = f"theirs-{bare.prefix}"
    bare.request(f"_index_template/{name}", {"index_patterns": [f"{bare.prefix}-20*"], "priority": 900}, "PUT")
    try:
        with pytest.raises(SetupError, match="another template has a priority above 500"):
            bare.set_up()
    finally:
        bare.request(f"_index_template/{name}", method="DELETE")


def test_template_of_another_owner_is_not_changed(bare: Flow) -> None:
    theirs = {"index_patterns": [f"{bare.prefix}-20*"], "priority": 7}
    bare.request(f"_index_template/crisp-{bare.prefix}", theirs, "PUT")

    with pytest.raises(SetupError, match="not owned by crisp"):
        bare.set_up()


def test_index_of_another_owner_is_reported(bare: Flow) -> None:
    bare.request(f"{bare.prefix}-2026.01.01", method="PUT")

    assert f"  index {bare.prefix}-2026.01.01 is not owned by crisp: documents go to another index" in bare.set_up()


@pytest.mark.parametrize(
    ("configs", "message"),
    [
        ({"max.message.bytes": "100000"}, "max.message.bytes to 2162688"),
        ({"max.message.bytes": "9000000", "cleanup.policy": "compact"}, "is compacted"),
    ],
    ids=["small", "compacted"],
)
def test_topic_that_can_lose_records_is_rejected(bare: Flow, configs: dict[str, str], message: str) -> None:
    create_topic(bare, bare.settings.topic_raw, 3, **configs)

    with pytest.raises(SetupError, match=message):
        bare.set_up()


def test_fewer_partitions_and_different_retention_are_reported(bare: Flow) -> None:
    create_topic(bare, bare.settings.topic_raw, 1, **{"max.message.bytes": "9000000", "retention.ms": "60000"})

    messages = "\n".join(bare.set_up())

    assert "1 partitions instead of 3: more than 1 workers would idle" in messages
    assert "retention.ms is 60000, configured is 259200000" in messages
    assert "message.timestamp.type is CreateTime, configured is LogAppendTime" in messages
    assert "max.message.bytes is 9000000: a worker's memory is sized for 8650752" in messages


def test_roles_are_printed_without_servers() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "setup", "--roles"], capture_output=True, text=True, check=True
    )

    assert set(json.loads(printed.stdout)) == {"crisp_worker", "crisp_setup", "crisp_audit"}


def test_kibana_only_needs_a_kibana_url() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "setup", "--kibana-only"]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)

    assert completed.returncode != 0
    assert "CRISP_KIBANA_URL is not set" in completed.stderr


def test_index_settings_of_the_user_reach_new_indices(bare: Flow) -> None:
    bare.configure(CRISP_INDEX_SETTINGS='{"refresh_interval": "2s", "index.codec": null, "index.priority": 7}')
    bare.set_up()
    bare.request(f"{bare.prefix}-2026.11.24", {}, "PUT")

    settings = bare.request(f"{bare.prefix}-2026.11.24/_settings")[f"{bare.prefix}-2026.11.24"]["settings"]["index"]
    assert (settings["refresh_interval"], settings["priority"], "codec" in settings) == ("2s", "7", False)
    assert f"index template crisp-{bare.prefix}: up to date, version {index_template.VERSION}" in bare.set_up()


def test_unknown_index_setting_of_the_user_is_rejected_not_omitted(bare: Flow) -> None:
    bare.configure(CRISP_INDEX_SETTINGS='{"index.codecc": "default"}')

    with pytest.raises(SetupError, match=r"CRISP_INDEX_SETTINGS: this server has no setting index\.codecc"):
        bare.set_up()


def test_invalid_value_of_an_index_setting_is_rejected(bare: Flow) -> None:
    bare.configure(CRISP_INDEX_SETTINGS='{"index.codec": "x"}')

    with pytest.raises(SetupError, match=r"unknown value for \[index\.codec\]"):
        bare.set_up()


def test_logsdb_is_used_or_rejected_by_name(bare: Flow) -> None:
    bare.configure(CRISP_INDEX_MODE="logsdb")
    if bare.stack.address.es_version.startswith("8.11."):
        with pytest.raises(SetupError, match=r"CRISP_INDEX_MODE=logsdb: this server does not support it"):
            bare.set_up()
        return
    bare.set_up()
    document = {
        "@timestamp": "2026-11-24T09:42:30.100000000Z",
        "message": " a ",
        "host.name": "n",
        "event.created": "2026-11-24T09:42:31.000000000Z",
        "tags": ["b", "a", "a"],
        "kubernetes.labels": {"b": "1", "a.c": "2"},
    }
    bare.request(f"{bare.prefix}-2026.11.24/_create/1", document, "PUT")

    settings = bare.request(f"{bare.prefix}-2026.11.24/_settings")[f"{bare.prefix}-2026.11.24"]["settings"]["index"]
    assert settings["mode"] == "logsdb"
    # After a retry the stored document is compared with ours: it must be what was sent.
    assert bare.request(f"{bare.prefix}-2026.11.24/_doc/1")["_source"] == document
