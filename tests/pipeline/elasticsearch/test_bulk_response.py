"""Classified bulk responses: real ones of both versions, and invalid ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_response import CREATED, AllCreated, Outcome

ANSWERS = [
    pytest.param(answer, id=f"{path.stem} {name}")
    for path in sorted((Path(__file__).parent / "answers").glob("*.json"))
    for name, answer in json.loads(path.read_text()).items()
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_real_error_is_about_the_document_or_about_the_index(answer: dict[str, Any]) -> None:
    item = bulk_response.classify(answer["status"], answer["type"], answer["reason"])

    assert item.outcome is (Outcome.REJECTED if answer["of_document"] else Outcome.RETRY)
    assert answer["type"] in item.reason


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.CREATED),
        (201, Outcome.CREATED),
        *((status, Outcome.RETRY) for status in (401, 403, 404, 405, 408, 409, 413, 429, 500, 502, 503, 504)),
    ],
)
def test_status_alone_decides_the_outcome(status: int, outcome: Outcome) -> None:
    assert bulk_response.classify(status, "some_exception", "some reason").outcome is outcome


def test_document_exists_only_if_elasticsearch_names_the_conflict() -> None:
    conflict = {"type": "version_conflict_engine_exception", "reason": None}
    response = {"items": [{"create": {"status": 409, "error": conflict}}]}

    assert bulk_response.parse_response(response, 1) == [bulk_response.EXISTS]


@pytest.mark.parametrize("reason", ["index closed", "", "pipeline with id [mapper] does not exist", "no write index"])
def test_status_400_without_a_document_error_is_retried(reason: str) -> None:
    assert bulk_response.classify(400, "illegal_argument_exception", reason).outcome is Outcome.RETRY


@given(st.integers(100, 599), st.text(max_size=30), st.text(max_size=30))
def test_only_status_400_rejects_a_document(status: int, error_type: str, reason: str) -> None:
    assert status == 400 or bulk_response.classify(status, error_type, reason).outcome is not Outcome.REJECTED


def created(count: int) -> bytes:
    """Return Elasticsearch's response when each document was created."""
    items = ",".join('{"create":{"status":201}}' for _ in range(count))
    return b'{"errors":false,"items":[%b]}' % items.encode()


@given(st.integers(0, 50), st.integers(0, 50))
def test_complete_response_has_as_many_items_as_were_sent(returned: int, sent: int) -> None:
    response = bulk_response.parse_all_created(created(returned))

    results = bulk_response.parse_response(response, sent)
    assert results == ([CREATED] * sent if returned == sent else None)


@given(st.integers(1, 5), st.data())
def test_truncated_response_is_invalid(count: int, data: st.DataObject) -> None:
    complete = created(count)
    truncated = complete[: data.draw(st.integers(0, len(complete) - 1))]

    response: Any = bulk_response.parse_all_created(truncated)
    if response is None:
        try:
            response = json.loads(truncated)
        except ValueError:
            return
    assert bulk_response.parse_response(response, count) is None


@pytest.mark.parametrize(
    "response",
    [
        None,
        "page",
        [],
        {},
        {"items": "many"},
        {"items": [1]},
        {"items": [{}]},
        {"items": [{"create": 1}]},
        {"items": [{"create": {"status": "201"}}]},
        {"items": [{"index": {"status": 201}}]},
        {"items": [{"create": {"status": True}}]},
        {"items": [{"create": {"status": 302}}]},
        {"items": [{"create": {"status": 400}}]},
        {"items": [{"create": {"status": 409, "error": "version_conflict_engine_exception"}}]},
        {"items": [{"create": {"status": 400, "error": "a text"}}]},
        {"items": [{"create": {"status": 400, "error": ["a", "list"]}}]},
        {"items": [{"create": {"status": 400, "error": {}}}]},
        {"items": [{"create": {"status": 400, "error": {"type": ["a"], "reason": "a"}}}]},
        {"items": [{"create": {"status": 400, "error": {"type": "a", "reason": {"a": 1}}}}]},
        {"items": [{"create": {"status": 201, "error": {"type": "a", "reason": "b"}}}]},
        {"items": []},
        {"items": [{"create": {"status": 201}}] * 2},
        AllCreated(2),
    ],
)
def test_malformed_or_miscounted_response_is_invalid(response: Any) -> None:
    assert bulk_response.parse_response(response, 1) is None
