"""Every alert on real servers: a fault makes its expression true, the commands of its runbook make it false again."""

import asyncio
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.environment import load_settings
from pipeline.contract import record
from pipeline.demo.child_process import ChildProcess
from pipeline.elasticsearch import index_template
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.operations.setup import topics
from pipeline.parsing import timestamp
from tests.deploy import promtool
from tests.faults.prometheus import Prometheus
from tests.faults.proxy import Proxy
from tests.faults.runbook import hits
from tests.faults.trial import AlertTrial
from tests.integration.flow import Flow, eventually
from tests.support import capabilities
from tests.support.http import get

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not promtool.path().is_file(), reason="promtool is missing: run `make promtool`"),
]
TrialFactory = Callable[..., AlertTrial]
MINUTE = 60


@pytest.fixture
def make(stack: Stack, tmp_path: Path) -> Iterator[TrialFactory]:
    """Factory of the trial of a test."""
    trials: list[AlertTrial] = []

    def make_trial(alert: str, page: str, *, set_up: bool = True, **extra: str) -> AlertTrial:
        trial = AlertTrial(stack, tmp_path, alert, page, **extra)
        trials.append(trial)
        if set_up:
            trial.flow.set_up()
        return trial

    yield make_trial
    for trial in trials:
        trial.stop()


def change_template(flow: Flow, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the index template as by hand."""
    path = f"_index_template/{index_template.all_templates(flow.settings)[0].name}"
    template = flow.request(path)["index_templates"][0]["index_template"]
    change(template["template"])
    flow.request(path, template, "PUT")


def test_runbook_lag(make: TrialFactory, stack: Stack, tmp_path: Path) -> None:
    """Each small bulk request takes half a second: one worker is too slow for the input, six are fast enough."""
    proxy = Proxy(stack.address.es_url)
    slow = {"CRISP_ES_URLS": proxy.url, "CRISP_BULK_CONCURRENCY": "1", "CRISP_BULK_MAX_BYTES": "65536"}
    trial = make("CrispConsumerLagGrowing", "lag", CRISP_TOPIC_PARTITIONS="6", **slow)
    others = []
    try:
        trial.start(rate=200, pods=60)
        trial.wait_until_healthy()
        proxy.delay = 0.5
        trial.record_fault("Elasticsearch takes half a second for a bulk request of 64 KiB: one worker is too few")
        trial.wait_until_firing()
        assert "records wait, the oldest for" in trial.book.run("crisp status")
        # kubectl -n logging scale deployment crisp-worker --replicas=6
        for number, port in enumerate(free_ports(5)):
            directory = tmp_path / f"worker-{number}"
            directory.mkdir()
            other = ChildProcess("worker", {**trial.flow.environment, "CRISP_WORKER_PORT": str(port)}, directory)
            others.append(other)
            other.start()
            trial.prometheus.ports[f"worker-{number}"] = port
        trial.record_remedy("five more workers")
        trial.wait_until_cleared(seconds=300)
        proxy.delay = 0.0
        trial.assert_recovered()
    finally:
        for other in others:
            other.stop()
        trial.stop()
        proxy.close()


def test_runbook_lag_unknown(make: TrialFactory, stack: Stack) -> None:
    trial = make("CrispConsumerLagUnknown", "lag")
    trial.start()
    trial.wait_until_healthy()
    stack.kafka.pause()
    try:
        trial.record_fault("Kafka does not answer")
        trial.wait_until_firing()
        assert "Consumer lag unknown (last " in trial.book.run("crisp status", code=1)
        assert "FAIL  Kafka: " in trial.book.run("crisp check --connect", code=1)
    finally:
        stack.kafka.resume()
    trial.record_remedy("Kafka answers again")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_lag_high(make: TrialFactory, stack: Stack) -> None:
    trial = make("CrispConsumerLagHigh", "lag")
    trial.start(rate=5)
    trial.wait_until_healthy()
    stack.elasticsearch.kill()
    trial.record_fault("Elasticsearch is down for more than five minutes")
    try:
        trial.wait_until_firing(seconds=400)
        assert "records wait, the oldest for" in trial.book.run("crisp status", code=1)
    finally:
        stack.start_elasticsearch()
        stack.wait_elasticsearch()
    trial.record_remedy("Elasticsearch is up again")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_shipper_falling_behind(make: TrialFactory, stack: Stack) -> None:
    """What is in flight is read: only a shipper that never had a connection has all of a few lines as its backlog."""
    trial = make("CrispShipperFallingBehind", "shipper-backlog")
    stack.kafka.kill()
    try:
        trial.record_fault("Kafka is down when the shipper starts, and the node writes")
        trial.start()
        trial.wait_until_firing(seconds=300)
    finally:
        stack.start_kafka()
        stack.wait_kafka()
    trial.record_remedy("Kafka is up again")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_deleted_files_near_limit(make: TrialFactory, stack: Stack) -> None:
    limit = 16 << 20  # more than what is in flight at most, which is read
    trial = make("CrispDeletedFilesNearLimit", "shipper-backlog", CRISP_DELETED_MAX_BYTES=str(limit))
    trial.start()
    trial.wait_until_healthy()
    stack.kafka.pause()
    try:
        trial.record_fault("Kafka does not answer, and a pod with an unread log of most of the limit is deleted")
        log = trial.flow.make_container("gone") / "0.log"
        line = f"{timestamp.format_utc(time.time_ns())} stdout F {'x' * 4000}\n"
        number = int(0.9 * limit) // len(line)
        log.write_text(number * line)
        eventually(lambda: trial.status(trial.ship)["backlog_bytes"] >= log.stat().st_size // 2)
        shutil.rmtree(log.parent.parent)
        trial.wait_until_firing()
        messages = [problem["message"] for problem in trial.status(trial.ship)["problems"]]
        assert any("beyond it the largest backlog is abandoned" in message for message in messages)
    finally:
        stack.kafka.resume()
    trial.record_remedy("Kafka answers again")
    trial.wait_until_cleared()
    trial.assert_recovered(extra_documents=number)


def test_runbook_checkpoint(make: TrialFactory) -> None:
    trial = make("CrispCheckpointFailing", "checkpoint")
    trial.flow.shipper.prefix = tuple(capabilities.drop_command())
    trial.start()
    trial.wait_until_healthy()
    state = Path(trial.flow.settings.state_dir)
    state.chmod(0o555)
    trial.record_fault("the state directory cannot be written, and the shipper has no capabilities")
    trial.wait_until_firing()
    (problem,) = trial.status(trial.ship)["problems"]
    assert problem["runbook"] == "checkpoint"
    state.chmod(0o755)
    trial.record_remedy("it can be written")
    trial.wait_until_cleared()
    trial.assert_recovered()


TAMPER = """import gc
import os

from pipeline.monitoring.metrics import Metrics


def count(fields):
    if os.path.exists(FLAG):
        os.unlink(FLAG)
        (metrics,) = [entry for entry in gc.get_objects() if isinstance(entry, Metrics)]
        metrics.inc("crisp_worker_documents", 1_000_000, result="created")
"""


def test_runbook_event_totals_mismatch(make: TrialFactory, tmp_path: Path) -> None:
    """A hook, which may do anything in the worker, stands for a bug: it counts documents that do not exist."""
    rules, module = tmp_path / "rules.yaml", tmp_path / "hooks" / "words.py"
    module.parent.mkdir()
    flag = tmp_path / "flag"
    module.write_text(TAMPER.replace("FLAG", repr(str(flag))))
    rules.write_text(HOOK)
    settings = {"CRISP_RULES_FILE": str(rules), "CRISP_RULES_PYTHON_DIR": str(module.parent)}
    trial = make("CrispEventTotalsMismatch", "event-totals-mismatch", **settings)
    trial.start()
    trial.wait_until_healthy()
    trial.record_fault("a hook counts a million documents that do not exist")
    flag.touch()
    trial.wait_until_firing()
    assert "event-totals-mismatch" in {problem["runbook"] for problem in trial.status(trial.work)["problems"]}
    trial.flow.worker.stop()
    trial.flow.worker.start()
    trial.record_remedy("the worker is restarted; audit and replay find nothing missing")
    trial.wait_until_cleared()
    trial.stop_writing()
    eventually(lambda: trial.flow.count() >= trial.written)
    assert "accounted for" in trial.book.run("crisp audit --from kafka --since 24h")
    trial.book.run("crisp replay --since 24h")
    trial.assert_recovered()


def test_runbook_shipper_backlog(make: TrialFactory, stack: Stack) -> None:
    trial = make("CrispShipperStalled", "shipper-backlog")
    trial.start()
    trial.wait_until_healthy()
    stack.kafka.pause()
    try:
        trial.record_fault("Kafka does not answer")
        trial.wait_until_firing()
        assert "Kafka" in trial.book.run("crisp check --connect", code=1)
    finally:
        stack.kafka.resume()
    trial.record_remedy("Kafka answers again")
    trial.wait_until_cleared()
    trial.book.run("crisp check --connect")
    assert "already exists" in trial.book.run("crisp setup")
    trial.stop_writing()
    eventually(lambda: trial.status(trial.ship)["backlog_bytes"] == 0)
    eventually(lambda: trial.flow.count() >= trial.written)
    assert "accounted for" in trial.book.run("crisp audit --from /var/log/pods")
    trial.assert_recovered()


def test_runbook_shipper_backlog_since_start(make: TrialFactory, stack: Stack) -> None:
    """No record was ever sent, so none is in flight: only the size of the files shows the backlog."""
    trial = make("CrispShipperStalled", "shipper-backlog")
    stack.kafka.kill()
    try:
        trial.record_fault("Kafka is down when the shipper starts")
        trial.start()
        trial.wait_until_firing()
        assert "FAIL  Kafka: " in trial.book.run("crisp check --connect", code=1)
        assert trial.status(trial.ship)["backlog_bytes"] > 0
    finally:
        stack.start_kafka()
        stack.wait_kafka()
    trial.record_remedy("Kafka is up again")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_gap(make: TrialFactory) -> None:
    trial = make("CrispLinesLost", "gap")
    trial.start()
    log = trial.flow.make_container("gone") / "0.log"
    line = "2026-11-25T10:00:00.000000000Z stdout F a line\n"
    log.write_text(line)
    trial.wait_until_healthy()
    trial.flow.shipper.stop()
    with log.open("a") as file:
        file.write(line * 100)
    shutil.rmtree(log.parent.parent)
    trial.flow.shipper.start()
    trial.record_fault("a pod's log is deleted while the shipper is down")
    trial.wait_until_firing()
    (document,) = hits(trial.book.run("crisp tail log.flags=gap -n 50 --no-follow --json"))
    assert (document["kubernetes.pod.name"], document["crisp.gap.reason"]) == ("gone", "vanished file")
    trial.book.run("crisp audit --from kafka")
    trial.record_remedy("none: the runbook identifies the lost lines and verifies that no others are missing")
    trial.wait_until_cleared(later=31 * MINUTE)
    trial.assert_recovered(extra_documents=2)


RULES = """rules:
  - name: took as a number only
    when: {pod: pay-*, message: odd}
    remove: [took]
tests:
  - name: text in took is removed
    line: '{"message":"odd","took":"5 ms"}'
    pod: {pod: pay-0}
    expect: {kept: true, took: null}
"""


def test_runbook_rejected_documents(make: TrialFactory, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: []\n")
    trial = make(
        "CrispDocumentsRejected", "rejected-documents", CRISP_RULES_FILE=str(rules), CRISP_RULES_POLL_SECONDS="1"
    )
    trial.start()
    trial.wait_until_healthy()
    took = {"properties": {"took": {"type": "long", "ignore_malformed": False}}}
    trial.flow.request(f"{trial.flow.prefix}-*/_mapping", took, "PUT")
    trial.set_line(lambda _: '{"message":"odd","took":"5 ms"}')
    trial.record_fault("a field was mapped as a strict number, and a service writes text into it")
    trial.wait_until_firing()
    rejected = hits(trial.book.run("crisp tail 'crisp.rejected.type=*' -n 20 --no-follow --json"))
    assert {document["crisp.rejected.type"] for document in rejected} == {"document_parsing_exception"}
    assert {document["kubernetes.pod.name"] for document in rejected} == {"pay-0"}
    assert trial.status(trial.work)["rejections"][0]["workload"] == "shop/app"
    (trial.book.directory / "rules.yaml").write_text(RULES)
    assert "1 passed" in trial.book.run("crisp check --rules rules.yaml")
    rules.write_text(RULES)
    eventually(lambda: trial.status(trial.work)["rules"]["names"] == ["took as a number only"])
    trial.record_remedy("a rule removes the field")
    trial.wait_until_cleared(later=16 * MINUTE)
    trial.assert_recovered()


def test_runbook_rejection_rate(make: TrialFactory) -> None:
    trial = make("CrispRejectionRateHigh", "rejected-documents")
    number = {"type": "long", "ignore_malformed": False}
    change_template(trial.flow, lambda body: body["mappings"]["properties"].update({"trace.id": number}))
    trial.set_line(lambda number: f'{{"message":"line {number}","trace.id":"abc{number:x}"}}')
    trial.record_fault("the template was changed to map trace.id as a number")
    trial.start()
    trial.wait_until_firing()
    assert "differed, updated" in trial.book.run("crisp setup")
    trial.book.request("DELETE logs-YYYY.MM.DD")
    trial.book.run("crisp replay --since 24h")
    trial.record_remedy("`crisp setup`, today's index recreated with `crisp replay`")
    trial.wait_until_cleared(seconds=240)
    trial.stop_writing()
    eventually(lambda: trial.flow.count() >= trial.written)
    trial.book.run("crisp audit --from kafka --since 24h")
    assert [hit for hit in trial.flow.documents() if "safe_form" in hit["_source"].get("log.flags", ())] == []
    trial.assert_recovered()


def make_strict(body: dict[str, Any]) -> None:
    """Make the mapping reject every field of an application, in every form of a document."""
    properties = body["mappings"]["properties"]
    known = {name: properties[name] for name in properties if name not in ("crisp.flattened", "crisp.raw_json")}
    body["mappings"].update(dynamic="strict", properties=known)


def test_runbook_dead_letters(make: TrialFactory) -> None:
    trial = make("CrispDeadLetters", "dead-letters")
    change_template(trial.flow, make_strict)
    trial.set_line(lambda number: f'{{"message":"line {number}","n":{number}}}')
    trial.record_fault("the template was made strict; and an invalid record")
    trial.start(rate=5)
    trial.flow.produce(b"x\n", headers=[("crisp", b"1")])
    trial.wait_until_firing()
    eventually(lambda: trial.status(trial.work)["totals"]["documents"]["dead_lettered"] > 3)
    listed = trial.book.run("crisp dead-letters list")
    assert "strict_dynamic_mapping_exception" in listed
    assert f"{trial.flow.settings.topic_raw}/" in listed
    assert "differed, updated" in trial.book.run("crisp setup")
    trial.book.request("DELETE logs-YYYY.MM.DD")
    trial.book.run("crisp replay --since 24h")
    trial.record_remedy("`crisp setup`, today's index recreated with `crisp replay`, `crisp dead-letters retry`")
    assert "1 rejected again" in trial.book.run("crisp dead-letters retry", code=1)  # the invalid record stays invalid
    trial.wait_until_cleared(later=31 * MINUTE)
    trial.assert_recovered()


def test_runbook_id_conflicts(make: TrialFactory) -> None:
    """The id of a line is known to whoever reads its documents: one is created before the line is written."""
    trial = make("CrispIdConflicts", "id-conflicts")
    trial.start(rate=5)
    trial.wait_until_healthy()
    container = trial.flow.make_container("till", uid="0c4e8a56-0000-4000-8000-000000000001")
    line = f"{timestamp.format_utc(time.time_ns())} stdout F paid 12 EUR"
    identity = record.identity("0c4e8a56-0000-4000-8000-000000000001", "app", 0, line.encode())
    index = time.strftime(f"{trial.flow.prefix}-%Y.%m.%d", time.gmtime())
    forged = {"@timestamp": line[:20] + "Z", "message": "paid 0 EUR"}
    trial.flow.request(f"{index}/_create/{record.document_id(identity, 0)}", forged, "PUT")
    trial.record_fault("a document with the id of a line that is written then")
    (container / "0.log").write_text(line + "\n")
    trial.wait_until_firing()
    eventually(lambda: "id-conflicts" in {problem["runbook"] for problem in trial.status(trial.work)["problems"]})
    (found,) = hits(trial.book.run("crisp tail -n 50 --no-follow --json 'log.flags=id_conflict'"))
    assert found["message"] == "paid 12 EUR"
    assert '"message":"paid 12 EUR"' in trial.book.request(
        "POST logs-*/_search?size=50\n"
        '{"query": {"term": {"log.flags": "id_conflict"}}, "_source": ["message", "log.file.path", "crisp.*"]}'
    )
    trial.record_remedy("both documents are found; only the worker may write to the indices")
    trial.wait_until_cleared(later=31 * MINUTE)
    trial.assert_recovered(extra_documents=2)


def test_runbook_elasticsearch_down(make: TrialFactory, stack: Stack) -> None:
    trial = make("CrispElasticsearchUnavailable", "elasticsearch")
    trial.start()
    trial.wait_until_healthy()
    follower = trial.start_tail()
    stack.elasticsearch.kill()
    trial.record_fault("Elasticsearch is killed")
    try:
        trial.wait_until_firing()
        assert "Elasticsearch" in trial.book.run("crisp status", code=1)
        assert "FAIL  Elasticsearch: " in trial.book.run("crisp check --connect", code=1)
    finally:
        stack.start_elasticsearch()
        stack.wait_elasticsearch()
    trial.record_remedy("Elasticsearch is up again")
    trial.wait_until_cleared()
    assert '"status":' in trial.book.request("GET _cluster/health")
    assert trial.book.request("GET _cat/indices?health=red").strip() == ""
    assert "crisp_worker" in trial.book.run("crisp setup --roles")
    eventually(lambda: "crisp: Elasticsearch answers again" in follower.output.read_text())
    follower.stop()
    assert 2 <= len(follower.output.read_text().splitlines()) < 10, "an outage is reported once, not each second"
    trial.assert_recovered()


def test_runbook_index_template_missing(make: TrialFactory) -> None:
    trial = make("CrispElasticsearchUnavailable", "elasticsearch")
    for template in index_template.all_templates(trial.flow.settings):
        trial.flow.request(f"_index_template/{template.name}", method="DELETE")
    trial.record_fault("the index template is missing")
    trial.start()
    trial.wait_until_firing()
    assert "template" in trial.book.run("crisp status", code=1)
    trial.book.run("crisp setup")
    trial.record_remedy("`crisp setup`")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_logs_unreadable(make: TrialFactory) -> None:
    trial = make("CrispLogsUnreadable", "unreadable-logs")
    log = trial.flow.make_container("gone") / "0.log"
    log.write_text("2026-11-25T10:00:00.000000000Z stdout F a line\n")
    log.chmod(0)
    trial.flow.shipper.prefix = trial.book.prefix = tuple(capabilities.drop_command())
    trial.record_fault("a log file has no right to be read, and the shipper no capabilities")
    trial.start()
    trial.wait_until_firing()
    assert f"{log}: Permission denied" in trial.book.run("crisp check", code=1)
    (unreadable,) = trial.status(trial.ship)["unread"]["files"]
    assert (unreadable["pod"], unreadable["reason"]) == ("gone", "Permission denied")
    log.chmod(0o640)
    trial.record_remedy("the file may be read")
    trial.wait_until_cleared()
    assert "OK    log directory" in trial.book.run("crisp check")
    trial.assert_recovered(extra_documents=1)


def test_runbook_no_containers_found(make: TrialFactory) -> None:
    trial = make("CrispNoContainersFound", "unreadable-logs")
    trial.record_fault("the shipper reads a directory of another layout")
    trial.flow.shipper.start()
    trial.prometheus = Prometheus({"shipper": trial.ship})
    trial.wait_until_firing(seconds=400)
    assert "has no log file" in trial.book.run("crisp check")
    trial.flow.shipper.stop()
    trial.prometheus.close()
    trial.record_remedy("the directory has the kubelet's layout")
    trial.start()
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_shipper_down(make: TrialFactory) -> None:
    trial = make("CrispShipperDown", "instance-down")
    name = '{daemonset="crisp-shipper"}'
    fake_gauges = {
        f"kube_daemonset_status_desired_number_scheduled{name}": lambda: 1.0,
        f"kube_daemonset_status_number_ready{name}": lambda: float(get(trial.ship, "/readyz")[0] == 200),
    }
    trial.start(fake_gauges=fake_gauges)
    trial.wait_until_healthy()
    trial.flow.shipper.stop()
    misconfigured = ChildProcess(
        "ship", {**trial.flow.environment, "CRISP_LINGER_SECONDS": "soon"}, trial.book.directory
    )
    misconfigured.start()
    trial.record_fault("a setting is invalid")
    assert misconfigured.wait(30) == 2
    trial.wait_until_firing()
    last = misconfigured.output.read_text().splitlines()[-1]  # kubectl -n logging logs POD --previous
    assert "CRISP_LINGER_SECONDS" in last
    trial.flow.shipper.start()
    trial.record_remedy("the setting named by the last line of the log is corrected")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_workers_down(make: TrialFactory) -> None:
    trial = make("CrispWorkersDown", "instance-down", set_up=False)
    trial.record_fault("the topic is missing")
    trial.start()
    trial.wait_until_firing()
    assert trial.flow.settings.topic_raw in trial.book.run("crisp check --connect", code=1)
    trial.book.run("crisp setup")
    trial.record_remedy("`crisp setup`")
    trial.wait_until_cleared()
    trial.assert_recovered()


def test_runbook_search_latency(make: TrialFactory) -> None:
    trial = make("CrispSearchLatencyHigh", "search-latency")
    change_template(trial.flow, lambda body: body["settings"]["index"].update(refresh_interval="20s"))
    trial.record_fault("the index is refreshed every 20 s")
    trial.start()
    trial.wait_until_firing()
    assert '"20s"' in trial.book.request("GET logs-*/_settings/index.refresh_interval")
    trial.book.request('PUT logs-*/_settings\n{"index.refresh_interval": "1s"}')
    assert "differed, updated" in trial.book.run("crisp setup")
    trial.record_remedy("the interval is reset")
    trial.wait_until_cleared(later=11 * MINUTE)
    trial.assert_recovered()


def test_runbook_retention(make: TrialFactory, stack: Stack) -> None:
    trial = make("CrispRetentionNear", "retention", CRISP_TOPIC_RETENTION_SECONDS="60")
    trial.start()
    trial.wait_until_healthy()
    stack.elasticsearch.kill()
    trial.record_fault("retention is one minute, and Elasticsearch is down for more than half of it")
    try:
        trial.wait_until_firing()
        trial.book.run(
            'kafka-configs.sh --bootstrap-server "$CRISP_KAFKA_BROKERS" --alter --entity-type topics '
            "--entity-name logs-raw --add-config retention.ms=604800000"
        )
        assert "retention" in trial.book.run("crisp status", code=1)
    finally:
        stack.start_elasticsearch()
        stack.wait_elasticsearch()
    trial.flow.worker.stop()
    trial.record_remedy("retention is set to one week, then Elasticsearch is up again")
    environment = {**trial.flow.environment, "CRISP_TOPIC_RETENTION_SECONDS": "604800"}
    trial.flow.worker = ChildProcess("worker", environment, trial.book.directory)
    trial.flow.worker.start()
    trial.wait_until_cleared()
    assert not [
        line for line in asyncio.run(topics.create_topics(load_settings(environment))) if "retention.ms is" in line
    ]
    trial.assert_recovered()


def test_runbook_rules_invalid(make: TrialFactory, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    trial = make(
        "CrispRulesReloadFailed", "rules-reload-failed", CRISP_RULES_FILE=str(rules), CRISP_RULES_POLL_SECONDS="1"
    )
    trial.start()
    trial.wait_until_healthy()
    before = trial.status(trial.work)["rules"]["digest"]
    for path in (rules, trial.book.directory / "rules.yaml"):
        path.write_text(RULES.replace("remove", "removes"))
    trial.record_fault("a rules file with an unknown action")
    trial.wait_until_firing()
    assert "rules.yaml:4:" in trial.book.run("crisp check --rules rules.yaml", code=2)
    assert trial.status(trial.work)["rules"]["digest"] == before
    rules.write_text(RULES.replace("odd", "even"))
    trial.record_remedy("the file is corrected")
    trial.wait_until_cleared()
    assert trial.status(trial.work)["rules"]["digest"] not in {"", before}
    trial.assert_recovered()


HOOK = """rules:
  - name: words
    python: words:count
tests:
  - name: a line without text passes
    line: '{"n":1}'
    expect: {kept: true}
"""


def test_runbook_hook_errors(make: TrialFactory, tmp_path: Path) -> None:
    rules, module = tmp_path / "rules.yaml", tmp_path / "hooks" / "words.py"
    module.parent.mkdir()
    module.write_text("def count(fields):\n    fields['words'] = len(fields['text'].split())\n")
    rules.write_text(HOOK)
    settings = {"CRISP_RULES_FILE": str(rules), "CRISP_RULES_PYTHON_DIR": str(module.parent)}
    trial = make("CrispHookErrors", "hook-errors", CRISP_RULES_POLL_SECONDS="1", **settings)
    trial.record_fault("a hook reads a field that the lines do not have")
    trial.start()
    trial.wait_until_firing()
    assert "The hooks of rules fail" in trial.book.run("crisp status")
    (failing,) = trial.status(trial.work)["hook_errors"]
    assert (failing["rule"], failing["error"]) == ("words", f'KeyError at "{module}", line 2')
    log = trial.flow.worker.output.read_text()
    assert 1 <= log.count("KeyError: 'text'") <= 4, "once a minute, not for each line"
    digest = trial.status(trial.work)["rules"]["digest"]
    module.write_text("def count(fields):\n    fields['words'] = len(fields['message'].split())\n")
    (trial.book.directory / "rules.yaml").write_text(HOOK)
    assert "1 passed" in trial.book.run("crisp check --rules rules.yaml")
    eventually(lambda: trial.status(trial.work)["rules"]["digest"] != digest)
    trial.record_remedy("the function is corrected")
    trial.wait_until_cleared(later=16 * MINUTE)
    trial.assert_recovered()
