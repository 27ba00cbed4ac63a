"""A replay restores exactly the deleted documents, without duplicates; dead letters are listed and retried."""

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
from tests.support.audit import delete_documents, line


def crisp(flow: Flow, *arguments: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run a command with `--json` and return its output."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments, "--json"]
    environment = {**os.environ, **flow.environment}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert completed.returncode in codes, f"{completed.returncode}: {completed.stdout}{completed.stderr}"
    output: dict[str, Any] = json.loads(completed.stdout)
    return output


def contents(flow: Flow) -> dict[str, dict[str, Any]]:
    """All documents by id, without `event.ingested`."""
    return {
        hit["_id"]: {name: value for name, value in hit["_source"].items() if name != "event.ingested"}
        for hit in flow.documents()
    }


def test_replay_restores_deleted_documents_once(flow: Flow) -> None:
    generator = LogGenerator(flow.logs, Ledger(), seed=6)
    generator.write(1500)
    generator.close()
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


def test_replay_with_changed_rules_needs_an_option(flow: Flow, tmp_path: Path) -> None:
    """Without the option, neither added nor removed rules create different documents next to existing ones."""
    (flow.make_container("pay-1") / "0.log").write_text(line("kept") + line("gone"))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    delete_documents(flow, [hit for hit in flow.documents() if hit["_source"]["message"] == "gone"])
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - name: mark\n    when: {message: gone}\n    set: {team: shop}\n")

    flow.configure(CRISP_RULES_FILE=str(rules))
    error = crisp_error(flow, "replay", "--since", "1h")
    assert "1 by no rules; now it is rules " in error
    assert "--allow-changed-rules" in error
    assert flow.messages() == ["kept"], "a rejected replay creates nothing"

    assert crisp(flow, "replay", "--since", "1h", "--allow-changed-rules")["created"] == 1
    (restored,) = [hit["_source"] for hit in flow.documents() if hit["_source"]["message"] == "gone"]
    assert restored["team"] == "shop"
    assert restored["crisp.rules"]
    assert crisp(flow, "replay", "--since", "1h", "--allow-changed-rules")["created"] == 0

    flow.configure(CRISP_RULES_FILE=None)
    assert f"1 by rules {restored['crisp.rules']}; now it is no rules" in crisp_error(flow, "replay", "--since", "1h")


def crisp_error(flow: Flow, *arguments: str) -> str:
    """The error output of a command that exits with 1."""
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    environment = {**os.environ, **flow.environment}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (completed.returncode, completed.stdout) == (1, ""), completed.stdout + completed.stderr
    return completed.stderr


def test_replay_does_not_duplicate_a_document_in_another_index(flow: Flow) -> None:
    (flow.make_container("pay-1") / "0.log").write_text(line("once"))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    (hit,) = flow.documents()
    flow.request(f"{flow.prefix}-late/_doc/{hit['_id']}?refresh=true", hit["_source"], "PUT")
    delete_documents(flow, [hit])

    assert crisp(flow, "replay", "--since", "1h")["created"] == 0
    assert len(flow.documents()) == 1


def test_lost_checkpoint_and_deleted_group_change_no_documents(flow: Flow) -> None:
    generator = LogGenerator(flow.logs, Ledger(), seed=8)
    generator.write(400)
    flow.shipper.start()
    flow.worker.start()
    eventually(lambda: flow.count() > 300)
    flow.shipper.kill()
    flow.worker.kill()
    before = contents(flow)
    for path in Path(flow.environment["CRISP_STATE_DIR"]).glob("checkpoint*.json"):
        path.unlink()
    eventually(lambda: _delete_group(flow), every=1)
    generator.write(400)
    generator.close()
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    after = contents(flow)
    written = sum(source["message"].count("\n") + 1 for source in after.values())
    assert written == generator._ledger.lines
    # Lines read again keep their first document: `create` does not overwrite.
    assert {name: after[name] for name in before} == before


def _delete_group(flow: Flow) -> bool:
    """Delete the group with Kafka's tool, which fails until the session of the killed worker has timed out."""
    command = [str(java.home() / "bin" / "java"), "-cp", f"{artifacts.kafka()}/*"]
    command += ["org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", "--delete"]
    command += ["--bootstrap-server", flow.settings.kafka_address, "--group", flow.settings.kafka_group]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert completed.returncode == 0 or "GroupNotEmptyException" in completed.stdout + completed.stderr, (
        completed.stdout + completed.stderr
    )
    return not asyncio.run(committed_offsets(flow.settings))


@pytest.fixture
def strict(flow: Flow) -> Flow:
    """A flow whose current index has a strict mapping: it rejects application fields in any form."""
    day = time.strftime("%Y.%m.%d", time.gmtime())
    (template,) = flow.request(f"_index_template/{index_template.all_templates(flow.settings)[0].name}")[
        "index_templates"
    ]
    mappings = template["index_template"]["template"]["mappings"]
    names = [name for name in mappings["properties"] if name not in ("crisp.flattened", "crisp.raw_json")]
    mappings = {**mappings, "dynamic": "strict", "properties": {name: mappings["properties"][name] for name in names}}
    # A higher priority than the flow's own template, which would add its fields.
    flow.request(
        f"_index_template/{flow.prefix}-x", {"index_patterns": [f"{flow.prefix}-20*"], "priority": 9999}, "PUT"
    )
    flow.request(f"{flow.prefix}-{day}", {"mappings": mappings}, "PUT")
    return flow


def test_dead_letters_are_listed_by_reason_and_retried(strict: Flow) -> None:
    flow = strict
    (flow.make_container("pay-1") / "0.log").write_text("".join(line(f'{{"n":{number}}}') for number in range(5)))
    headers = [("crisp", b"1"), ("files", b"[]")]
    flow.produce(b"x\n", headers=headers)
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    listed = crisp(flow, "dead-letters", "list")
    assert (listed["dead_letters"], listed["invalid_records"]) == (6, 0)
    rejected, malformed = listed["reasons"]
    assert (rejected["count"], malformed["count"]) == (5, 1)
    assert "strict_dynamic_mapping_exception" in rejected["reason"]
    assert rejected["workloads"] == {"shop/pay-1": 5}
    assert rejected["sample"]["raw_record"].startswith(f"{flow.settings.topic_raw}/")
    assert json.loads(rejected["sample"]["begins"].split(',"log.offset"')[0] + "}")["n"] == 0
    assert "missing headers" in malformed["sample"]["reason"]
    result = crisp(flow, "audit", "--from", "kafka", codes=(0,))
    assert (result["dead_lettered"], result["missing"]) == (5, 0)

    retried = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (retried["dead_letters"], retried["created"], retried["rejected_again"]) == (6, 0, 6)
    assert crisp(flow, "dead-letters", "list")["dead_letters"] == 6, (
        "a document rejected again gets no second dead letter"
    )

    (index,) = flow.request(f"{flow.prefix}-20*/_settings")
    flow.request(index, method="DELETE")
    flow.request(f"_index_template/{flow.prefix}-x", method="DELETE")
    first = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (first["created"], first["rejected_again"]) == (5, 1)
    assert sorted(hit["_source"]["n"] for hit in flow.documents()) == [0, 1, 2, 3, 4]
    second = crisp(flow, "dead-letters", "retry", codes=(1,))
    assert (second["created"], second["duplicate"], second["rejected_again"]) == (0, 5, 1)
    assert crisp(flow, "replay", "--since", "1h")["created"] == 0
