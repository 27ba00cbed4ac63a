"""Rules in a running worker on real servers: applied, reloaded, rejected, audited; secrets are redacted everywhere."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually
from tests.support.audit import audit
from tests.support.http import get

RULES = """rules:
  - {name: noise, when: {message: /noise/}, drop: true}
  - {name: logins, when: {namespace: shop, message: /login/}, route: audit}
"""
MAIL = "someone@mail.example.org"


def _line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


def _update_config_map(directory: Path, version: str, text: str) -> None:
    """Update a mounted ConfigMap as the kubelet does: a new directory, and its symbolic link replaced."""
    target = directory / version
    target.mkdir(parents=True)
    (target / "rules.yaml").write_text(text)
    (directory / "..new").symlink_to(version)
    (directory / "..new").replace(directory / "..data")
    if not (directory / "rules.yaml").is_symlink():
        (directory / "rules.yaml").symlink_to("..data/rules.yaml")


def test_rules_are_reloaded_and_an_invalid_file_is_rejected(stack: Stack, tmp_path: Path) -> None:
    _update_config_map(tmp_path / "map", "..1", RULES)
    (port,) = free_ports(1)
    flow = Flow(
        stack,
        tmp_path,
        CRISP_RULES_FILE=str(tmp_path / "map" / "rules.yaml"),
        CRISP_RULES_POLL_SECONDS="0.1",
        CRISP_ROUTES="infra=7 audit=90",
        CRISP_WORKER_PORT=str(port),
        CRISP_STATUS_HOST="127.0.0.1",
    )
    flow.set_up()
    log = flow.make_container("pay-1") / "0.log"
    flow.shipper.start()
    flow.worker.start()

    def write(*texts: str) -> None:
        with log.open("a") as file:
            file.writelines(_line(text) for text in texts)

    def rules_status() -> dict[str, object]:
        status: dict[str, object] = json.loads(get(port, "/status.json")[1])["rules"]
        return status

    try:
        write("login of x", "noise", "basket")
        eventually(lambda: flow.count() == 2)
        _update_config_map(tmp_path / "map", "..2", RULES.replace("/noise/", "/basket/").replace("noise", "baskets"))
        eventually(lambda: rules_status()["names"] == ["baskets", "logins"])
        write("noise", "basket")
        eventually(lambda: flow.count() == 3)
        _update_config_map(tmp_path / "map", "..3", RULES.replace("drop", "dorp"))
        eventually(lambda: bool(rules_status()["problems"]))
        write("basket", "order")
        eventually(lambda: flow.count() == 4)

        assert 'unknown key "dorp" (did you mean "drop"?)' in str(rules_status()["problems"])
        assert "crisp_worker_rules_last_reload_successful 0.0" in get(port, "/metrics")[1]
        hits = flow.documents()
        assert [hit["_source"]["message"] for hit in hits] == ["login of x", "basket", "noise", "order"]
        assert [f"{flow.prefix}-audit." in hit["_index"] for hit in hits] == [True, False, False, False]
        digests = [hit["_source"]["crisp.rules"] for hit in hits]
        assert digests[0] == digests[1] != digests[2] == digests[3]
    finally:
        flow.stop()


def test_audit_counts_dropped_events_and_unverifiable_ones(stack: Stack, tmp_path: Path) -> None:
    rules = "rules: [{name: noise, when: {message: /noise/}, drop: true}, {name: few, sample: 0.5}]"
    (tmp_path / "rules.yaml").write_text(rules)
    flow = Flow(stack, tmp_path, CRISP_RULES_FILE=str(tmp_path / "rules.yaml"))
    flow.set_up()
    (flow.make_container("pay-1") / "0.log").write_text(
        "".join(_line(f"{word} {n}") for n in range(40) for word in ("noise", "x"))
    )
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    for source in ("kafka", str(flow.logs)):
        code, result = audit(flow, source)
        assert (code, result["missing"], result["dropped"]["noise"]) == (0, 0, 40)
        assert result["dropped"]["few"] + result["indexed"] == 40 > result["indexed"] == len(flow.documents())

    (tmp_path / "rules.yaml").write_text(
        "rules: [{name: by label, when: {label.app: null, message: '/x|noise/'}, drop: true}]"
    )
    code, result = audit(flow, str(flow.logs), "--min-age", "0")
    assert (code, result["missing"]) == (0, 0)
    assert any("by label may have dropped" in reason for reason in result["unverifiable"]), result
    (tmp_path / "rules.yaml").write_text("rules: [{name: none, when: {message: /nothing/}, drop: true}]")
    assert audit(flow, "kafka", "--min-age", "0")[0] == 1


def test_secrets_are_redacted_in_documents_fallbacks_and_dead_letters(stack: Stack, tmp_path: Path) -> None:
    flow = Flow(stack, tmp_path, CRISP_REDACT="email card")
    flow.set_up()
    texts = [
        f"mail to {MAIL}",
        json.dumps({"message": "x", "to": [{"mail": MAIL}], "n": 4111111111111111}),
        json.dumps({"message": "x", "source.ip": f"no address: {MAIL}", "user": {"name": {"deep": MAIL}}}),
        json.dumps({"message": "\\u0040 hidden", "k": MAIL}).replace("@", "\\u0040"),
    ]
    (flow.make_container("pay-1") / "0.log").write_text("".join(map(_line, texts)))
    flow.run_once(flow.shipper)
    flow.produce(f"{_line(MAIL)}and {MAIL}\n".encode(), headers=[("crisp", b"1")])  # has the header of crisp
    flow.run_once(flow.worker)

    stored = json.dumps(flow.documents())
    (dead,) = asyncio.run(_read_dead_letters(flow))
    assert len(flow.documents()) == len(texts)
    assert (MAIL in stored, "4111111111111111" in stored, "redacted email" in stored) == (False, False, True)
    assert (MAIL.encode() in dead, b"*" * len(MAIL) in dead, len(dead)) == (
        False,
        True,
        len(f"{_line(MAIL)}and {MAIL}\n"),
    )


async def _read_dead_letters(flow: Flow) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        flow.settings.topic_dead, bootstrap_servers=flow.settings.kafka_brokers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        batches = await consumer.getmany(timeout_ms=5000)
        return [record.value for records in batches.values() for record in records]
    finally:
        await consumer.stop()


def test_diff_over_kafka_reports_what_new_rules_would_drop(stack: Stack, tmp_path: Path) -> None:
    """Before a rollout, on the lines of a shipper; neither documents nor committed offsets are needed."""
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(RULES)
    new.write_text(RULES.replace("/noise/", "/basket/"))
    flow = Flow(stack, tmp_path, CRISP_ROUTES="audit=90", CRISP_RULES_FILE=str(old))
    flow.set_up()
    (flow.make_container("pay-1") / "0.log").write_text("".join(map(_line, ("noise", "basket 1", "basket 2", "other"))))
    flow.run_once(flow.shipper)

    command = [sys.executable, "-m", "pipeline.cli", "rules", "diff", "--rules", str(new), "--since", "1h", "--json"]
    environment = {**os.environ, **flow.environment}
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)

    result = json.loads(completed.stdout)
    assert (result["events"], result["differing"]) == (4, 3)
    assert {(row["change"], row["rule"], row["events"]) for row in result["differences"]} == {
        ("dropped", "noise", 2),
        ("kept", "noise", 1),
    }
