"""The audit finds what is there, and names exactly what is not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.contract import gap, pod_metadata
from pipeline.contract.gap import Gap, GapRecord
from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import LogGenerator
from pipeline.parsing import timestamp
from tests.integration.flow import Flow

PROBE = '10.0.0.1 - - [24/Nov/2026:00:00:00 +0000] "GET /healthz HTTP/1.1" 200 2'


def audit(flow: Flow, source: str, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and accounts of `crisp audit --json`."""
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", source, "--json", *more]
    ended = subprocess.run(
        command, env={**os.environ, **flow.environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode in {0, 1}, ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def delete_documents(flow: Flow, hits: list[dict[str, Any]]) -> None:
    for hit in hits:
        flow.request(f"{hit['_index']}/_doc/{hit['_id']}?refresh=true", method="DELETE")


def line(content: str, *, at: int | None = None, stream: str = "stdout", tag: str = "F") -> str:
    return f"{timestamp.format_utc(at or time.time_ns())} {stream} {tag} {content}\n"


def test_exactly_what_was_deleted_is_missing_from_files_and_from_kafka(flow: Flow) -> None:
    feed = LogGenerator(flow.logs, Ledger(), seed=5)
    for _ in range(4):
        feed.write(800)
        feed.copy_output()
        time.sleep(0.3)
    (flow.make_container("probed") / "0.log").write_text(line(PROBE))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    documents = flow.documents()

    for source in ("kafka", str(flow.logs)):
        code, said = audit(flow, source)
        assert (code, said["missing"], said["doubled"], said["waiting"]) == (0, 0, 0, 0)
        assert said["found"] == len(documents)
        assert said["dropped"] == {"health probe": 1}
        assert said["events"] == len(documents) + 1

    gone = random.Random(3).sample(documents, 9)
    delete_documents(flow, gone)
    for source in ("kafka", str(flow.logs)):
        code, said = audit(flow, source, "--min-age", "0")
        assert (code, said["missing"], said["found"]) == (1, 9, len(documents) - 9)
        named = [example["id"] for account in said["accounts"] for example in account["sample"]]
        assert sorted(named) == sorted(hit["_id"] for hit in gone)
    feed.close()


def test_rotated_packed_restarted_and_partial_over_a_rotation(flow: Flow) -> None:
    log = flow.make_container("pay-1")
    at = time.time_ns() - 3600 * 10**9
    (log / "0.log.20261124-000000").write_text(line("one", at=at) + line("begun, ", at=at + 1, tag="P"))
    (log / "0.log").write_text(line("ended", at=at + 2) + line("ERROR open", at=at + 3, stream="stderr"))
    (log / "1.log").write_text(line("restarted", at=at + 4) + "torn")
    flow.run_once(flow.shipper)
    subprocess.run(["gzip", log / "0.log.20261124-000000"], check=True)
    flow.run_once(flow.worker)

    assert sorted(flow.messages()) == ["ERROR open", "begun, ended", "one", "restarted"]
    code, said = audit(flow, str(flow.logs), "--min-age", "0")
    assert (code, said["found"], said["missing"]) == (0, 4, 0)
    assert said["unjudged"] == {"bytes of a line that is still being written": 4}


def test_what_became_of_an_event_otherwise_is_named(flow: Flow) -> None:
    at = time.time_ns() - 3600 * 10**9
    root = flow.make_container("pay-1", uid="0000-1111")
    (root / "0.log").write_text(line("kept", at=at) + line('{"a":{"b":1},"a.b":{"c":[]}}', at=at + 1))
    flow.run_once(flow.shipper)
    lost = Gap("A" * 16, 77, str(root / "0.log"), 5, gap.VANISHED_FILE)
    about = pod_metadata.from_path(pod_metadata.Instance("shop", "pay-1", "0000-1111", "app", 0), "node-1")
    record = GapRecord(lost, "node-1", time.time_ns(), about)
    flow.produce(b"", headers=gap.encode(record))
    flow.produce(b'{"log":"from fluent bit","stream":"stdout"}')
    flow.run_once(flow.worker)
    double = next(hit for hit in flow.documents() if hit["_source"]["message"] == "kept")
    flow.request(f"{flow.prefix}-late/_doc/{double['_id']}?refresh=true", double["_source"], "PUT")

    code, said = audit(flow, "kafka")
    assert (code, said["doubled"], said["gaps"], said["found"], said["missing"]) == (1, 1, 1, 3, 0)
    code, said = audit(flow, str(flow.logs))
    assert (code, said["doubled"], said["gaps"], said["found"], said["missing"]) == (1, 1, 1, 2, 0)
    (example,) = [one for account in said["accounts"] for one in account["sample"]]
    assert (example["verdict"], example["id"]) == ("doubled", double["_id"])
    assert f"{flow.prefix}-late" in example["indices"]


@pytest.mark.faults
def test_what_is_on_its_way_is_not_missing_and_what_is_excluded_neither(flow: Flow, tmp_path: Path) -> None:
    old = time.time_ns() - 3600 * 10**9
    (flow.make_container("pay-1") / "0.log").write_text(line("old", at=old) + line("fresh"))
    shut = flow.make_container("shut-1", uid="aaaa-bbbb")
    (shut / "0.log").write_text(line("not to be read", at=old))
    pods = tmp_path / "pods.json"
    about = {"name": "shut-1", "uid": "aaaa-bbbb", "annotations": {"logs.crisp/exclude": "true"}}
    pods.write_text(json.dumps({"items": [{"metadata": about}]}))

    code, said = audit(flow, str(flow.logs), "--pods", str(pods))
    assert (code, said["missing"], said["waiting"]) == (1, 1, 1)
    assert said["dropped"] == {"pod excludes itself": 1}

    flow.run_once(flow.shipper)
    code, said = audit(flow, "kafka")
    assert (code, said["missing"], said["waiting"]) == (0, 0, 3), "no worker has come to it"
    flow.run_once(flow.worker)
    assert audit(flow, "kafka")[1]["found"] == 3


def test_what_a_rule_on_labels_may_have_dropped_is_not_judged_and_the_rest_is(flow: Flow, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - name: noise\n    when: {label.app: web, level: debug}\n    drop: true\n")
    old = time.time_ns() - 3600 * 10**9
    root = flow.make_container("pay-1", uid="aaaa-bbbb")
    (root / "0.log").write_text(line("DEBUG noise", at=old) + line("ERROR gone", at=old + 1))
    pods = tmp_path / "pods.json"
    pods.write_text(json.dumps({"metadata": {"name": "pay-1", "uid": "aaaa-bbbb", "labels": {"app": "web"}}}))
    flow.environment["CRISP_RULES_FILE"] = str(rules)

    code, said = audit(flow, str(flow.logs))
    assert (code, said["missing"], list(said["unjudged"].values())) == (1, 1, [1])
    assert "the rule noise" in next(iter(said["unjudged"]))
    code, said = audit(flow, str(flow.logs), "--pods", str(pods))
    assert (code, said["missing"], said["dropped"], said["unjudged"]) == (1, 1, {"noise": 1}, {})


def test_only_what_came_since_then_is_looked_up(flow: Flow) -> None:
    hour = 3600 * 10**9
    now = time.time_ns()
    (flow.make_container("old-1") / "0.log").write_text(line("old", at=now - 5 * hour))
    (flow.make_container("new-1") / "0.log").write_text(line("new", at=now - hour // 2))
    since = datetime.fromtimestamp((now - hour) / 1e9, UTC).isoformat()

    for how in ("1h", since):
        code, said = audit(flow, str(flow.logs), "--since", how)
        assert (code, said["events"], said["missing"]) == (1, 1, 1)


def test_an_interrupted_audit_tells_what_it_has_seen(flow: Flow) -> None:
    at = time.time_ns() - 3600 * 10**9
    text = "".join(line(f"number {number}", at=at + number) for number in range(60_000))
    for number in range(4):
        (flow.make_container(f"pay-{number}") / "0.log").write_text(text)
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", str(flow.logs), "--json", "--min-age", "0"]
    started = subprocess.Popen(
        command, env={**os.environ, **flow.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(2.5)
    started.send_signal(signal.SIGINT)
    printed, _ = started.communicate(timeout=30)

    said = json.loads(printed)
    assert started.returncode == (130 if said["interrupted"] else 1)
    assert 0 < said["missing"] <= 240_000
