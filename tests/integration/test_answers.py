"""Real rejections by Elasticsearch, and their classification.

With RECORD=1 they are written to the cases of `tests/pipeline/elasticsearch/test_bulk_response.py`.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.elasticsearch import bulk_response
from pipeline.elasticsearch.bulk_response import Outcome
from tests.integration.flow import Flow
from tests.integration.provocations import DOCUMENT_ERRORS, INDEX_ERRORS, Json, Provocation

RECORDED = Path(__file__).parent.parent / "pipeline" / "elasticsearch" / "answers"


def _fill_in(value: Any, index: str) -> Any:
    return json.loads(json.dumps(value).replace("{index}", index))


def _provoke(flow: Flow, provocation: Provocation, number: int) -> Json:
    """Provoke a rejection; returns the status, error type and reason of the bulk item."""
    index = f"{flow.prefix}-p{number}"
    if provocation.index_exists:
        for name in (index, f"{index}-b"):
            flow.request(name, {"mappings": provocation.mappings, "settings": provocation.settings}, "PUT")
    if provocation.change:
        method, path, body = _fill_in(provocation.change, index)
        flow.request(path, body, method)
    action = json.dumps({"create": {"_index": provocation.target.format(index=index), "_id": "x"}}).encode()
    response = flow.bulk(action + b"\n" + provocation.source + b"\n")
    item: Json = response["items"][0]["create"]
    error = item.get("error", {})
    return {"status": item["status"], "type": error.get("type", ""), "reason": error.get("reason", "")}


@pytest.fixture
def reset_settings(flow: Flow) -> Any:
    """Reset the cluster settings at the end."""
    yield
    names = ("cluster.max_shards_per_node", "action.auto_create_index")
    flow.request("_cluster/settings", {"persistent": dict.fromkeys(names)}, "PUT")


def test_every_rejection_is_classified(flow: Flow, reset_settings: None) -> None:
    rejections = {}
    for number, provocation in enumerate([*DOCUMENT_ERRORS, *INDEX_ERRORS]):
        rejections[provocation.name] = {
            **_provoke(flow, provocation, number),
            "of_document": provocation in DOCUMENT_ERRORS,
        }
        names = ("cluster.max_shards_per_node", "action.auto_create_index")
        flow.request("_cluster/settings", {"persistent": dict.fromkeys(names)}, "PUT")
    if os.environ.get("RECORD"):
        RECORDED.mkdir(exist_ok=True)
        text = json.dumps(rejections, indent=1).replace(flow.prefix, "logs")
        (RECORDED / f"{flow.stack.address.es_version}.json").write_text(text + "\n")

    outcomes = {
        name: bulk_response.classify(rejection["status"], rejection["type"], rejection["reason"]).outcome
        for name, rejection in rejections.items()
    }
    expected = {
        name: Outcome.REJECTED if rejection["of_document"] else Outcome.RETRY for name, rejection in rejections.items()
    }
    wrong = {name: rejections[name] for name, outcome in outcomes.items() if outcome is not expected[name]}
    assert wrong == {}
