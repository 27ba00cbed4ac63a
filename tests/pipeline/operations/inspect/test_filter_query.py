"""Words on a command line, and the query that they mean."""

from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.operations.inspect.filter_query import build_query


@pytest.mark.parametrize(
    ("word", "clause"),
    [
        ("app=payments", {"term": {"service.name": "payments"}}),
        ("pod=web-*", {"wildcard": {"kubernetes.pod.name": {"value": "web-*"}}}),
        ("level>=error", {"terms": {"log.level": ["error", "critical", "fatal"]}}),
        ("level<info", {"terms": {"log.level": ["trace", "debug"]}}),
        ("level=WARNING", {"terms": {"log.level": ["warn"]}}),
        ("http.response.status_code>=500", {"range": {"http.response.status_code": {"gte": "500"}}}),
        ("kubernetes.labels.app.kubernetes.io/name=x", {"term": {"kubernetes.labels.app.kubernetes.io/name": "x"}}),
        ("message=a b", {"match_phrase": {"message": "a b"}}),
        ("timeout", {"match_phrase": {"message": "timeout"}}),
        ("a = b", {"match_phrase": {"message": "a = b"}}),
    ],
)
def test_a_word_means_a_clause(word: str, clause: dict[str, Any]) -> None:
    assert build_query([word]) == {"bool": {"filter": [clause], "must_not": []}}


def test_all_must_hold_and_what_is_unwanted_must_not() -> None:
    found = build_query(["ns=shop", "pod!=web-1"])["bool"]

    assert found["filter"] == [{"term": {"kubernetes.namespace": "shop"}}]
    assert found["must_not"] == [{"term": {"kubernetes.pod.name": "web-1"}}]


@pytest.mark.parametrize(("word", "named"), [("level>=loud", "loud"), ("app=", "app=")])
def test_a_word_that_cannot_be_meant_is_named(word: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        build_query([word])
