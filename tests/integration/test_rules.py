"""Rules in a running worker on real servers: in force, changed, refused, audited; secrets stay out everywhere."""

import asyncio
import json
import time
from pathlib import Path

from aiokafka import AIOKafkaConsumer

from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually
from tests.integration.test_audit import audit
from tests.integration.test_status import get

RULES = """rules:
  - {name: noise, when: {message: /noise/}, drop: true}
  - {name: logins, when: {namespace: shop, message: /login/}, route: audit}
"""
MAIL = "someone@mail.example.org"


def _line(text: str) -> str:
    return f"{timestamp.format_utc(time.time_ns())} stdout F {text}\n"


def _update_config_map(directory: Path, version: str, text: str) -> None:
    """What the kubelet does when a ConfigMap changes: a new directory, and the link to it swapped."""
    made = directory / version
    made.mkdir(parents=True)
    (made / "rules.yaml").write_text(text)
    (directory / "..new").symlink_to(version)
    (directory / "..new").replace(directory / "..data")
    if not (directory / "rules.yaml").is_symlink():
        (directory / "rules.yaml").symlink_to("..data/rules.yaml")


def test_rules_are_in_force_change_without_a_restart_and_a_broken_file_is_refused(stack: Stack, tmp_path: Path) -> None:
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
        with log.open("a") as out:
            out.writelines(_line(text) for text in texts)

    def told() -> dict[str, object]:
        found: dict[str, object] = json.loads(get(port, "/status.json")[1])["rules"]
        return found

    try:
        write("login of x", "noise", "basket")
        eventually(lambda: flow.count() == 2)
        _update_config_map(tmp_path / "map", "..2", RULES.replace("/noise/", "/basket/").replace("noise", "baskets"))
        eventually(lambda: told()["rules"] == ["baskets", "logins"])
        write("noise", "basket")
        eventually(lambda: flow.count() == 3)
        _update_config_map(tmp_path / "map", "..3", RULES.replace("drop", "dorp"))
        eventually(lambda: bool(told()["refused"]))
        write("basket", "order")
        eventually(lambda: flow.count() == 4)

        assert 'unknown key "dorp" (did you mean "drop"?)' in str(told()["refused"])
        assert "crisp_worker_rules_last_reload_successful 0.0" in get(port, "/metrics")[1]
        hits = flow.documents()
        assert [hit["_source"]["message"] for hit in hits] == ["login of x", "basket", "noise", "order"]
        assert [f"{flow.prefix}-audit." in hit["_index"] for hit in hits] == [True, False, False, False]
        marks = [hit["_source"]["crisp.rules"] for hit in hits]
        assert marks[0] == marks[1] != marks[2] == marks[3]
    finally:
        flow.stop()


def test_the_audit_knows_what_rules_dropped_and_what_it_cannot_know(stack: Stack, tmp_path: Path) -> None:
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
        code, said = audit(flow, source)
        assert (code, said["missing"], said["dropped"]["noise"]) == (0, 0, 40)
        assert said["dropped"]["few"] + said["found"] == 40 > said["found"] == len(flow.documents())

    (tmp_path / "rules.yaml").write_text(
        "rules: [{name: by label, when: {label.app: null, message: '/x|noise/'}, drop: true}]"
    )
    code, said = audit(flow, str(flow.logs), "--min-age", "0")
    assert (code, said["missing"]) == (0, 0)
    assert any("by label may have dropped" in reason for reason in said["unjudged"]), said
    (tmp_path / "rules.yaml").write_text("rules: [{name: none, when: {message: /nothing/}, drop: true}]")
    assert audit(flow, "kafka", "--min-age", "0")[0] == 1


def test_no_secret_reaches_documents_safe_forms_or_dead_letters(stack: Stack, tmp_path: Path) -> None:
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
    flow.produce(f"{_line(MAIL)}and {MAIL}\n".encode(), headers=[("crisp", b"1")])  # claims to be ours
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
        found = await consumer.getmany(timeout_ms=5000)
        return [message.value for messages in found.values() for message in messages]
    finally:
        await consumer.stop()
