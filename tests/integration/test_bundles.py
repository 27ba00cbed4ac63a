"""Bundles on real servers: quiet containers share records; documents, audit, trace, replay and dead letters are those
of records of one slice."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from pipeline.contract import bundle
from tests.integration.flow import Flow, eventually
from tests.support.audit import audit, delete_documents, line

CONTAINERS = 12
LINES = 8


def crisp(flow: Flow, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command; return its output."""
    completed = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        env={**os.environ, **flow.environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert completed.returncode in codes, completed.stderr
    return completed.stdout


def bundles(flow: Flow) -> list[Any]:
    return [entry for entry in flow.records(flow.settings.topic_raw) if bundle.is_bundle(list(entry.headers))]


@pytest.fixture
def shipped(flow: Flow) -> Flow:
    """A flow in which a running shipper has sent the lines of quiet containers."""
    logs = [flow.make_container(f"quiet-{number}") / "0.log" for number in range(CONTAINERS)]
    flow.shipper.start()
    for number in range(LINES):
        for log in logs:
            with log.open("a") as file:
                file.write(line(f"line {number} of {log.parent.parent.name}"))
        time.sleep(0.3)
    total = CONTAINERS * LINES
    eventually(lambda: sum(value.count(b"\n") for value in flow.values(flow.settings.topic_raw)) >= total)
    flow.shipper.stop()
    return flow


def test_quiet_containers_share_records_with_the_same_documents(shipped: Flow) -> None:
    flow = shipped
    sent = bundles(flow)
    assert sum(len(bundle.split(entry.value, list(entry.headers))) for entry in sent) > 3 * len(sent) > 0
    assert len(Counter(entry.partition for entry in sent)) > 1
    flow.run_once(flow.worker)

    documents = flow.documents()
    expected = Counter(f"line {number} of {path.name}" for path in flow.logs.iterdir() for number in range(LINES))
    assert Counter(hit["_source"]["message"] for hit in documents) == expected
    for hit in documents:
        source = hit["_source"]
        assert source["message"].endswith(f"of shop_{source['kubernetes.pod.name']}_{source['kubernetes.pod.uid']}")
    for source_name in ("kafka", str(flow.logs)):
        code, result = audit(flow, source_name)
        assert (code, result["missing"], result["duplicated"], result["indexed"]) == (0, 0, 0, len(documents))

    traced = crisp(flow, "trace", documents[7]["_id"])
    assert "in Kafka" in traced
    assert "a slice of" in traced

    deleted = documents[::11]
    delete_documents(flow, deleted)
    code, result = audit(flow, "kafka", "--min-age", "0")
    assert (code, result["missing"]) == (1, len(deleted))
    replayed = json.loads(crisp(flow, "replay", "--since", "1h", "--json"))
    assert (replayed["created"], replayed["duplicate"]) == (len(deleted), len(documents) - len(deleted))
    assert {hit["_id"] for hit in flow.documents()} == {hit["_id"] for hit in documents}
    assert json.loads(crisp(flow, "fields", "--since", "1h", "--json"))["records"] == len(
        flow.records(flow.settings.topic_raw)
    )


def test_damaged_part_is_dead_lettered_alone_and_a_whole_bundle_can_be_retried(shipped: Flow) -> None:
    flow = shipped
    flow.run_once(flow.worker)
    documents = flow.documents()
    assert len(documents) == CONTAINERS * LINES
    entry = max(bundles(flow), key=lambda entry: len(entry.value))
    parts = bundle.split(entry.value, list(entry.headers))
    assert len(parts) > 3
    delete_documents(flow, documents)
    table = dict(entry.headers)["parts"]
    damaged = [(name, table.replace(b" 0:", b" x:", 1) if name == "parts" else data) for name, data in entry.headers]
    flow.produce(entry.value, headers=damaged)
    flow.run_once(flow.worker)

    lines = entry.value.count(b"\n")
    assert flow.count() == lines - parts[0].value.count(b"\n")
    (letter,) = flow.records(flow.settings.topic_dead)
    assert (letter.key, letter.value) == (parts[0].key, parts[0].value)
    assert [name for name, _ in letter.headers if not name.startswith("dead-")] == [
        name for name, _ in parts[0].headers
    ]

    # As a worker that does not know bundles dead-letters it.
    dead = flow.settings.topic_dead
    whole = [*entry.headers, ("dead-reason", b"contract version"), ("dead-source", f"{entry.topic}/0/999".encode())]
    flow.configure(CRISP_TOPIC_RAW=dead)
    flow.produce(entry.value, headers=whole)
    retried = json.loads(crisp(flow, "dead-letters", "retry", "--json", codes=(1,)))
    first = parts[0].value.count(b"\n")
    assert (retried["dead_letters"], retried["created"]) == (2, first)
    assert (retried["duplicate"], retried["rejected_again"]) == (lines - first, 1)
