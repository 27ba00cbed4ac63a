"""A server that is not Elasticsearch answers: each command ends with an error of one line, never with success."""

import itertools
from typing import Any

import orjson
import pytest

from tests.support.command_line import CommandLine
from tests.support.fake_elasticsearch import Response

COMMANDS = [
    "setup",
    "check --connect",
    "audit --from kafka",
    "replay --since 24h",
    "dead-letters retry",
    "tail --no-follow",
    "trace AAAAAAAAAAAAAAAA-0000000000",
    "fields --since 24h",
    "status --once",
]

_HIT: dict[str, Any] = {"_index": "logs-2026.11.24", "_id": "a"}

BODIES: list[Any] = [
    {},
    [],
    None,
    "ok",
    1,
    {"status": "ok"},
    {"error": "not found"},
    {"hits": []},
    {"hits": {"hits": {"a": 1}}},
    {"hits": {"hits": ["a", None]}, "timed_out": False},
    {"hits": {"hits": [_HIT]}, "timed_out": False},
    {"hits": {"hits": [{**_HIT, "_source": "text"}]}, "timed_out": False},
    {"hits": {"hits": [{**_HIT, "_id": ["a"]}]}, "timed_out": False, "aggregations": {"rules": {"buckets": [1]}}},
    {"hits": {"hits": []}, "aggregations": {"rules": {"buckets": [{"key": 1, "doc_count": "1"}]}}},
    {"nodes": {"a": {"version": "new", "timestamp": "now"}}, "index_templates": [1], "acknowledged": 1},
    {"nodes": [1], "index_templates": [], "status": 1, "crisp-logs": 1, "username": {}},
    {"nodes": {"a": 1}, "index_templates": [{"name": "a"}], "crisp-logs": {"policy": {"phases": [1]}}, "cluster": 1},
    {"index_templates": [{"name": "a", "index_template": {"_meta": {"owner": "crisp"}, "template": 1}}]},
    {"template": 1, "fields": {"a": 1}, "cluster": {"a": 1}, "index": {"a": 1}},
]
ANSWERS = [
    *(Response(200, orjson.dumps(body)) for body in BODIES),
    Response(200, b"<html>login</html>", "text/html"),
    Response(200, b"\xff{"),
    *(Response(status, b"<html>no</html>", "text/html") for status in (302, 400, 401, 403, 404, 405, 500)),
    *(Response(status, orjson.dumps({"message": "no"})) for status in (400, 403, 404, 405)),
]


def describe(answer: Response) -> str:
    return f"{answer.status} {answer.body.decode(errors='replace')[:60]}"


@pytest.fixture
def prepared(flow: CommandLine, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """A record and a dead letter, and an Elasticsearch that is asked only once."""
    monkeypatch.setattr("pipeline.elasticsearch.id_lookup.FIRST_PAUSE_SECONDS", 0.0)
    flow.add_slice("one", "two")
    flow.commit()
    settings = flow.settings
    headers = [("dead-reason", b"400 a: b"), ("dead-index", b"logs-2026.11.24"), ("dead-id", b"a-0000000000")]
    flow.kafka.append(settings.topic_dead, b"{}", headers)
    return flow


@pytest.mark.parametrize("command", COMMANDS)
def test_command_ends_with_an_error(prepared: CommandLine, command: str) -> None:
    wrong = []
    for answer in ANSWERS:
        prepared.elasticsearch._scripts.clear()
        for method, path in itertools.product(("GET", "POST", "PUT"), ("/*", "//*")):
            prepared.elasticsearch.respond_always(method, path, answer)
        try:
            result = prepared(*command.split())
        except (TypeError, ValueError, LookupError, AttributeError) as error:  # what would be a traceback
            wrong.append((describe(answer), repr(error)))
            continue
        if result.code not in (1, 2) or "Traceback" in result.err:
            wrong.append((describe(answer), f"exit code {result.code}: {result.out[-300:]} {result.err[-300:]}"))

    assert wrong == []
