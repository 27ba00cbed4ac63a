"""Commands on indexed and dead-lettered events: replay, audit, trace, tail, dead letters, check, status."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.inspect.tail import format_document
from pipeline.contract import cri
from pipeline.operations.audit import audit
from tests.support.command_line import CommandLine, Result
from tests.support.fake_elasticsearch import DocumentError, Response


def parsed(result: Result) -> dict[str, Any]:
    """The JSON object that a command printed."""
    body: dict[str, Any] = json.loads(result.out)
    return body


def replay(flow: CommandLine, *options: str) -> dict[str, Any]:
    result = flow("replay", "--since", "2h", "--json", *options)
    assert result.code == 0, result
    return parsed(result)


@pytest.fixture
def indexed(flow: CommandLine) -> CommandLine:
    """Three events in the raw topic and in the index."""
    flow.add_slice("one", "two", '{"message":"three","level":"error"}')
    assert replay(flow)["created"] == 3
    return flow


def rejected(index: str, source: dict[str, Any]) -> DocumentError | None:
    """Reject the documents whose message contains `bad`, in each form."""
    if "bad" in str(source.get("message")):
        return DocumentError(400, "document_parsing_exception", "[1:2] failed to parse field [x]")
    return None


# --- replay


def test_replay_creates_each_document_once(indexed: CommandLine) -> None:
    again = replay(indexed)

    assert (again["records"], again["events"], again["created"], again["duplicate"]) == (1, 3, 0, 3)
    assert len(indexed.elasticsearch.sources("logs-*")) == 3


def test_replay_is_limited_to_its_range(flow: CommandLine) -> None:
    flow.add_slice("old", age=7000.0)
    flow.add_slice("new", age=600.0, first_line=b"other")

    result = flow("replay", "--since", "1h", "--json")
    assert parsed(result)["created"] == 1
    result = flow("replay", "--since", "2h", "--until", "1h", "--json")
    assert parsed(result)["created"] == 1


def test_replay_prints_a_table(indexed: CommandLine) -> None:
    result = indexed("replay", "--since", "2h")

    assert result.code == 0
    assert re.search(r"existing documents +3", result.out)


def test_replay_counts_invalid_records(flow: CommandLine) -> None:
    record = flow.add_slice("one")
    flow.kafka.append(record.topic, b"x", [("contract", b"999"), *record.headers[1:]])

    outcome = replay(flow)

    assert (outcome["records"], outcome["created"] + outcome["invalid_records"]) == (2, 2)


def test_replay_dead_letters_what_is_rejected_in_every_form_once(flow: CommandLine) -> None:
    flow.add_slice("good", "bad")
    flow.elasticsearch.document_error = rejected

    first, second = replay(flow), replay(flow)

    assert (first["created"], first["dead_lettered"]) == (1, 1)
    assert second["duplicate"] == 1
    assert len(flow.kafka.records(flow.settings.topic_dead)) == 1


def test_replay_rejects_an_empty_range(flow: CommandLine) -> None:
    result = flow("replay", "--since", "1h", "--until", "2h")

    assert (result.code, "--until is not later" in result.err) == (2, True)


def test_replay_with_other_rules_must_be_allowed(flow: CommandLine) -> None:
    buckets = [{"key": "0123abcd", "doc_count": 7}, {"key": "", "doc_count": 1}]
    flow.elasticsearch.respond(
        "POST",
        "/logs-*/_search",
        Response(200, {"hits": {"hits": []}, "aggregations": {"rules": {"buckets": buckets}}}),
    )

    result = flow("replay", "--since", "1h")

    assert result.code == 1
    assert "7 by rules 0123abcd; now it is no rules" in result.err


def test_replay_without_kafka_fails_with_the_address(flow: CommandLine) -> None:
    flow.kafka.unavailable = True

    result = flow("replay", "--since", "1h")

    assert (result.code, "cannot read Kafka at " in result.err) == (1, True)


def test_replay_retries_an_unavailable_elasticsearch(flow: CommandLine) -> None:
    flow.add_slice("one")
    flow.elasticsearch.respond("POST", "/_bulk", TimeoutError(), Response(503), OSError("refused"))

    assert replay(flow)["created"] == 1


# --- audit


def test_audit_of_kafka_finds_every_event(indexed: CommandLine) -> None:
    result = indexed("audit", "--from", "kafka", "--json", "--since", "2h")

    total = parsed(result)
    assert (result.code, total["events"], total["indexed"], total["missing"], total["duplicated"]) == (0, 3, 3, 0, 0)


def test_audit_reports_a_missing_and_a_duplicated_event(indexed: CommandLine) -> None:
    (name, index), *_ = indexed.elasticsearch.indices.items()
    deleted, doubled, _ = sorted(index.documents)
    indexed.commit()
    index.documents.pop(deleted)
    indexed.elasticsearch.add_document("logs-late", doubled, index.documents[doubled][1])

    result = indexed("audit", "--from", "kafka")
    total = parsed(indexed("audit", "--from", "kafka", "--json"))

    assert (result.code, total["missing"], total["duplicated"]) == (1, 1, 1), total
    assert "1 events are missing, 1 duplicated" in result.out
    assert name in result.out


def test_audit_counts_young_events_as_pending(flow: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FINAL_LOOKUP_SECONDS", 0.1)
    flow.add_slice("young", age=1.0)

    result = flow("audit", "--from", "kafka", "--json")

    assert (result.code, parsed(result)["pending"], parsed(result)["missing"]) == (0, 1, 0)


def test_audit_counts_dead_letters_as_accounted_for(flow: CommandLine) -> None:
    flow.add_slice("bad")
    flow.elasticsearch.document_error = rejected
    replay(flow)

    result = flow("audit", "--from", "kafka", "--json")

    assert (result.code, parsed(result)["dead_lettered"], parsed(result)["missing"]) == (0, 1, 0)


def test_audit_of_a_directory_finds_missing_events(flow: CommandLine, tmp_path: Path) -> None:
    log = tmp_path / "shop_pay-1_0f0f0f0f-0000-0000-0000-000000000001" / "pay" / "0.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"2026-11-24T09:42:30.000000001Z stdout F one\n2026-11-24T09:42:30.000000002Z stdout F two\n")

    result = flow("audit", "--from", str(tmp_path), "--json")

    assert (result.code, parsed(result)["events"], parsed(result)["missing"]) == (1, 2, 2)


def test_audit_without_events_says_so(flow: CommandLine) -> None:
    result = flow("audit", "--from", "kafka")

    assert (result.code, "no events to look up" in result.out) == (0, True)


@pytest.mark.parametrize(
    ("options", "message"), [(("/no/such",), "neither a directory"), (("kafka", "--pods", "x"), "only for a directory")]
)
def test_audit_with_a_wrong_source_is_wrong_usage(crisp: CommandLine, options: tuple[str, ...], message: str) -> None:
    result = crisp("audit", "--from", *options)

    assert (result.code, message in result.err) == (2, True)


def test_audit_fails_when_elasticsearch_cannot_be_searched(indexed: CommandLine) -> None:
    indexed.elasticsearch.respond_always("POST", "/logs-*/_search", Response(403, {"error": "no"}))

    result = indexed("audit", "--from", "kafka")

    assert (result.code, "cannot query Elasticsearch: status 403" in result.err) == (1, True)


def test_audit_without_kafka_fails_with_the_address(flow: CommandLine) -> None:
    flow.kafka.unavailable = True

    assert "cannot read Kafka at " in flow("audit", "--from", "kafka").err


# --- trace and tail


def test_traced_document_has_every_step(indexed: CommandLine) -> None:
    document_id = min(indexed.elasticsearch.sources("logs-*"))

    result = indexed("trace", document_id, "--json")

    body = parsed(result)
    assert (result.code, body["indexed"]) == (0, True)
    assert [step["name"] for step in body["steps"]] == ["written", "read", "in Kafka", "indexed", "searchable"]
    assert "offset 0, a slice of 3 lines" in body["steps"][2]["message"]
    assert "one" in indexed("trace", document_id).out


def test_trace_of_a_committed_record_says_so(indexed: CommandLine) -> None:
    indexed.commit()

    assert "; committed" in indexed("trace", min(indexed.elasticsearch.sources("logs-*"))).out


def test_trace_of_a_deleted_document_finds_its_record(indexed: CommandLine) -> None:
    document_id = min(indexed.elasticsearch.sources("logs-*"))
    indexed.elasticsearch.indices.clear()

    result = indexed("trace", document_id, "--json")

    assert (result.code, [step["name"] for step in parsed(result)["steps"]]) == (1, ["in Kafka"])


def test_trace_finds_a_dead_letter(flow: CommandLine) -> None:
    flow.add_slice("bad")
    flow.elasticsearch.document_error = rejected
    replay(flow)
    document_id = dict(flow.kafka.records(flow.settings.topic_dead)[0].headers)["dead-id"].decode()

    result = flow("trace", document_id)

    assert result.code == 1
    assert "rejected by logs-" in result.out


def test_trace_of_an_unknown_document_says_so(flow: CommandLine) -> None:
    result = flow("trace", "unknown")

    assert (result.code, "not found in Kafka either" in result.out) == (1, True)


def test_trace_without_kafka_shows_the_other_steps(indexed: CommandLine) -> None:
    indexed.kafka.unavailable = True

    result = indexed("trace", min(indexed.elasticsearch.sources("logs-*")))

    assert (result.code, "no broker is reachable" in result.out) == (0, True)


@pytest.mark.parametrize("response", [Response(500, {"error": "broken"}), OSError("refused")])
@pytest.mark.parametrize("command", [("trace", "x"), ("tail", "--no-follow")])
def test_command_without_elasticsearch_fails(
    flow: CommandLine, response: Response | OSError, command: tuple[str, ...]
) -> None:
    flow.elasticsearch.respond_always("*", "*", response)
    flow.elasticsearch.respond_always("POST", "*", response)
    flow.elasticsearch.respond_always("GET", "*", response)

    result = flow(*command)

    assert (result.code, "Elasticsearch" in result.err) == (1, True)


def test_tail_prints_the_newest_documents_in_order(indexed: CommandLine) -> None:
    result = indexed("tail", "-n", "2", "--no-follow")

    assert result.code == 0
    assert [line.rpartition(" ")[2] for line in result.out.splitlines()] == ["two", "three"]


def test_tail_prints_matching_documents_as_json(indexed: CommandLine) -> None:
    result = indexed("tail", "level>=error", "--no-follow", "--json")

    assert [json.loads(line)["_source"]["message"] for line in result.out.splitlines()] == ["three"]


def test_tail_names_a_field_that_no_document_has(indexed: CommandLine) -> None:
    caps = Response(200, {"indices": ["logs-1"], "fields": {"log.level": {}}})
    indexed.elasticsearch.respond_always("GET", "/logs-*/_field_caps", caps)

    result = indexed("tail", "level>=error", "namspace=shop", "xyzzy=x", "kubernetes.labels.app=web", "--no-follow")

    assert result.code == 0
    assert result.err.splitlines() == [
        "crisp: no document has the field namspace (did you mean namespace?)",
        "crisp: no document has the field xyzzy",
    ]


def test_documents_of_tail_align_and_only_time_and_pod_are_dim() -> None:
    texts = [
        format_document({"@timestamp": time, "log.level": "error", "message": "boom", "service.name": "s"})
        for time in ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00.5Z", "2026-11-24T10:00:00.123456789Z")
    ]

    assert [text.plain[:13] for text in texts] == ["10:00:00.000 ", "10:00:00.500 ", "10:00:00.123 "]
    for text in texts:
        assert text.style == ""
        assert [text.plain[span.start : span.end].strip() for span in text.spans if span.style == "dim"][1] == "/"
        assert all(span.style != "dim" for span in text.spans if "boom" in text.plain[span.start : span.end])


@pytest.mark.parametrize("command", [("config",), ("audit", "--from", "kafka")])
def test_table_in_a_pipe_is_not_folded(indexed: CommandLine, command: tuple[str, ...]) -> None:
    path = f"/etc/{'x' * 150}"
    indexed.configure(CRISP_KAFKA_CA_FILE=path, CRISP_KAFKA_TLS="false")

    result = indexed(*command)

    assert command[0] != "config" or path in result.out
    assert len({len(line.split()) for line in result.out.splitlines() if line.startswith("CRISP_TOPIC_RAW")}) <= 1
    assert all(not line.startswith(" ") for line in result.out.splitlines())


# --- dead letters


@pytest.fixture
def dead(flow: CommandLine) -> CommandLine:
    """Two dead letters of one reason, and a record that is none."""
    flow.add_slice("bad 1", "bad 2", "good")
    flow.elasticsearch.document_error = rejected
    replay(flow)
    flow.kafka.append(flow.settings.topic_dead, b"not a dead letter")
    return flow


def test_dead_letters_are_listed_by_reason(dead: CommandLine) -> None:
    body = parsed(dead("dead-letters", "list", "--json"))

    assert (body["dead_letters"], body["invalid_records"], [row["count"] for row in body["reasons"]]) == (2, 1, [2])
    text = dead("dead-letters").out
    assert "2 dead letters" in text
    assert "1 records in the topic are not dead letters" in text


def test_dead_letters_that_are_accepted_now_are_indexed(dead: CommandLine) -> None:
    dead.elasticsearch.document_error = lambda *_: None

    first = dead("dead-letters", "retry", "--json")
    second = dead("dead-letters", "retry")

    assert (first.code, parsed(first)["created"]) == (0, 2)
    assert "2 were searchable already, 0 are indexed now" in second.out


def test_dead_letters_that_are_rejected_again_fail(dead: CommandLine) -> None:
    result = dead("dead-letters", "retry")

    assert (result.code, "2 rejected again" in result.out) == (1, True)
    assert len(dead.kafka.records(dead.settings.topic_dead)) == 3


def test_empty_dead_letter_topic_is_reported(flow: CommandLine) -> None:
    assert "is empty" in flow("dead-letters", "list", "--since", "1h").out


def test_dead_letters_without_kafka_fail(flow: CommandLine) -> None:
    flow.kafka.unavailable = True

    assert flow("dead", "list").code == 1


# --- setup and check


def test_setup_prints_a_message_for_each_object(crisp: CommandLine) -> None:
    first, second = crisp("setup"), crisp("setup")

    assert "topic logs-raw: created, 2 partitions" in first.out
    assert "topic logs-raw: already exists, 2 partitions" in second.out
    assert len(first.out.splitlines()) == len(second.out.splitlines())


def test_setup_without_kafka_fails(crisp: CommandLine) -> None:
    crisp.kafka.unavailable = True

    assert "cannot create topics at " in crisp("setup").err


def test_setup_rejects_a_topic_for_small_records(crisp: CommandLine) -> None:
    crisp.kafka.create_topic("logs-raw", 2, max_message_bytes="1000")

    result = crisp("setup")

    assert (result.code, "accepts records of 1000 bytes only" in result.err) == (1, True)


def test_setup_reports_how_a_topic_differs(crisp: CommandLine) -> None:
    crisp.set_up()
    crisp.kafka.topics["logs-raw"].config["retention.ms"] = "1000"
    crisp.configure(CRISP_TOPIC_PARTITIONS="4")

    assert "retention.ms" in crisp("setup").out
    crisp.kafka.topics["logs-raw"].config["retention.bytes"] = "1000"
    assert "retention.bytes is 1000, configured is -1" in crisp("setup").out


def test_setup_leaves_a_template_of_another_owner(crisp: CommandLine) -> None:
    crisp.set_up()
    name = min(crisp.elasticsearch.templates)
    del crisp.elasticsearch.templates[name]["template"]["mappings"]["_meta"]
    crisp.elasticsearch.templates[name].pop("_meta", None)

    result = crisp("setup")

    assert (result.code, f"{name} exists and is not owned by crisp" in result.err) == (1, True)


@pytest.mark.parametrize("option", ["--roles", "--kibana-objects"])
def test_setup_prints_objects_without_servers(crisp: CommandLine, option: str) -> None:
    crisp.kafka.unavailable = True

    result = crisp("setup", option)

    assert (result.code, result.out[0]) == (0, "{")


def test_setup_of_kibana_needs_its_address(crisp: CommandLine) -> None:
    result = crisp("setup", "--kibana-only")

    assert (result.code, "CRISP_KIBANA_URL is not set" in result.err) == (1, True)


def test_check_of_servers_succeeds_after_setup(flow: CommandLine) -> None:
    result = flow("check", "--connect")

    assert (result.code, "settings: OK" in result.out) == (0, True)
    assert "document modules: OK, plain Python" in result.out or cri.__file__.endswith(".so")
    assert parsed(flow("check", "--connect", "--json"))["good"] is True


def test_check_of_servers_fails_before_setup(crisp: CommandLine) -> None:
    body = parsed(crisp("check", "--connect", "--json"))

    states = {finding["subject"]: finding["status"] for finding in body["findings"]}
    assert (states["topic logs-raw"], states["topic logs-dead"]) == ("failed", "failed")
    assert body["good"] is False


def check(flow: CommandLine, what: str) -> dict[str, str]:
    """The first finding about something that is not `ok`."""
    findings = parsed(flow("check", "--connect", "--json"))["findings"]
    return next(finding for finding in findings if what in finding["subject"] and finding["status"] != "ok")


def test_check_reports_topics_that_lose_or_reject_records(flow: CommandLine) -> None:
    flow.kafka.topics["logs-raw"].config.update({"cleanup.policy": "compact", "retention.ms": "1000"})
    flow.kafka.topics["logs-dead"].config["max.message.bytes"] = "10"

    assert check(flow, "topic logs-raw")["observed"] == "is compacted: records vanish"
    assert check(flow, "max.message.bytes of logs-dead")["status"] == "failed"


@pytest.mark.parametrize(("actual", "configured"), [("1000", "0"), ("-1", "1000"), ("2000", "1000")])
def test_check_reports_a_retention_by_size_that_differs(flow: CommandLine, actual: str, configured: str) -> None:
    flow.kafka.topics["logs-raw"].config["retention.bytes"] = actual
    flow.configure(CRISP_TOPIC_RETENTION_BYTES=configured)

    finding = check(flow, "retention.bytes of logs-raw")

    assert finding["status"] == "warning"
    assert f"set CRISP_TOPIC_RETENTION_BYTES to {max(int(actual), 0)}" in finding["remedy"]


def test_setup_creates_the_topic_with_the_retention_by_size(crisp: CommandLine) -> None:
    crisp.configure(CRISP_TOPIC_RETENTION_BYTES="1GiB")
    crisp.set_up()

    assert crisp.kafka.topics["logs-raw"].config["retention.bytes"] == str(1 << 30)
    assert "retention.bytes" not in crisp("setup").out


def test_check_reports_missing_operations(flow: CommandLine) -> None:
    flow.kafka.topics["logs-raw"].operations = 1 << 8
    flow.kafka.topics["logs-dead"].operations = -(2**31)

    assert "write (for the shipper)" in check(flow, "operations on logs-raw")["observed"]
    assert check(flow, "operations on logs-dead")["observed"] == "not reported by the broker"


def test_check_reports_fewer_partitions_than_configured(flow: CommandLine) -> None:
    flow.configure(CRISP_TOPIC_PARTITIONS="8")

    assert check(flow, "topic logs-raw")["observed"] == "2 partitions, configured are 8"


def test_check_reports_an_unauthorized_group(flow: CommandLine) -> None:
    flow.kafka.group_error = 30

    assert check(flow, "group")["status"] == "failed"


def test_check_reports_unreachable_servers(flow: CommandLine) -> None:
    flow.kafka.unavailable = True
    flow.elasticsearch.respond_always("GET", "*", OSError("refused"))

    assert "CRISP_KAFKA_BROKERS" in check(flow, "Kafka")["remedy"]
    assert "CRISP_ES_URLS" in check(flow, "Elasticsearch")["remedy"]


@pytest.mark.parametrize(
    ("path", "response", "what", "state"),
    [
        ("/_nodes/_local", Response(401), "Elasticsearch", "failed"),
        ("/_nodes/_local", Response(403), "Elasticsearch", "warning"),
        ("/_nodes/_local", Response(200, {"nodes": {"a": {"version": "7.17.0"}}}), "Elasticsearch", "failed"),
        (
            "/_security/_authenticate",
            Response(400, {"error": "no handler found for uri [/_security]"}),
            "credentials",
            "warning",
        ),
        ("/_security/_authenticate", Response(401), "credentials", "failed"),
        (
            "/_index_template/*",
            Response(500, {"error": {"type": "exception"}, "status": 500}),
            "index template",
            "warning",
        ),
        ("/_cluster/health", Response(200, {"status": "red", "number_of_data_nodes": 1}), "cluster", "failed"),
        ("/_cluster/health", Response(403), "cluster", "warning"),
        ("/_nodes/_local/stats/os", Response(200, {"nodes": {"a": {"timestamp": 0}}}), "clock", "warning"),
        ("/_nodes/_local/stats/os", Response(403), "clock", "warning"),
    ],
)
def test_check_reports_a_problem_of_elasticsearch(
    flow: CommandLine, path: str, response: Response, what: str, state: str
) -> None:
    flow.elasticsearch.respond_always("GET", path, response)

    assert check(flow, what)["status"] == state


def test_check_reports_missing_privileges(flow: CommandLine) -> None:
    flow.elasticsearch.privileged = False

    assert check(flow, "privileges")["status"] == "failed"


def test_check_reports_an_index_of_another_owner(flow: CommandLine) -> None:
    from datetime import UTC, datetime

    flow.elasticsearch.add_index(f"logs-{datetime.now(UTC):%Y.%m.%d}")

    assert "another shipper" in check(flow, "indices")["observed"]


RULES = """rules:
  - name: noise
    when: {message: noise}
    drop: true
tests:
  - name: noise is dropped
    line: noise
    expect: %s
"""


@pytest.mark.parametrize(("expected", "code"), [("{dropped: noise}", 0), ("{message: noise}", 1)])
def test_check_of_rules_runs_their_tests(crisp: CommandLine, tmp_path: Path, expected: str, code: int) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES % expected)

    result = crisp("check", "--rules", str(rules))

    assert result.code == code, result


# --- status


def test_status_reports_the_servers(indexed: CommandLine) -> None:
    indexed.configure(CRISP_STATUS_URLS="http://127.0.0.1:9")

    body = parsed(indexed("status", "--json"))

    assert body["kafka"]["lag_records"] == 1
    assert body["elasticsearch"]["status"] == "green"
    assert body["state"] == "critical"


def test_status_reports_unreachable_servers(crisp: CommandLine) -> None:
    crisp.kafka.unavailable = True
    crisp.elasticsearch.respond_always("GET", "*", OSError("refused"))
    crisp.configure(CRISP_STATUS_URLS="http://127.0.0.1:9")

    result = crisp("status", "--once")

    assert result.code == 1
    assert "Cannot read consumer lag" in result.out
    assert "Unreachable at " in result.out


# --- other commands


def test_runbooks_are_listed_and_printed(crisp: CommandLine) -> None:
    name = crisp("runbook").out.split()[0]

    assert crisp("runbook", name).out.startswith("# ")
    assert crisp("runbook", "no-such-runbook").code == 2


def test_config_lists_changed_settings(crisp: CommandLine) -> None:
    crisp.configure(CRISP_ES_API_KEY="confidential", CRISP_NODE_NAME="node-7")

    result = crisp("config", "--changed")

    assert "node-7" in result.out
    assert "confidential" not in result.out + crisp("config", "--json").out


def test_local_status_without_servers_fails(
    crisp: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))

    assert crisp("local", "status").code == 1
    assert "no local servers were running" in crisp("local", "down").out
