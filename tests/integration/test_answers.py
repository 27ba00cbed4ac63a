"""Real refusals of the running Elasticsearch, each understood as what it is.

With RECORD=1 they are written into the cases of `tests/pipeline/elasticsearch/test_bulk_response.py`.
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
    """The item that says what became of the document."""
    index = f"{flow.prefix}-p{number}"
    if provocation.index_exists:
        for name in (index, f"{index}-b"):
            flow.request(name, {"mappings": provocation.mappings, "settings": provocation.settings}, "PUT")
    if provocation.change:
        method, path, body = _fill_in(provocation.change, index)
        flow.request(path, body, method)
    action = json.dumps({"create": {"_index": provocation.target.format(index=index), "_id": "x"}}).encode()
    answer = flow.bulk(action + b"\n" + provocation.source + b"\n")
    item: Json = answer["items"][0]["create"]
    error = item.get("error", {})
    return {"status": item["status"], "type": error.get("type", ""), "reason": error.get("reason", "")}


@pytest.fixture
def as_before(flow: Flow) -> Any:
    """Cluster settings are taken back."""
    yield
    names = ("cluster.max_shards_per_node", "action.auto_create_index")
    flow.request("_cluster/settings", {"persistent": dict.fromkeys(names)}, "PUT")


def test_every_refusal_is_understood(flow: Flow, as_before: None) -> None:
    answers = {}
    for number, wanted in enumerate([*DOCUMENT_ERRORS, *INDEX_ERRORS]):
        answers[wanted.name] = {**_provoke(flow, wanted, number), "of_document": wanted in DOCUMENT_ERRORS}
        names = ("cluster.max_shards_per_node", "action.auto_create_index")
        flow.request("_cluster/settings", {"persistent": dict.fromkeys(names)}, "PUT")
    if os.environ.get("RECORD"):
        RECORDED.mkdir(exist_ok=True)
        text = json.dumps(answers, indent=1).replace(flow.prefix, "logs")
        (RECORDED / f"{flow.stack.address.es_version}.json").write_text(text + "\n")

    taken = {
        name: bulk_response.classify(answer["status"], answer["type"], answer["reason"]).outcome
        for name, answer in answers.items()
    }
    expected = {name: Outcome.REJECTED if answer["of_document"] else Outcome.RETRY for name, answer in answers.items()}
    wrong = {name: answers[name] for name, outcome in taken.items() if outcome is not expected[name]}
    assert wrong == {}
