"""What documents repeat of the metadata is bounded, whatever a tenant or another shipper writes into it."""

from typing import Any

import orjson
import pytest

from pipeline.config.environment import load_settings
from pipeline.contract.record import KafkaPosition
from pipeline.documents import metadata_limit
from pipeline.documents.record_processor import RecordProcessor

ORIGIN = KafkaPosition("logs-raw", 0, 7, 1_795_000_000_000)
FIELDS = {"namespace_name": "shop", "pod_name": "pay-1", "container_name": "pay"}


def index(kubernetes: dict[str, Any]) -> dict[str, Any]:
    """The document of a record of another shipper."""
    value = orjson.dumps({"log": "x", "kubernetes": kubernetes})
    batch, _ = RecordProcessor(load_settings({})).process(value, [], ORIGIN, 1)
    source: dict[str, Any] = batch.to_hits()[0]["_source"]
    return source


def test_metadata_within_the_limits_is_whole() -> None:
    labels = {f"label-{number}": "x" * 63 for number in range(80)}
    document = index({**FIELDS, "labels": labels, "annotations": {"team": "a"}})

    assert document["kubernetes.labels"] == labels
    assert document["kubernetes.annotations"] == {"team": "a"}
    assert "crisp.metadata_truncated" not in document


@pytest.mark.parametrize(
    "kubernetes",
    [
        pytest.param({"labels": {f"label-{number}": "x" * 63 for number in range(5000)}}, id="many_labels"),
        pytest.param({"labels": {"a": "1", "big": "x" * 10**6}}, id="large_label"),
        pytest.param({"labels": {"x" * 10**6: "1"}}, id="large_name"),
        pytest.param({"labels": {"app": "x" * 10**6}}, id="large_service"),
        pytest.param({"annotations": {str(number): [["x" * 100]] for number in range(5000)}}, id="annotations"),
        pytest.param({"pod_name": "x" * 10**6}, id="pod"),
        pytest.param({"container_image": "x" * 10**6 + ":" + "y" * 10**6 + "@" + "z" * 10**6}, id="image"),
        pytest.param({"host": "\u0001" * 10**6}, id="node"),
    ],
)
def test_larger_metadata_is_cut_and_flagged(kubernetes: dict[str, Any]) -> None:
    document = index({**FIELDS, **kubernetes})

    assert len(orjson.dumps(document)) < 32 * 1024
    assert document["crisp.metadata_truncated"] is True
    assert document["kubernetes.namespace"] == "shop"


def test_entries_that_fit_are_kept() -> None:
    limited = metadata_limit.limit({"kubernetes.labels": {"a": "1", "b": "x" * 10**5, "c": "3"}})

    assert limited == {"kubernetes.labels": {"a": "1", "c": "3"}, "crisp.metadata_truncated": True}
