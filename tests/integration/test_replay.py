"""A replay brings back exactly what is gone, and nothing twice; dead letters are listed and can be sent again."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import LogGenerator
from pipeline.elasticsearch import index_template
from pipeline.kafka.topic_reader import committed_offsets
from pipeline.local import artifacts, java
from tests.integration.flow import Flow, eventually
from tests.integration.test_audit import delete_documents, line


def crisp(flow: Flow, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """What a command prints with `--json`."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments, "--json"]
    environment = {**os.environ, **flow.environment}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode in codes, f"{ended.returncode}: {ended.stdout}{ended.stderr}"
    said: dict[str, Any] = json.loads(ended.stdout)
    return said


def contents(flow: Flow) -> dict[str, dict[str, Any]]:
    """All documents by id, without the time of indexing."""
    return {
        hit["_id"]: {name: value for name, value in hit["_source"].items() if name != "event.ingested"}
        for hit in flow.documents()
    }


def test_a_replay_brings_back_what_was_deleted_and_a_second_one_nothing(flow: Flow) -> None:
    feed = LogGenerator(flow.logs, Ledger(), seed=6)
    feed.write(1500)
    feed.close()
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    before, documents, offsets = contents(flow), flow.documents(), asyncio.run(committed_offsets(flow.settings))
    delete_documents(flow, random.Random(4).sample(documents, 11))

    first = crisp(flow, "replay", "--since", "1h")
    flow.documents()
    second = crisp(flow, "replay", "--since", "1h")

    assert (first["created"], first["duplicate"], first["events"]) == (11, len(documents) - 11, len(documents))
    assert (second["created"], second["duplicate"]) == (0, len(documents))
    assert contents(flow) == before
    assert asyncio.run(committed_offsets(flow.settings)) == offsets
    assert crisp(flow, "replay", "--since", "2h", "--until", "1h")["records"] == 0


def test_a_replay_by_other_rules_than_those_before_must_be_said(flow: Flow, tmp_path: Path) -> None:
    """Neither rules that are new nor rules that are gone make other documents beside those there, unasked."""
    (flow.make_container("pay-1") / "0.log").write_text(line("kept") + line("gone"))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    delete_documents(flow, [hit for hit in flow.documents() if hit["_source"]["message"] == "gone"])
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - name: mark\n    when: {message: gone}\n    set: {team: shop}\n")

    flow.configure(CRISP_RULES_FILE=str(rules))
    said = crisp_error(flow, "replay", "--since", "1h")
    assert "1 by no rules; now it is rules " in said
    assert "--allow-changed-rules" in said
    assert flow.messages() == ["kept"], "a refusal has done nothing"

    assert crisp(flow, "replay", "--since", "1h", "--allow-changed-rules")["created"] == 1
    (gone,) = [hit["_source"] for hit in flow.documents() if hit["_source"]["message"] == "gone"]
    assert gone["team"] == "shop"
    assert gone["crisp.rules"]
    assert crisp(flow, "replay", "--since", "1h", "--allow-changed-rules")["created"] == 0

    flow.configure(CRISP_RULES_FILE=None)
    assert f"1 by rules {gone['crisp.rules']}; now it is no rules" in crisp_error(flow, "replay", "--since", "1h")


def crisp_error(flow: Flow, *arguments: str) -> str:
    """What a command says that ends with 1."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = {**os.environ, **flow.environment}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, ""), ended.stdout + ended.stderr
    return ended.stderr


def test_a_document_in_another_index_is_not_doubled_by_a_replay(flow: Flow) -> None:
    (flow.make_container("pay-1") / "0.log").write_text(line("once"))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    (hit,) = flow.documents()
    flow.request(f"{flow.prefix}-late/_doc/{hit['_id']}?refresh=true", hit["_source"], "PUT")
    delete_documents(flow, [hit])

    assert crisp(flow, "replay", "--since", "1h")["created"] == 0
    assert len(flow.documents()) == 1


def test_a_lost_checkpoint_and_a_deleted_group_change_neither_count_nor_content(flow: Flow) -> None:
    feed = LogGenerator(flow.logs, Ledger(), seed=8)
    feed.write(400)
    flow.shipper.start()
    flow.worker.start()
    eventually(lambda: flow.count() > 300)
    flow.shipper.kill()
    flow.worker.kill()
    before = contents(flow)
    for path in Path(flow.environment["CRISP_STATE_DIR"]).glob("checkpoint*.json"):
        path.unlink()
    eventually(lambda: _delete_group(flow), every=1)
    feed.write(400)
    feed.close()
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    after = contents(flow)
    written = sum(source["message"].count("\n") + 1 for source in after.values())
    assert written == feed._ledger.lines
    # What was read again is there as it was read first: `create` leaves the first one.
    assert {name: after[name] for name in before} == before


def _delete_group(flow: Flow) -> bool:
    """By Kafka's own tool; it refuses until the session of the killed worker has ended."""
    command = [str(java.home() / "bin" / "java"), "-cp", f"{artifacts.kafka()}/*"]
    command += ["org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--delete"]
    command += ["--bootstrap-server", flow.settings.kafka_brokers, "--group", flow.settings.kafka_group]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0 or "GroupNotEmptyException" in ended.stdout + ended.stderr, ended.stdout + ended.stderr
    return not asyncio.run(committed_offsets(flow.settings))


@pytest.fixture
def strict(flow: Flow) -> Flow:
    """A flow whose index of today takes what the pipeline sets, but nothing of an application, in no form at all."""
    day = time.strftime("%Y.%m.%d", time.gmtime())
    (found,) = flow.request(f"_index_template/{index_template.all_templates(flow.settings)[0].name}")["index_templates"]
    mappings = found["index_template"]["template"]["mappings"]
    names = [name for name in mappings["properties"] if not name.startswith("crisp.flattened")]
    mappings = {**mappings, "dynamic": "strict", "properties": {name: mappings["properties"][name] for name in names}}
    # Above the flow's own template, which would add its fields.
    flow.request(
        f"_index_template/{flow.prefix}-x", {"index_patterns": [f"{flow.prefix}-20*"], "priority": 9999}, "PUT"
    )
    flow.request(f"{flow.prefix}-{day}", {"mappings": mappings}, "PUT")
    return flow


def test_dead_letters_are_listed_by_reason_and_sent_again_once_the_reason_is_gone(strict: Flow) -> None:
    flow = strict
    (flow.make_container("pay-1") / "0.log").write_text("".join(line(f'{{"n":{number}}}') for number in range(5)))
    broken = [("crisp", b"1"), ("files", b"[]")]
    flow.produce(b"x\n", headers=broken)
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    listed = crisp(flow, "dead-letters", "list")
    assert (listed["letters"], listed["strange"]) == (6, 0)
    refused, malformed = listed["reasons"]
    assert (refused["count"], malformed["count"]) == (5, 1)
    assert "strict_dynamic_mapping_exception" in refused["reason"]
    assert refused["workloads"] == {"shop/pay-1": 5}
    assert refused["sample"]["raw_record"].startswith(f"{flow.settings.topic_raw}/")
    assert json.loads(refused["sample"]["begins"].split(',"log.offset"')[0] + "}")["n"] == 0
    assert "missing headers" in malformed["sample"]["reason"]
    found = crisp(flow, "audit", "--from", "kafka", codes=(0,))
    assert (found["dead"], found["missing"]) == (5, 0)

    again = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (again["letters"], again["created"], again["refused_again"]) == (6, 0, 6)
    assert crisp(flow, "dead-letters", "list")["letters"] == 6, "what is refused again has its letter already"

    (index,) = flow.request(f"{flow.prefix}-20*/_settings")
    flow.request(index, method="DELETE")
    flow.request(f"_index_template/{flow.prefix}-x", method="DELETE")
    first = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (first["created"], first["refused_again"]) == (5, 1)
    assert sorted(hit["_source"]["n"] for hit in flow.documents()) == [0, 1, 2, 3, 4]
    second = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (second["created"], second["duplicate"], second["refused_again"]) == (0, 5, 1)
    assert crisp(flow, "replay", "--since", "1h")["created"] == 0
