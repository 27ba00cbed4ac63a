"""What answers to bulk requests mean: real ones of both versions, and what is no answer."""

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
def test_a_real_refusal_is_about_the_document_or_about_the_place(answer: dict[str, Any]) -> None:
    item = bulk_response.classify(answer["status"], answer["type"], answer["reason"])

    assert item.outcome is (Outcome.REJECTED if answer["of_document"] else Outcome.RETRY)
    assert answer["type"] in item.reason


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, Outcome.CREATED),
        (201, Outcome.CREATED),
        (409, Outcome.EXISTS),
        *((status, Outcome.RETRY) for status in (401, 403, 404, 405, 408, 413, 429, 500, 502, 503, 504)),
    ],
)
def test_a_status_alone(status: int, outcome: Outcome) -> None:
    assert bulk_response.classify(status, "some_exception", "some reason").outcome is outcome


@pytest.mark.parametrize("reason", ["index closed", "", "pipeline with id [mapper] does not exist", "no write index"])
def test_a_400_that_names_no_fault_of_a_document_is_about_the_place(reason: str) -> None:
    assert bulk_response.classify(400, "illegal_argument_exception", reason).outcome is Outcome.RETRY


@given(st.integers(100, 599), st.text(max_size=30), st.text(max_size=30))
def test_only_a_400_ever_refuses_a_document(status: int, kind: str, reason: str) -> None:
    assert status == 400 or bulk_response.classify(status, kind, reason).outcome is not Outcome.REJECTED


def created(count: int) -> bytes:
    """Elasticsearch's answer when each document was created."""
    items = ",".join('{"create":{"status":201}}' for _ in range(count))
    return b'{"errors":false,"items":[%b]}' % items.encode()


@given(st.integers(0, 50), st.integers(0, 50))
def test_a_whole_answer_counts_what_was_sent(said: int, sent: int) -> None:
    answer = bulk_response.parse_all_created(created(said))

    items = bulk_response.parse_response(answer, sent)
    assert items == ([CREATED] * sent if said == sent else None)


@given(st.integers(1, 5), st.data())
def test_a_cut_answer_is_no_answer(count: int, data: st.DataObject) -> None:
    whole = created(count)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]

    read: Any = bulk_response.parse_all_created(cut)
    if read is None:
        try:
            read = json.loads(cut)
        except ValueError:
            return
    assert bulk_response.parse_response(read, count) is None


@pytest.mark.parametrize(
    "answer",
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
        {"items": []},
        {"items": [{"create": {"status": 201}}] * 2},
        AllCreated(2),
    ],
)
def test_a_malformed_or_miscounted_answer_is_no_answer(answer: Any) -> None:
    assert bulk_response.parse_response(answer, 1) is None
