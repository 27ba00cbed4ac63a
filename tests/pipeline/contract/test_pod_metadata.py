"""Metadata of a container is limited, whatever its pod or docker's configuration holds, and flagged if cut."""

from typing import Any

import orjson
import pytest

from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import ENTRIES_MAX_BYTES, MAX_BYTES, Instance
from pipeline.documents import container_fields

APP = Instance("shop", "pay-1", "u-1", "app", 0)
LARGE = {f"label-{number}": "x" * 63 for number in range(15_000)}


def from_api(image: str = "a", owner: str = "pay", **metadata: Any) -> JsonObject:
    """The metadata of a pod, with the annotations `a` and `big`."""
    owners = [{"kind": "StatefulSet", "name": owner, "controller": True}]
    pod = {
        "metadata": {"name": "pay-1", "namespace": "shop", "ownerReferences": owners, **metadata},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }
    encoded = pod_metadata.from_api(APP, "n", pod, frozenset({"a", "big"}))
    assert len(encoded) <= MAX_BYTES
    fields: JsonObject = orjson.loads(encoded)
    return fields


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": LARGE}, id="many_labels"),
        pytest.param({"labels": {"app": "pay", "big": "x" * 1_300_000}}, id="large_label"),
        pytest.param({"labels": {"x" * 1_300_000: "big"}}, id="large_name"),
        pytest.param({"labels": {"app": "pay"}, "annotations": {"a": "1", "big": "x" * 250_000}}, id="annotation"),
        pytest.param({"labels": LARGE, "annotations": {"a": "x" * 9_000, "big": "x" * 9_000}}, id="their_sum"),
        pytest.param({"image": "\x01" * 1_300_000}, id="image"),
        pytest.param({"image": "ä€\U0001f600" * 1000}, id="image_of_wide_characters"),
        pytest.param({"owner": "\x01" * 10**6, "image": "\x01" * 10**6, "labels": LARGE}, id="all"),
    ],
)
def test_larger_metadata_is_cut_and_flagged_also_in_documents(metadata: dict[str, Any]) -> None:
    fields = from_api(**metadata)
    entries = [{key: entry} for name in ("labels", "annotations") for key, entry in fields.get(name, {}).items()]

    assert sum(len(orjson.dumps(entry)) for entry in entries) <= ENTRIES_MAX_BYTES
    assert (fields["truncated"], fields["namespace"], fields["pod"]) == (True, "shop", "pay-1")
    constant = container_fields.parse(orjson.dumps(fields), Settings()).constant
    assert constant["crisp.metadata_truncated"] is True


def test_metadata_within_the_limits_is_whole_and_has_no_flag() -> None:
    labels = {f"label-{number}": "x" * 63 for number in range(180)}
    fields = from_api(labels=labels, annotations={"a": "1"}, image="registry:5000/shop/pay:1.2")

    assert (fields["labels"], fields["annotations"], fields["image"]) == (
        labels,
        {"a": "1"},
        "registry:5000/shop/pay:1.2",
    )
    assert "truncated" not in fields
    assert "crisp.metadata_truncated" not in container_fields.parse(orjson.dumps(fields), Settings()).constant


def test_labels_that_fit_are_kept_next_to_one_that_does_not() -> None:
    assert from_api(labels={"a": "1", "big": "x" * 20_000, "c": "3"})["labels"] == {"a": "1", "c": "3"}


def test_labels_of_docker_are_limited() -> None:
    config = {"Name": "/web", "Config": {"Image": "nginx", "Labels": {"a": "1", "big": "x" * 10**6}}}
    fields = orjson.loads(pod_metadata.from_docker("c0ffee", config, "n"))

    assert (fields["labels"], fields["truncated"]) == ({"a": "1"}, True)
    constant = container_fields.parse(orjson.dumps(fields), Settings()).constant
    assert constant["crisp.metadata_truncated"] is True
