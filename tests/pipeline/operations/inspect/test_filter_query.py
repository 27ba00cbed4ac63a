"""Filter terms of a command line, and the query built from them."""

from typing import Any

import pytest

from pipeline.errors import UsageError
from pipeline.operations.inspect.filter_query import build_query


@pytest.mark.parametrize(
    ("term", "clause"),
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
def test_term_becomes_a_clause(term: str, clause: dict[str, Any]) -> None:
    assert build_query([term]) == {"bool": {"filter": [clause], "must_not": []}}


def test_all_terms_must_match_and_negated_ones_must_not() -> None:
    query = build_query(["ns=shop", "pod!=web-1"])["bool"]

    assert query["filter"] == [{"term": {"kubernetes.namespace": "shop"}}]
    assert query["must_not"] == [{"term": {"kubernetes.pod.name": "web-1"}}]


@pytest.mark.parametrize(("term", "message"), [("level>=loud", "loud"), ("app=", "app=")])
def test_invalid_term_is_reported(term: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build_query([term])
