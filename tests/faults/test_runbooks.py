"""Every alert on real servers: a fault makes its expression true, its runbook's commands make it false again."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config import settings
from pipeline.demo.child_process import Part
from pipeline.elasticsearch import index_template
from pipeline.local.process import free_ports
from pipeline.local.stack import Stack
from pipeline.operations.setup import setup
from tests.deploy import promtool
from tests.faults.proxy import Proxy
from tests.faults.runbook import hits
from tests.faults.trial import Trial
from tests.integration.flow import Flow, eventually
from tests.integration.test_status import get

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not promtool.path().is_file(), reason="no promtool to evaluate alerts with: `make promtool`"),
]
Make = Callable[..., Trial]
MINUTE = 60


@pytest.fixture
def make(stack: Stack, tmp_path: Path) -> Iterator[Make]:
    """Makes the one trial of a test."""
    made: list[Trial] = []

    def one(alert: str, page: str, *, set_up: bool = True, **extra: str) -> Trial:
        trial = Trial(stack, tmp_path, alert, page, **extra)
        made.append(trial)
        if set_up:
            trial.flow.set_up()
        return trial

    yield one
    for trial in made:
        trial.end()


def drift(flow: Flow, change: Callable[[dict], None]) -> None:
    """Somebody changes the template by hand."""
    path = f"_index_template/{index_template.all_of(flow.settings)[0].name}"
    found = flow.ask(path)["index_templates"][0]["index_template"]
    change(found["template"])
    flow.ask(path, found, "PUT")


def test_runbook_lag(make: Make, stack: Stack, tmp_path: Path) -> None:
    """Each small bulk takes half a second, so one worker does less than what is written, and six do more."""
    proxy = Proxy(stack.address.es_url)
    slow = {"CRISP_ES_URLS": proxy.url, "CRISP_BULK_CONCURRENCY": "1", "CRISP_BULK_MAX_BYTES": "65536"}
    trial = make("CrispConsumerLagGrowing", "lag", CRISP_TOPIC_PARTITIONS="6", **slow)
    others = []
    try:
        trial.begin(rate=200, pods=60)
        trial.well()
        proxy.delay = 0.5
        trial.fault("Elasticsearch takes half a second for a bulk of 64 KiB: one worker is too few")
        trial.fires()
        assert "records wait, the oldest for" in trial.book.do("crisp status")
        # kubectl -n logging scale deployment crisp-worker --replicas=6
        for number, port in enumerate(free_ports(5)):
            home = tmp_path / f"worker-{number}"
            home.mkdir()
            other = Part("worker", {**trial.flow.environment, "CRISP_WORKER_PORT": str(port)}, home)
            others.append(other)
            other.start()
            trial.prometheus.ports[f"worker-{number}"] = port
        trial.mended("five more workers")
        trial.clears(seconds=300)
        proxy.delay = 0.0
        trial.end_well()
    finally:
        for other in others:
            other.stop()
        trial.end()
        proxy.close()


def test_runbook_unread(make: Make, stack: Stack) -> None:
    trial = make("CrispShipperStalled", "shipper-backlog")
    trial.begin()
    trial.well()
    stack.kafka.pause()
    try:
        trial.fault("Kafka answers nothing")
        trial.fires()
        assert "Kafka" in trial.book.do("crisp check --connect", code=1)
    finally:
        stack.kafka.resume()
    trial.mended("Kafka answers again")
    trial.clears()
    trial.book.do("crisp check --connect")
    assert "is there already" in trial.book.do("crisp setup")
    trial.rest()
    eventually(lambda: trial.status(trial.ship)["unread_bytes"] == 0)
    eventually(lambda: trial.flow.count() >= trial.written)
    assert "accounted for" in trial.book.do("crisp audit --from /var/log/pods")
    trial.end_well()


def test_runbook_unread_since_the_start(make: Make, stack: Stack) -> None:
    """Nothing was ever handed to Kafka, so nothing waits for its answer: what tells are the files."""
    trial = make("CrispShipperStalled", "shipper-backlog")
    stack.kafka.kill()
    try:
        trial.fault("Kafka is away when the shipper starts")
        trial.begin()
        trial.fires()
        assert "FAIL  Kafka: " in trial.book.do("crisp check --connect", code=1)
        assert trial.status(trial.ship)["unread_bytes"] > 0
    finally:
        stack.start_kafka()
        stack.wait_kafka()
    trial.mended("Kafka is there")
    trial.clears()
    trial.end_well()


def test_runbook_gap(make: Make) -> None:
    trial = make("CrispLinesLost", "gap")
    trial.begin()
    log = trial.flow.container("gone") / "0.log"
    line = "2026-11-25T10:00:00.000000000Z stdout F a line\n"
    log.write_text(line)
    trial.well()
    trial.flow.shipper.stop()
    with log.open("a") as file:
        file.write(line * 100)
    shutil.rmtree(log.parent.parent)
    trial.flow.shipper.start()
    trial.fault("a pod's log is deleted while the shipper is away")
    trial.fires()
    (found,) = hits(trial.book.do("crisp tail log.flags=gap -n 50 --no-follow --json"))
    assert (found["kubernetes.pod.name"], found["crisp.gap.reason"]) == ("gone", "vanished file")
    trial.book.do("crisp audit --from kafka")
    trial.mended("nothing can: it is told which lines, and that no others are missing")
    trial.clears(later=31 * MINUTE)
    trial.end_well(beside=2)


RULES = """rules:
  - name: what others mean by took
    when: {pod: pay-*, message: odd}
    remove: [took]
tests:
  - name: words are not a number
    line: '{"message":"odd","took":"5 ms"}'
    pod: {pod: pay-0}
    expect: {kept: true, took: null}
"""


def test_runbook_refusals(make: Make, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: []\n")
    trial = make(
        "CrispDocumentsRejected", "rejected-documents", CRISP_RULES_FILE=str(rules), CRISP_RULES_POLL_SECONDS="1"
    )
    trial.begin()
    trial.well()
    took = {"properties": {"took": {"type": "long", "ignore_malformed": False}}}
    trial.flow.ask(f"{trial.flow.prefix}-*/_mapping", took, "PUT")
    trial.write(lambda _: '{"message":"odd","took":"5 ms"}')
    trial.fault("somebody has made a field a strict number, and a service writes words into it")
    trial.fires()
    refused = hits(trial.book.do("crisp tail 'crisp.rejected.type=*' -n 20 --no-follow --json"))
    assert {found["crisp.rejected.type"] for found in refused} == {"document_parsing_exception"}
    assert {found["kubernetes.pod.name"] for found in refused} == {"pay-0"}
    assert trial.status(trial.work)["refusals"][0]["workload"] == "shop/app"
    (trial.book.directory / "rules.yaml").write_text(RULES)
    assert "1 passed" in trial.book.do("crisp check --rules rules.yaml")
    rules.write_text(RULES)
    eventually(lambda: trial.status(trial.work)["rules"]["rules"] == ["what others mean by took"])
    trial.mended("a rule removes the field")
    trial.clears(later=16 * MINUTE)
    trial.end_well()


def test_runbook_flood(make: Make) -> None:
    trial = make("CrispRejectionRateHigh", "rejected-documents")
    number = {"type": "long", "ignore_malformed": False}
    drift(trial.flow, lambda body: body["mappings"]["properties"].update({"trace.id": number}))
    trial.write(lambda number: f'{{"message":"line {number}","trace.id":"abc{number:x}"}}')
    trial.fault("somebody has made trace.id a number in the template")
    trial.begin()
    trial.fires()
    assert "had drifted, put again" in trial.book.do("crisp setup")
    trial.book.ask("DELETE logs-YYYY.MM.DD")
    trial.book.do("crisp replay --since 24h")
    trial.mended("`crisp setup`, today's index made again by `crisp replay`")
    trial.clears(seconds=240)
    trial.rest()
    eventually(lambda: trial.flow.count() >= trial.written)
    trial.book.do("crisp audit --from kafka --since 24h")
    assert [hit for hit in trial.flow.documents() if "safe_form" in hit["_source"].get("log.flags", ())] == []
    trial.end_well()


def strict(body: dict) -> None:
    """Nothing that an application writes has a place, in no form of a document."""
    known = body["mappings"]["properties"]
    named = {name: known[name] for name in known if not name.startswith("crisp.flattened")}
    body["mappings"].update(dynamic="strict", properties=named)


def test_runbook_dead_letters(make: Make) -> None:
    trial = make("CrispDeadLetters", "dead-letters")
    drift(trial.flow, strict)
    trial.write(lambda number: f'{{"message":"line {number}","n":{number}}}')
    trial.fault("somebody has made the template strict; a record that is none of ours")
    trial.begin(rate=5)
    trial.flow.produce(b"x\n", headers=[("crisp", b"1")])
    trial.fires()
    eventually(lambda: trial.status(trial.work)["documents"]["dead_lettered"] > 3)
    said = trial.book.do("crisp dead-letters list")
    assert "strict_dynamic_mapping_exception" in said
    assert f"{trial.flow.settings.topic_raw}/" in said
    assert "had drifted, put again" in trial.book.do("crisp setup")
    trial.book.ask("DELETE logs-YYYY.MM.DD")
    trial.book.do("crisp replay --since 24h")
    trial.mended("`crisp setup`, today's index made again by `crisp replay`, `crisp dead-letters retry`")
    assert "1 refused again" in trial.book.do("crisp dead-letters retry", code=1)  # what is none of ours stays none
    trial.clears(later=31 * MINUTE)
    trial.end_well()


def test_runbook_elasticsearch_away(make: Make, stack: Stack) -> None:
    trial = make("CrispElasticsearchUnavailable", "elasticsearch")
    trial.begin()
    trial.well()
    follower = trial.follow()
    stack.elasticsearch.kill()
    trial.fault("Elasticsearch is killed")
    try:
        trial.fires()
        assert "Elasticsearch" in trial.book.do("crisp status", code=1)
        assert "FAIL  Elasticsearch: " in trial.book.do("crisp check --connect", code=1)
    finally:
        stack.start_elasticsearch()
        stack.wait_elasticsearch()
    trial.mended("it is there again")
    trial.clears()
    assert '"status":' in trial.book.ask("GET _cluster/health")
    assert trial.book.ask("GET _cat/indices?health=red").strip() == ""
    assert "crisp_worker" in trial.book.do("crisp setup --roles")
    eventually(lambda: "crisp: Elasticsearch answers again" in follower.output.read_text())
    follower.stop()
    assert 2 <= len(follower.output.read_text().splitlines()) < 10, "an outage is told once, not each second"
    trial.end_well()


def test_runbook_elasticsearch_has_no_template(make: Make) -> None:
    trial = make("CrispElasticsearchUnavailable", "elasticsearch")
    for one in index_template.all_of(trial.flow.settings):
        trial.flow.ask(f"_index_template/{one.name}", method="DELETE")
    trial.fault("the index template is not there")
    trial.begin()
    trial.fires()
    assert "template" in trial.book.do("crisp status", code=1)
    trial.book.do("crisp setup")
    trial.mended("`crisp setup`")
    trial.clears()
    trial.end_well()


def test_runbook_shipper_absent(make: Make) -> None:
    trial = make("CrispShipperDown", "instance-down")
    name = '{daemonset="crisp-shipper"}'
    given = {
        f"kube_daemonset_status_desired_number_scheduled{name}": lambda: 1.0,
        f"kube_daemonset_status_number_ready{name}": lambda: float(get(trial.ship, "/readyz")[0] == 200),
    }
    trial.begin(given=given)
    trial.well()
    trial.flow.shipper.stop()
    refused = Part("ship", {**trial.flow.environment, "CRISP_LINGER_SECONDS": "soon"}, trial.book.directory)
    refused.start()
    trial.fault("a setting is refused")
    assert refused.wait(30) == 2
    trial.fires()
    last = refused.output.read_text().splitlines()[-1]  # kubectl -n logging logs POD --previous
    assert "CRISP_LINGER_SECONDS" in last
    trial.flow.shipper.start()
    trial.mended("the setting that the last line of its log names")
    trial.clears()
    trial.end_well()


def test_runbook_workers_absent(make: Make) -> None:
    trial = make("CrispWorkersDown", "instance-down", set_up=False)
    trial.fault("the topic is not there")
    trial.begin()
    trial.fires()
    assert trial.flow.settings.topic_raw in trial.book.do("crisp check --connect", code=1)
    trial.book.do("crisp setup")
    trial.mended("`crisp setup`")
    trial.clears()
    trial.end_well()


def test_runbook_searchable_late(make: Make) -> None:
    trial = make("CrispSearchLatencyHigh", "search-latency")
    drift(trial.flow, lambda body: body["settings"]["index"].update(refresh_interval="20s"))
    trial.fault("the index is refreshed every 20 s")
    trial.begin()
    trial.fires()
    assert '"20s"' in trial.book.ask("GET logs-*/_settings/index.refresh_interval")
    trial.book.ask('PUT logs-*/_settings\n{"index.refresh_interval": "1s"}')
    assert "had drifted, put again" in trial.book.do("crisp setup")
    trial.mended("the interval is set back")
    trial.clears(later=11 * MINUTE)
    trial.end_well()


def test_runbook_retention(make: Make, stack: Stack) -> None:
    trial = make("CrispRetentionNear", "retention", CRISP_TOPIC_RETENTION_SECONDS="60")
    trial.begin()
    trial.well()
    stack.elasticsearch.kill()
    trial.fault("Kafka keeps a minute, Elasticsearch is away for longer than half of it")
    try:
        trial.fires()
        trial.book.do(
            'kafka-configs.sh --bootstrap-server "$CRISP_KAFKA_BROKERS" --alter --entity-type topics '
            "--entity-name logs-raw --add-config retention.ms=604800000"
        )
        assert "retention" in trial.book.do("crisp status", code=1)
    finally:
        stack.start_elasticsearch()
        stack.wait_elasticsearch()
    trial.flow.worker.stop()
    trial.mended("Kafka keeps a week, then Elasticsearch is there again")
    known = {**trial.flow.environment, "CRISP_TOPIC_RETENTION_SECONDS": "604800"}
    trial.flow.worker = Part("worker", known, trial.book.directory)
    trial.flow.worker.start()
    trial.clears()
    assert not [line for line in asyncio.run(setup.topics(settings.load(known))) if "retention.ms is" in line]
    trial.end_well()


def test_runbook_rules_refused(make: Make, tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    trial = make(
        "CrispRulesReloadFailed", "rules-reload-failed", CRISP_RULES_FILE=str(rules), CRISP_RULES_POLL_SECONDS="1"
    )
    trial.begin()
    trial.well()
    before = trial.status(trial.work)["rules"]["digest"]
    for path in (rules, trial.book.directory / "rules.yaml"):
        path.write_text(RULES.replace("remove", "removes"))
    trial.fault("a rules file with an unknown action")
    trial.fires()
    assert "rules.yaml:4:" in trial.book.do("crisp check --rules rules.yaml", code=2)
    assert trial.status(trial.work)["rules"]["digest"] == before
    rules.write_text(RULES.replace("odd", "even"))
    trial.mended("the file is mended")
    trial.clears()
    assert trial.status(trial.work)["rules"]["digest"] not in {"", before}
    trial.end_well()
