"""`crisp setup` beside what other people have put."""

import asyncio
import itertools
import json
import os
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from pipeline.elasticsearch import index_template
from pipeline.errors import SetupError
from pipeline.kafka import client
from pipeline.local.stack import Stack
from tests.integration.flow import Flow, eventually


@pytest.fixture
def bare(stack: Stack, tmp_path) -> Flow:
    """A flow that is not set up."""
    return Flow(stack, tmp_path)


def make_topic(flow: Flow, name: str, partitions: int, **configs: str) -> None:
    async def make() -> None:
        admin = AIOKafkaAdminClient(**client.connection(flow.settings))
        await admin.start()
        try:
            await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
        finally:
            await admin.close()

    asyncio.run(make())


def test_a_second_run_finds_everything_there(flow: Flow) -> None:
    said = flow.set_up()

    assert [line for line in said if not line.startswith(" ")] == [
        f"topic {flow.settings.topic_raw}: is there already, 3 partitions",
        f"topic {flow.settings.topic_dead}: is there already, 1 partitions",
        "lifecycle: this server has no lifecycle management: nothing deletes old indices, do it yourself",
        f"index template crisp-{flow.prefix}: is there already, version {index_template.VERSION}",
        f"index template crisp-{flow.prefix}-infra: is there already, version {index_template.VERSION}",
        f"index template crisp-{flow.prefix}-late: is there already, version {index_template.VERSION}",
    ]


def test_drift_of_the_template_is_named_and_mended(flow: Flow) -> None:
    path = f"_index_template/crisp-{flow.prefix}"
    stands = flow.request(path)["index_templates"][0]["index_template"]
    stands["template"]["settings"]["index"]["refresh_interval"] = "45s"
    stands["template"]["mappings"]["properties"]["message"] = {"type": "keyword"}
    flow.request(path, stands, "PUT")

    said = flow.set_up()

    assert f"index template crisp-{flow.prefix}: had drifted, put again, version {index_template.VERSION}" in "\n".join(
        said
    )
    assert any(line.endswith(": index.refresh_interval, mappings.message") for line in said)
    mended = flow.request(path)["index_templates"][0]["index_template"]["template"]["settings"]["index"]
    assert mended["refresh_interval"] == "1s"


class Operator:
    """Elasticsearch's file settings: what they name, nobody else may change."""

    _version = itertools.count(1)

    def __init__(self, stack: Stack) -> None:
        home = stack.directory / "elasticsearch" / f"elasticsearch-{stack.address.es_version}" / "config"
        self._directory = home / "operator"
        self._owner = home.stat().st_uid

    def apply(self, templates: dict[str, Any]) -> None:
        """Put these index templates, and take back those before."""
        self._directory.mkdir(exist_ok=True)
        about = {"version": str(next(self._version)), "compatibility": "8.0.0"}
        state = {"index_templates": {"composable_index_templates": templates}}
        new = self._directory / "new"
        new.write_text(json.dumps({"metadata": about, "state": state}))
        for path in (self._directory, new):
            os.chown(path, self._owner, -1)
        new.rename(self._directory / "settings.json")


@pytest.fixture
def operated(bare: Flow) -> Iterator[Operator]:
    """What ECK's operator does with a StackConfigPolicy: by its file of settings; all is taken back at the end."""
    operator = Operator(bare.stack)
    yield operator
    operator.apply({})


def test_what_an_operator_keeps_is_left_alone_and_its_drift_is_told(bare: Flow, operated: Operator) -> None:
    bare.set_up()
    kept = {}
    for one in index_template.all_templates(bare.settings):
        (found,) = bare.request(f"_index_template/{one.name}")["index_templates"]
        kept[one.name] = found["index_template"]
    operated.apply(kept)
    name = f"crisp-{bare.prefix}"
    eventually(lambda: "set as read-only by [file_settings]" in _put_error(bare, name, kept[name]))

    same = bare.set_up()
    assert f"index template {name}: is there already, version {index_template.VERSION}" in same

    kept[name]["template"]["settings"]["index"]["refresh_interval"] = "45s"
    operated.apply(kept)
    eventually(lambda: "45s" in json.dumps(bare.request(f"_index_template/{name}")))
    (told,) = [line for line in bare.set_up() if line.startswith(f"index template {name}:")]
    assert told.startswith(
        f"index template {name}: differs from version {index_template.VERSION}: index.refresh_interval; left"
    )
    assert "only Elasticsearch's file_settings may change it" in told
    assert "StackConfigPolicy" in told
    assert "45s" in json.dumps(bare.request(f"_index_template/{name}"))


def _put_error(flow: Flow, name: str, body: dict[str, Any]) -> str:
    try:
        flow.request(f"_index_template/{name}", body, "PUT")
    except urllib.error.HTTPError as fault:
        return fault.read().decode()
    return ""


def test_a_template_of_higher_priority_is_named(bare: Flow) -> None:
    name = f"theirs-{bare.prefix}"
    bare.request(f"_index_template/{name}", {"index_patterns": [f"{bare.prefix}-20*"], "priority": 900}, "PUT")
    try:
        with pytest.raises(SetupError, match="another one has a priority above 500"):
            bare.set_up()
    finally:
        bare.request(f"_index_template/{name}", method="DELETE")


def test_a_template_of_somebody_else_under_our_name_is_left(bare: Flow) -> None:
    theirs = {"index_patterns": [f"{bare.prefix}-20*"], "priority": 7}
    bare.request(f"_index_template/crisp-{bare.prefix}", theirs, "PUT")

    with pytest.raises(SetupError, match="not crisp's"):
        bare.set_up()


def test_an_index_of_somebody_else_is_named(bare: Flow) -> None:
    bare.request(f"{bare.prefix}-2026.01.01", method="PUT")

    assert f"  index {bare.prefix}-2026.01.01 is not crisp's: it is left alone, documents go beside it" in bare.set_up()


@pytest.mark.parametrize(
    ("configs", "words"),
    [
        ({"max.message.bytes": "100000"}, "max.message.bytes to 2162688"),
        ({"max.message.bytes": "9000000", "cleanup.policy": "compact"}, "is compacted"),
    ],
    ids=["small", "compacted"],
)
def test_a_topic_that_could_lose_records_is_refused(bare: Flow, configs: dict[str, str], words: str) -> None:
    make_topic(bare, bare.settings.topic_raw, 3, **configs)

    with pytest.raises(SetupError, match=words):
        bare.set_up()


def test_fewer_partitions_and_another_retention_are_told(bare: Flow) -> None:
    make_topic(bare, bare.settings.topic_raw, 1, **{"max.message.bytes": "9000000", "retention.ms": "60000"})

    said = "\n".join(bare.set_up())

    assert "1 partitions instead of 3: more than 1 workers would idle" in said
    assert "retention.ms is 60000, the settings say 259200000" in said


def test_the_roles_are_printed_without_any_server() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "setup", "--roles"], capture_output=True, text=True, check=True
    )

    assert set(json.loads(printed.stdout)) == {"crisp_worker", "crisp_setup", "crisp_audit"}


def test_kibana_alone_needs_one_and_no_other_server() -> None:
    command = [sys.executable, "-m", "pipeline.cli", "setup", "--kibana-only"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode != 0
    assert "CRISP_KIBANA_URL says no Kibana" in ended.stderr
