"""Trimmed pods, the switch of the watch, and the shipper's imports."""

import subprocess
import sys

import orjson
import pytest

from agents.kubernetes import pod_api, pod_watch
from pipeline.config.settings import Settings
from pipeline.contract import pod_metadata
from pipeline.contract.json_types import JsonObject
from pipeline.contract.pod_metadata import Instance
from pipeline.errors import SettingsError

POD: JsonObject = {
    "metadata": {
        "name": "pay-1",
        "namespace": "shop",
        "uid": "u-1",
        "labels": {"app": "pay"},
        "annotations": {"logs.crisp/exclude": "true", "secret": "x"},
        "managedFields": [{"much": "more"}],
    },
    "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "a:1", "env": [{"name": "PASSWORD"}]}]},
    "status": {
        "containerStatuses": [
            {
                "name": "app",
                "restartCount": 2,
                "containerID": "containerd://new",
                "lastState": {"terminated": {"containerID": "containerd://old"}},
            }
        ]
    },
}


def test_trimmed_pod_has_only_required_parts() -> None:
    pod = pod_watch.trim(POD, lambda name: name.startswith("logs.crisp/"))

    assert pod["metadata"]["annotations"] == {"logs.crisp/exclude": "true"}
    assert "PASSWORD" not in str(pod)
    assert "managedFields" not in str(pod)


def test_pod_of_any_size_is_kept_in_little_memory() -> None:
    entries: JsonObject = {f"logs.crisp/{number:04d}": "x" * 200 for number in range(5000)}
    names = [{"name": f"container-{number}", "image": "i" * 300, "state": {}} for number in range(3000)]
    pod = {
        "metadata": {
            **POD["metadata"],
            "labels": {"app": "pay", **entries},
            "annotations": {"logs.crisp/exclude": "true", "logs.crisp/00": "y" * 1_000_000, **entries},
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"pay-{number}"} for number in range(5000)],
        },
        "spec": {"containers": [{"name": "app", "image": "a:1"}, *names]},
        "status": {"containerStatuses": [{"name": "app", "containerID": "containerd://1"}, *names]},
    }
    trimmed = pod_watch.trim(pod, lambda _: True)
    metadata = orjson.loads(pod_metadata.from_api(Instance("shop", "pay-1", "u-1", "app", 0), "n", trimmed))

    assert len(orjson.dumps(trimmed)) < 300_000
    assert trimmed["metadata"]["annotations"]["logs.crisp/exclude"] == "true"
    assert (metadata["image"], metadata["container_id"], metadata["truncated"]) == ("a:1", "containerd://1", True)
    assert metadata["labels"]["app"] == "pay"


def test_pod_of_the_usual_size_is_not_cut() -> None:
    labels: JsonObject = {f"example.com/{number}": "x" * 63 for number in range(100)}
    pod = pod_watch.trim({**POD, "metadata": {**POD["metadata"], "labels": labels}}, lambda _: True)

    assert pod["metadata"]["labels"] == labels


@pytest.mark.parametrize(("restart", "container"), [(2, "containerd://new"), (1, "containerd://old"), (0, None)])
def test_instance_has_its_own_container_id(restart: int, container: str | None) -> None:

    pod = pod_watch.trim(POD, lambda _: False)
    metadata = orjson.loads(pod_metadata.from_api(Instance("shop", "pay-1", "u-1", "app", restart), "n", pod))

    assert metadata.get("container_id") == container


def test_watch_without_configured_api_is_rejected() -> None:
    with pytest.raises(SettingsError, match="CRISP_KUBERNETES: on"):
        pod_api.is_enabled(Settings(kubernetes="on"), lambda _: None)
    assert not pod_api.is_enabled(Settings(), lambda _: None)
    assert pod_api.is_enabled(Settings(), lambda _: "10.0.0.1")


def test_shipper_imports_no_kubernetes_models_and_nothing_of_the_worker() -> None:
    code = (
        "import sys, agents.cli, kubernetes.config\n"
        "from kubernetes.client.api_client import ApiClient\n"
        "print([m for m in sys.modules if m.startswith(('kubernetes.client.models.', 'kubernetes.client.api.',"
        " 'faust', 'elasticsearch', 'elastic_transport', 'aiohttp'))])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output == "[]\n"
