"""`crisp audit` reports exactly the missing and duplicated documents."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.contract import gap, pod_metadata
from pipeline.contract.gap import Gap, GapRecord
from pipeline.demo.ledger import Ledger
from pipeline.demo.log_generator import LogGenerator
from tests.integration.flow import Flow
from tests.support.audit import PROBE, audit, delete_documents, line


def test_deleted_documents_are_missing_for_files_and_for_kafka(flow: Flow) -> None:
    generator = LogGenerator(flow.logs, Ledger(), seed=5)
    for _ in range(4):
        generator.write(800)
        generator.copy_output()
        time.sleep(0.3)
    (flow.make_container("probed") / "0.log").write_text(line(PROBE))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    documents = flow.documents()

    for source in ("kafka", str(flow.logs)):
        code, result = audit(flow, source)
        assert (code, result["missing"], result["duplicated"], result["pending"]) == (0, 0, 0, 0)
        assert result["indexed"] == len(documents)
        assert result["dropped"] == {"health probe": 1}
        assert result["events"] == len(documents) + 1

    deleted = random.Random(3).sample(documents, 9)
    delete_documents(flow, deleted)
    for source in ("kafka", str(flow.logs)):
        code, result = audit(flow, source, "--min-age", "0")
        assert (code, result["missing"], result["indexed"]) == (1, 9, len(documents) - 9)
        reported = [example["id"] for tally in result["sources"] for example in tally["examples"]]
        assert sorted(reported) == sorted(hit["_id"] for hit in deleted)
    generator.close()


def test_rotated_compressed_and_restarted_files_and_partial_lines_across_a_rotation(flow: Flow) -> None:
    log = flow.make_container("pay-1")
    at = time.time_ns() - 3600 * 10**9
    (log / "0.log.20261124-000000").write_text(line("one", at=at) + line("begun, ", at=at + 1, tag="P"))
    (log / "0.log").write_text(line("ended", at=at + 2) + line("ERROR open", at=at + 3, stream="stderr"))
    (log / "1.log").write_text(line("restarted", at=at + 4) + "torn")
    flow.run_once(flow.shipper)
    subprocess.run(["gzip", log / "0.log.20261124-000000"], check=True)
    flow.run_once(flow.worker)

    assert sorted(flow.messages()) == ["ERROR open", "begun, ended", "one", "restarted"]
    code, result = audit(flow, str(flow.logs), "--min-age", "0")
    assert (code, result["indexed"], result["missing"]) == (0, 4, 0)
    assert result["unverifiable"] == {"bytes of a line that is still being written": 4}


def test_gap_duplicate_and_third_party_record_are_counted(flow: Flow) -> None:
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
    duplicate = next(hit for hit in flow.documents() if hit["_source"]["message"] == "kept")
    flow.request(f"{flow.prefix}-late/_doc/{duplicate['_id']}?refresh=true", duplicate["_source"], "PUT")

    code, result = audit(flow, "kafka")
    assert (code, result["duplicated"], result["gaps"], result["indexed"], result["missing"]) == (1, 1, 1, 3, 0)
    code, result = audit(flow, str(flow.logs))
    assert (code, result["duplicated"], result["gaps"], result["indexed"], result["missing"]) == (1, 1, 1, 2, 0)
    (example,) = [entry for tally in result["sources"] for entry in tally["examples"]]
    assert (example["verdict"], example["id"]) == ("duplicated", duplicate["_id"])
    assert f"{flow.prefix}-late" in example["indices"]


@pytest.mark.faults
def test_pending_and_excluded_lines_are_not_missing(flow: Flow, tmp_path: Path) -> None:
    old = time.time_ns() - 3600 * 10**9
    (flow.make_container("pay-1") / "0.log").write_text(line("old", at=old) + line("fresh"))
    excluded = flow.make_container("shut-1", uid="aaaa-bbbb")
    (excluded / "0.log").write_text(line("not to be read", at=old))
    pods = tmp_path / "pods.json"
    about = {"name": "shut-1", "uid": "aaaa-bbbb", "annotations": {"logs.crisp/exclude": "true"}}
    pods.write_text(json.dumps({"items": [{"metadata": about}]}))

    code, result = audit(flow, str(flow.logs), "--pods", str(pods))
    assert (code, result["missing"], result["pending"]) == (1, 1, 1)
    assert result["dropped"] == {"pod excludes itself": 1}

    flow.run_once(flow.shipper)
    code, result = audit(flow, "kafka")
    assert (code, result["missing"], result["pending"]) == (0, 0, 3), "no worker has consumed it"
    flow.run_once(flow.worker)
    assert audit(flow, "kafka")[1]["indexed"] == 3


def test_event_possibly_dropped_by_a_label_rule_is_unverifiable(flow: Flow, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules:\n  - name: noise\n    when: {label.app: web, level: debug}\n    drop: true\n")
    old = time.time_ns() - 3600 * 10**9
    root = flow.make_container("pay-1", uid="aaaa-bbbb")
    (root / "0.log").write_text(line("DEBUG noise", at=old) + line("ERROR gone", at=old + 1))
    pods = tmp_path / "pods.json"
    pods.write_text(json.dumps({"metadata": {"name": "pay-1", "uid": "aaaa-bbbb", "labels": {"app": "web"}}}))
    flow.environment["CRISP_RULES_FILE"] = str(rules)

    code, result = audit(flow, str(flow.logs))
    assert (code, result["missing"], list(result["unverifiable"].values())) == (1, 1, [1])
    assert "the rule noise" in next(iter(result["unverifiable"]))
    code, result = audit(flow, str(flow.logs), "--pods", str(pods))
    assert (code, result["missing"], result["dropped"], result["unverifiable"]) == (1, 1, {"noise": 1}, {})


def test_change_of_the_rules_is_neither_a_loss_nor_a_false_peace(flow: Flow, tmp_path: Path) -> None:
    """The workers dropped debug lines; then the rule went away, or the audit's shell does not have the file."""
    dropping, today = tmp_path / "dropping.yaml", tmp_path / "today.yaml"
    dropping.write_text("rules:\n  - name: debug\n    when: {level: debug}\n    drop: true\n")
    today.write_text("rules:\n  - name: info\n    when: {level: info}\n    drop: true\n")
    log = flow.make_container("pay-1") / "0.log"
    log.write_text(line("DEBUG a") + line("INFO b") + line("ERROR c"))
    flow.configure(CRISP_RULES_FILE=str(dropping))
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    hits = {hit["_source"]["message"]: hit for hit in flow.documents()}
    assert hits.keys() == {"INFO b", "ERROR c"}

    def result(source: str, *options: str) -> tuple[int, int, int, int, dict[str, int]]:
        code, tally = audit(flow, source, "--min-age", "0", *options)
        assert tally["events"] == 3
        return code, tally["indexed"], tally["missing"], sum(tally["unverifiable"].values()), tally["dropped"]

    for source in ("kafka", str(flow.logs)):
        flow.configure(CRISP_RULES_FILE=str(dropping))
        assert result(source) == (0, 2, 0, 0, {"debug": 1})
        flow.configure(CRISP_RULES_FILE=None)
        assert result(source) == (1, 2, 0, 1, {}), "a shell without the rules file"
        assert result(source, "--rules", str(dropping)) == (0, 2, 0, 0, {"debug": 1})
        flow.configure(CRISP_RULES_FILE=str(today))
        assert result(source) == (1, 2, 0, 1, {}), "the rules have changed"
    delete_documents(flow, [hits["INFO b"]])
    for source in ("kafka", str(flow.logs)):
        flow.configure(CRISP_RULES_FILE=str(dropping))
        assert result(source) == (1, 1, 1, 0, {"debug": 1})
        flow.configure(CRISP_RULES_FILE=str(today))
        assert result(source) == (1, 1, 0, 2, {}), "today's rules drop it, those of its time did not"
        assert result(source, "--rules", str(today), "--rules", str(dropping))[:2] == (1, 1)


def test_since_limits_the_audit_to_newer_events(flow: Flow) -> None:
    hour = 3600 * 10**9
    now = time.time_ns()
    (flow.make_container("old-1") / "0.log").write_text(line("old", at=now - 5 * hour))
    (flow.make_container("new-1") / "0.log").write_text(line("new", at=now - hour // 2))
    since = datetime.fromtimestamp((now - hour) / 1e9, UTC).isoformat()

    for argument in ("1h", since):
        code, result = audit(flow, str(flow.logs), "--since", argument)
        assert (code, result["events"], result["missing"]) == (1, 1, 1)


def test_interrupted_audit_reports_its_result_so_far(flow: Flow) -> None:
    at = time.time_ns() - 3600 * 10**9
    text = "".join(line(f"number {number}", at=at + number) for number in range(150_000))
    for number in range(4):
        (flow.make_container(f"pay-{number}") / "0.log").write_text(text)
    command = [sys.executable, "-m", "pipeline.cli", "audit", "--from", str(flow.logs), "--json", "--min-age", "0"]
    process = subprocess.Popen(
        command, env={**os.environ, **flow.environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for progress in process.stderr:  # the first report of lookups, however slow the machine is
        if re.search(r"read, [1-9][\d,]* documents", progress):
            break
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    result = json.loads(output)
    assert process.returncode == (130 if result["interrupted"] else 1)
    assert 0 < result["missing"] <= 600_000
