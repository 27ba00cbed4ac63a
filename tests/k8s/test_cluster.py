"""The manifests on a real control plane with real controllers: where pods land, what holds a drain, who may do what."""

import json
import os
import re
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from pipeline.contract.pod_metadata import Instance
from tests.deploy import ansible
from tests.deploy.manifests import DEPLOY, needs_kubectl, overlay
from tests.integration.flow import eventually
from tests.k8s.apiserver import running
from tests.k8s.controlplane import ControlPlane

pytestmark = [needs_kubectl, pytest.mark.k8s, pytest.mark.timeout(1800)]

NODES: dict[str, tuple[dict[str, str], ...]] = {
    "control-plane": ({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"},),
    "logging": ({"key": "domain", "value": "observability", "effect": "NoSchedule"},),
    "draining-soon": ({"key": "example.invalid/maintenance", "effect": "NoExecute"},),
    "plain-1": (),
    "plain-2": (),
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with running(ControlPlane) as made:
        for name, taints in NODES.items():
            made.add_node(name, *taints, labels={"workload": "logging"} if name == "logging" else None)
        yield made


@pytest.fixture(scope="module")
def deployed(plane: ControlPlane) -> ControlPlane:
    """With the overlay that needs no operator applied for good."""
    plane.apply(overlay("bring-your-own"))
    eventually(lambda: len(plane.pods("crisp-shipper")) == len(NODES), 60)
    eventually(lambda: len(plane.pods("crisp-worker")) == 2, 60)
    return plane


def test_shipper_is_scheduled_once_on_every_node(deployed: ControlPlane) -> None:
    pods = deployed.pods("crisp-shipper")

    assert sorted(pod["spec"]["nodeName"] for pod in pods) == sorted(NODES)
    assert {pod["spec"]["priority"] for pod in pods} == {2000001000}


def test_new_node_gets_a_shipper(deployed: ControlPlane) -> None:
    deployed.add_node("late", {"key": "example.invalid/new", "effect": "NoSchedule"})

    eventually(lambda: "late" in [pod["spec"]["nodeName"] for pod in deployed.pods("crisp-shipper")], 30)
    deployed.remove_node("late")


def test_workers_are_spread_over_untainted_nodes(deployed: ControlPlane) -> None:
    assert sorted(pod["spec"]["nodeName"] for pod in deployed.pods("crisp-worker")) == ["plain-1", "plain-2"]


def test_disruption_budget_delays_a_drain(deployed: ControlPlane) -> None:
    deployed.kubectl("cordon", "plain-1", "plain-2")
    one, other = deployed.pods("crisp-worker")
    assert evict(deployed, one) == 201

    # Its successor has no node to go to: while it is not ready, the other one stays.
    assert evict(deployed, other) == 429

    deployed.kubectl("uncordon", "plain-1", "plain-2")
    eventually(lambda: len(deployed.pods("crisp-worker")) == 2, 60)
    eventually(lambda: evict(deployed, other) == 201, 30)
    eventually(lambda: len(deployed.pods("crisp-worker")) == 2, 60)


def evict(plane: ControlPlane, pod: dict[str, Any]) -> int:
    """Ask for an eviction as `kubectl drain` does; the answer's code."""
    about = {"name": pod["metadata"]["name"], "namespace": "logging"}
    path = f"/api/v1/namespaces/logging/pods/{about['name']}/eviction"
    try:
        plane.ask("POST", path, {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": about})
    except urllib.error.HTTPError as refused:
        return refused.code
    return 201


def test_rolling_update_starts_the_new_shipper_of_a_node_beside_the_old_one(deployed: ControlPlane) -> None:
    """Every state that the API showed while they were replaced."""
    before = deployed.ask("GET", "/api/v1/pods?limit=1")["metadata"]["resourceVersion"]
    deployed.kubectl(
        "-n", "logging", "set", "image", "daemonset/crisp-shipper", "shipper=example.invalid/crisp-shipper:0.1.1"
    )
    deployed.kubectl("-n", "logging", "rollout", "status", "daemonset/crisp-shipper", "--timeout=90s")

    query = f"watch=true&resourceVersion={before}&timeoutSeconds=2&labelSelector=app.kubernetes.io/name=crisp-shipper"
    shown = deployed.kubectl("get", "--raw", f"/api/v1/namespaces/logging/pods?{query}").stdout
    running: dict[str, set[str]] = {}
    most: dict[str, int] = {}
    for event in map(json.loads, shown.splitlines()):
        pod = event["object"]
        of_node = running.setdefault(pod["spec"].get("nodeName", ""), set())
        if event["type"] == "DELETED" or pod["status"].get("phase") != "Running":
            of_node.discard(pod["metadata"]["uid"])
        else:
            of_node.add(pod["metadata"]["uid"])
        assert len(of_node) <= 2
        most[pod["spec"].get("nodeName", "")] = max(len(of_node), most.get(pod["spec"].get("nodeName", ""), 0))
    assert sum(count == 2 for count in most.values()) >= len(NODES)


def may(plane: ControlPlane, account: str, verb: str, resource: str, namespace: str = "logging") -> bool:
    """What the server's own authorizer says; an empty namespace means all."""
    kind, _, part = resource.partition("/")
    about = {"verb": verb, "resource": kind, "subresource": part, "namespace": namespace}
    spec = {"user": f"system:serviceaccount:logging:{account}", "groups": ["system:serviceaccounts"]}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview"}
    body = {**review, "spec": {**spec, "resourceAttributes": about}}
    answer = plane.ask("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_shipper_may_read_pods(deployed: ControlPlane, verb: str) -> None:
    assert may(deployed, "crisp-shipper", verb, "pods", namespace="")


@pytest.mark.parametrize("account", ["crisp-shipper", "crisp-worker", "crisp-setup"])
@pytest.mark.parametrize(
    ("verb", "resource"),
    [
        *(
            ("get", resource)
            for resource in ("secrets", "configmaps", "nodes", "nodes/proxy", "pods/log", "namespaces")
        ),
        *((verb, "pods") for verb in ("create", "update", "patch", "delete")),
        *(("create", resource) for resource in ("pods/exec", "pods/eviction", "serviceaccounts/token")),
    ],
)
def test_service_accounts_have_no_other_rights(deployed: ControlPlane, account: str, verb: str, resource: str) -> None:
    assert not may(deployed, account, verb, resource)


def test_worker_and_setup_may_not_read_pods(deployed: ControlPlane) -> None:
    assert not may(deployed, "crisp-worker", "list", "pods")
    assert not may(deployed, "crisp-setup", "list", "pods")


def test_playbook_that_is_repeated_changes_nothing(plane: ControlPlane) -> None:
    plane.add_node("k8s-logging", {"key": "example.invalid/kept", "effect": "NoSchedule"})
    play = [str(ansible.program("ansible-playbook")), str(DEPLOY / "ansible" / "logging-node.yml")]
    inventory = plane.directory / "inventory"
    inventory.write_text(f"[control_plane]\nlocalhost ansible_python_interpreter={sys.executable}\n")
    host = ["-i", str(inventory), "-c", "local", "-e", f"logging_node_kubeconfig={plane.kubeconfig()}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(plane.directory / "ansible")}

    said = [subprocess.run([*play, *host], env=environment, capture_output=True, text=True).stdout for _ in range(2)]

    assert re.search(r"changed=2 .*failed=0", said[0]), said[0]
    assert re.search(r"changed=0 .*failed=0", said[1]), said[1]
    node = plane.ask("GET", "/api/v1/nodes/k8s-logging")
    assert node["metadata"]["labels"]["workload"] == "logging"
    taints = [(row["key"], row.get("value"), row["effect"]) for row in node["spec"]["taints"]]
    assert ("domain", "observability", "NoSchedule") in taints
    assert ("example.invalid/kept", None, "NoSchedule") in taints
    plane.remove_node("k8s-logging")


def test_shipper_reads_the_pods_of_its_node_with_its_own_token(deployed: ControlPlane, tmp_path: Path) -> None:
    token = deployed.kubectl("-n", "logging", "create", "token", "crisp-shipper").stdout.strip()
    path = deployed.kubeconfig("own", token=token)
    settings = Settings(kubeconfig=str(path), node_name="plain-1", state_dir=str(tmp_path))
    here = [pod for pod in deployed.pods("crisp-worker") if pod["spec"]["nodeName"] == "plain-1"]
    (about,) = [pod["metadata"] for pod in here]

    watch = PodWatch(settings)
    watch.start()
    try:
        instance = Instance("logging", about["name"], about["uid"], "worker", 0)
        eventually(lambda: watch.find(instance) is not None, 20)
    finally:
        watch.stop()
