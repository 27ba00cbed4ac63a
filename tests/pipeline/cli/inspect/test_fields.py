"""`crisp fields`: the table and its notes; what cannot be read is an error."""

import json

import pytest

from pipeline.operations.inspect import field_ledger
from tests.support.command_line import CommandLine
from tests.support.fake_elasticsearch import Response

FIELDS = {
    "indices": ["logs-2026.11.24"],
    "fields": {"code": {"long": {"type": "long"}}, "same": {"keyword": {"type": "keyword"}}},
}


@pytest.fixture
def logged(flow: CommandLine) -> CommandLine:
    """A topic with two fields; Elasticsearch reports their types."""
    flow.add_slice('{"code":200,"same":"a"}', '{"code":"ok","same":"b"}')
    flow.elasticsearch.respond_always("GET", "/logs-*/_field_caps", Response(200, FIELDS))
    return flow


def test_field_with_a_problem_is_listed_with_its_workload(logged: CommandLine) -> None:
    result = logged("fields")

    assert result.code == 0, result.err
    assert "2 fields of 1 workloads in 2 documents: 1 with a problem" in result.out
    (row,) = [line for line in result.out.splitlines() if line.startswith("code")]
    assert "1 long, 1 text" in row
    assert "text in a field of type long" in row


def test_all_fields_are_listed_on_request(logged: CommandLine) -> None:
    assert "same" not in logged("fields").out
    assert any(line.startswith("same") for line in logged("fields", "--all").out.splitlines())


def test_json_has_every_field(logged: CommandLine) -> None:
    output = json.loads(logged("fields", "--json").out)

    assert {row["field"] for row in output["fields"]} == {"code", "same"}
    assert (output["documents"], output["interrupted"]) == (2, False)


def test_fields_beyond_the_limit_are_counted(logged: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_ledger, "MAX_ROWS", 1)

    assert "2 values of further fields are not listed" in logged("fields").out


def test_missing_kafka_is_an_error(logged: CommandLine) -> None:
    logged.kafka.unavailable = True
    result = logged("fields")

    assert (result.code, "cannot read Kafka" in result.err) == (1, True)


def test_end_before_start_is_wrong_usage(logged: CommandLine) -> None:
    assert logged("fields", "--since", "1h", "--until", "2h").code == 2
