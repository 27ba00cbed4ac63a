"""Files to documents on real servers, by `crisp ship` and `crisp worker`."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.demo.container_log import ContainerLog
from pipeline.demo.ledger import Ledger, document_keys
from pipeline.demo.log_generator import LogGenerator
from pipeline.parsing import timestamp
from tests.integration.flow import Flow, eventually


def line(number: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    """A CRI line, `number` microseconds from now."""
    return f"{timestamp.format_utc(time.time_ns() + number * 1000)} {stream} {tag} {text}\n"


def compute_balance(flow: Flow, ledger: Ledger) -> Any:
    """The ledger's balance for all documents of the flow."""
    keys: Counter[bytes] = Counter()
    for hit in flow.documents():
        keys.update(document_keys(hit["_source"]))
    return ledger.balance(keys)


def test_lines_of_a_file_become_documents_with_their_fields(flow: Flow) -> None:
    directory = flow.make_container("pay-7d9f", uid="11111111-2222-3333-4444-555555555555")
    body = '{"@timestamp":"%s","log.level":"WARN","message":"refused","event":{"sequence":7}}'
    text = line(1, "plain text") + line(2, body % timestamp.format_utc(time.time_ns())) + line(3, "par", tag="P")
    (directory / "0.log").write_text(text + line(4, "tial"))

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    hits = flow.documents()
    assert [hit["_source"]["message"] for hit in hits] == ["plain text", "refused", "partial"]
    assert hits[0]["_index"] == time.strftime(f"{flow.prefix}-%Y.%m.%d", time.gmtime())
    source = hits[1]["_source"]
    assert source["log.level"] == "warn"
    assert source["event.sequence"] == 7
    assert source["kubernetes.pod.name"] == "pay-7d9f"
    assert source["kubernetes.namespace"] == "shop"
    assert source["kubernetes.pod.uid"] == "11111111-2222-3333-4444-555555555555"
    assert source["host.name"] == "node-1"
    assert source["service.name"] == "app"
    assert source["log.iostream"] == "stdout"
    assert source["log.offset"] == text.index("\n") + 1
    assert source["@timestamp"] < source["event.created"] < source["event.ingested"]


def test_raw_topic_has_plain_cri_lines(flow: Flow) -> None:
    text = "".join(line(number, f"line {number}") for number in range(100))
    (flow.make_container("pay-1") / "0.log").write_text(text)

    flow.run_once(flow.shipper)

    assert b"".join(flow.values(flow.settings.topic_raw)) == text.encode()


def test_reading_again_creates_no_documents(flow: Flow) -> None:
    (flow.make_container("pay-1") / "0.log").write_text(
        "".join(line(number, f"line {number}") for number in range(500))
    )
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)
    before = [hit["_id"] for hit in flow.documents()]

    for path in Path(flow.environment["CRISP_STATE_DIR"]).glob("checkpoint*"):
        path.unlink()
    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    assert [hit["_id"] for hit in flow.documents()] == before
    assert len(before) == 500


def test_nothing_is_indexed_without_the_index_template(flow: Flow) -> None:
    flow.request(f"_index_template/crisp-{flow.prefix}", method="DELETE")
    (flow.make_container("pay-1") / "0.log").write_text(line(1, "early"))
    flow.run_once(flow.shipper)
    flow.worker.start()
    eventually(lambda: "run `crisp setup`" in flow.worker.output.read_text())
    assert flow.count() == 0

    flow.set_up()

    eventually(lambda: flow.count() == 1)


def test_index_of_another_owner_is_not_used(flow: Flow) -> None:
    today = time.strftime("%Y.%m.%d", time.gmtime())
    flow.request(f"_index_template/crisp-{flow.prefix}", method="DELETE")
    flow.request(f"{flow.prefix}-{today}", {"mappings": {"properties": {"message": {"type": "long"}}}}, "PUT")
    flow.set_up()
    (flow.make_container("pay-1") / "0.log").write_text(line(1, "text"))

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    (hit,) = flow.documents()
    assert hit["_index"] == f"{flow.prefix}-crisp.{today}"


def test_document_that_conflicts_with_the_mapping_is_searchable(flow: Flow) -> None:
    body = '{"message":"%s","stage":%s,"event":{"duration":%s}}'
    conflicts = [("object first", '{"deep":{"a":1}}', 1), ("text", '"two"', '"long"'), ("number", "3", "2.5")]
    (flow.make_container("pay-1") / "0.log").write_text(
        "".join(line(number, body % row) for number, row in enumerate(conflicts))
    )

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    assert flow.messages() == ["object first", "text", "number"]


def test_killed_shipper_and_worker_lose_and_duplicate_nothing(flow: Flow, tmp_path: Path) -> None:
    ledger = Ledger()
    generator = LogGenerator(flow.logs, ledger, seed=3)
    flow.shipper.start()
    flow.worker.start()
    for turn in range(40):
        generator.write(250)
        generator.copy_output()
        time.sleep(0.2)
        if turn % 4 == 1:
            flow.shipper.kill()
            flow.shipper.start()
        if turn in (15, 30):
            flow.worker.kill()
            flow.worker.start()

    eventually(lambda: compute_balance(flow, ledger).missing == 0, seconds=60, every=2)

    balance = compute_balance(flow, ledger)
    assert (balance.written, balance.missing, balance.duplicated) == (10000, 0, 0)
    assert flow.shipper.kills == 10
    assert flow.worker.kills == 2
    generator.close()


def test_lines_survive_rotations_while_the_shipper_is_down(flow: Flow) -> None:
    ledger = Ledger()
    log = ContainerLog(flow.logs, "shop", "web-1", "11111111-2222-3333-4444-555555555555", "web", rotate_bytes=20000)
    for number in range(900):
        text = f"line {number} " + "x" * 60
        ledger.record(log.uid, text.encode())
        log.write("stdout", text.encode())
        if number % 300 == 299:
            time.sleep(1.2)
            log.rotate()
    log.close()
    assert log.rotations == 3

    flow.run_once(flow.shipper)
    flow.run_once(flow.worker)

    balance = compute_balance(flow, ledger)
    assert (balance.written, balance.missing, balance.duplicated) == (900, 0, 0)


def test_sigterm_exits_with_0(flow: Flow) -> None:
    (flow.make_container("pay-1") / "0.log").write_text(line(1, "text"))
    flow.shipper.start()
    flow.worker.start()
    eventually(lambda: flow.count() == 1)

    assert flow.shipper.stop() == 0
    assert flow.worker.stop() == 0


def test_line_with_a_future_time_is_indexed_at_once(flow: Flow) -> None:
    hour = 3600 * 10**9
    text = f"{timestamp.format_utc(time.time_ns() + hour)} stderr F ERROR that a trace could follow\n"
    (flow.make_container("pay-1") / "0.log").write_text(text)

    flow.run_once(flow.shipper, seconds=20)
    flow.run_once(flow.worker)

    assert flow.messages() == ["ERROR that a trace could follow"]


def test_records_of_other_shippers_are_indexed_once(flow: Flow) -> None:
    plain = b'{"log":"from fluent bit","stream":"stdout","kubernetes":{"pod_name":"pay-1","namespace_name":"shop"}}'
    raw = f"{timestamp.format_utc(time.time_ns())} stdout F raw line\n".encode()
    flow.produce(plain, raw, b"", b"no log at all")

    flow.run_once(flow.worker)

    assert sorted(flow.messages()) == ["from fluent bit", "no log at all", "raw line"]
    assert "dead-lettered" not in flow.worker.output.read_text()
