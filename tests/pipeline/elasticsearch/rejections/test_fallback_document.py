"""Fallback documents keep the pipeline's fields and move the application's own."""

import json
from typing import Any

import orjson

from pipeline.elasticsearch.rejections.fallback_document import fallback_document

REASON = "400 document_parsing_exception: failed to parse field [n]"
PIPELINE = {"@timestamp": "2026-11-24T10:00:00Z", "message": "m", "kubernetes.pod.name": "p"}


def fallback(fields: dict[str, Any], *, indexed: bool) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(fallback_document(orjson.dumps(fields), REASON, indexed=indexed))
    return result


def test_first_form_moves_fields_without_a_mapping_to_a_flattened_field() -> None:
    nested = {"n": 1, "deep": {"a": [1]}, "list": [1, None, {"b": 2}]}

    result = fallback({**PIPELINE, "http.response.status_code": 200, **nested}, indexed=True)

    assert result["crisp.flattened"] == {"n": 1, "deep": '{"a":[1]}', "list": [1, '{"b":2}']}
    assert result["http.response.status_code"] == 200
    assert PIPELINE.items() <= result.items()


def test_second_form_moves_every_field_of_the_application_to_text() -> None:
    result = fallback({**PIPELINE, "http.response.status_code": 200, "n": 1}, indexed=False)

    assert json.loads(result["crisp.raw_json"]) == {"http.response.status_code": 200, "n": 1}
    assert PIPELINE.items() <= result.items()


def test_reason_and_flag_are_added() -> None:
    result = fallback({**PIPELINE, "log.flags": ["multiline"]}, indexed=True)

    assert (result["crisp.rejected.type"], result["crisp.rejected.reason"]) == ("document_parsing_exception", REASON)
    assert result["log.flags"] == ["multiline", "safe_form"]
    assert "crisp.flattened" not in result


def test_invalid_flags_are_replaced() -> None:
    assert fallback({"log.flags": "odd"}, indexed=False)["log.flags"] == ["safe_form"]
