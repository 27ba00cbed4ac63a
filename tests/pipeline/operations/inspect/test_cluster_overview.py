"""The overview of a cluster through the API server: whatever is wrong with a pod or with the rights is a problem."""

from typing import Any

import pytest

from pipeline.cli.inspect import status as status_command
from pipeline.monitoring.problem import Severity
from pipeline.operations.inspect import cluster_overview, pod_proxy
from pipeline.operations.inspect.read_limit import ReadLimit
from tests.support.crisp_cluster import CrispCluster
from tests.support.statuses import WORKER

SHIPPER_1 = "agents/crisp-shipper-1:9102"


def problems(cluster: CrispCluster, *namespaces: str) -> list[tuple[str, str, str]]:
    """Severity, source and message of each problem, the worst first."""
    snapshot = cluster_overview.gather(cluster.client, namespaces)
    status_command.render(snapshot)
    return [(problem.severity.value, problem.source, problem.message) for problem in snapshot.problems]


def test_healthy_cluster_has_no_problems(cluster: CrispCluster) -> None:
    snapshot = cluster_overview.gather(cluster.client, [])

    assert (snapshot.state, snapshot.problems, snapshot.unknown_processes) == (Severity.OK, (), ())
    assert [(process.status.kind, process.address) for process in snapshot.processes] == [
        ("shipper", "agents/crisp-shipper-1"),
        ("shipper", "agents/crisp-shipper-2"),
        ("worker", "logging/crisp-worker-1"),
    ]
    assert snapshot.elasticsearch.status == "accepts documents of 1 of 1 workers"
    assert snapshot.kafka.lag_records == sum(row.records for row in WORKER.lag)
    assert f"/api/v1/namespaces/agents/pods/{SHIPPER_1.partition('/')[2]}/proxy/status.json" in cluster.api.requests


def test_problems_of_a_process_are_those_of_its_status(cluster: CrispCluster) -> None:
    problem = {"severity": "critical", "message": "Lines wait.", "runbook": "lag"}
    cluster.api.statuses[SHIPPER_1]["problems"] = [problem]

    assert problems(cluster) == [("critical", "shipper crisp-shipper-1", "Lines wait.")]


def test_only_given_namespaces_are_listed(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"cluster"}

    assert problems(cluster, "agents", "logging") == []
    assert problems(cluster, "agents") == [
        ("critical", "Kubernetes", f"No worker in the namespace agents: no pod has the label {pod_proxy.SELECTOR}.")
    ]
    assert all("/namespaces/" in request for request in cluster.api.requests)


def test_list_without_right_is_critical(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"pods"}
    ((level, source, message),) = problems(cluster)

    assert (level, source) == ("critical", "Kubernetes")
    assert message.startswith("Cannot list pods in all namespaces: status 403: pods is forbidden")


def test_controllers_without_right_are_a_warning(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"daemonsets", "deployments"}
    found = problems(cluster)

    assert [(level, source) for level, source, _ in found] == [("warning", "Kubernetes")] * 2
    assert "Cannot compare with the desired number of pods: status 403" in found[0][2]


def test_proxy_without_right_is_critical_for_every_pod(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"pods/proxy"}
    found = problems(cluster)

    assert [level for level, _, _ in found] == ["critical"] * 3
    assert "Unreachable on the node node-1: no right to read it through the API server: status 403" in found[0][2]


def test_missing_shipper_is_critical(cluster: CrispCluster) -> None:
    cluster.want("shipper", 5)

    assert problems(cluster) == [
        ("critical", "Kubernetes", "3 of 5 nodes have no shipper: their lines are not read."),
    ]


def test_missing_worker_is_critical_only_if_there_is_no_other(cluster: CrispCluster) -> None:
    cluster.want("worker", 2)
    assert problems(cluster) == [("warning", "Kubernetes", "1 of 2 workers do not exist.")]

    cluster.api.pods.pop("uid-crisp-worker-1")
    assert problems(cluster) == [("critical", "Kubernetes", "2 of 2 workers do not exist. Nothing is indexed.")]


def test_empty_cluster_is_critical(cluster: CrispCluster) -> None:
    cluster.api.pods.clear()
    cluster.api.apps = {"daemonsets": [], "deployments": []}

    assert [level for level, _, _ in problems(cluster)] == ["critical"] * 2


CRASHING = {
    "containerStatuses": [
        {"name": "x", "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}}
    ],
    "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
}
UNSCHEDULABLE = {
    "phase": "Pending",
    "containerStatuses": [],
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "Insufficient memory"}
    ],
}
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "low on disk", "containerStatuses": []}
UNREADY = {"conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "probe"}]}


@pytest.mark.parametrize(
    ("kind", "changes", "expected"),
    [
        ("shipper", CRASHING, ("critical", "CrashLoopBackOff: back-off 40s restarting")),
        ("worker", CRASHING, ("warning", "CrashLoopBackOff: back-off 40s restarting")),
        ("shipper", UNSCHEDULABLE, ("critical", "(Pending): Unschedulable: Insufficient memory")),
        ("worker", EVICTED, ("warning", "The pod has ended on the node node-3: Evicted: low on disk")),
        ("shipper", UNREADY, ("warning", "The pod is not ready on the node node-3: ContainersNotReady: probe")),
    ],
)
def test_pod_that_is_not_well_is_a_problem(
    cluster: CrispCluster, kind: str, changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    cluster.add(kind, f"crisp-{kind}-3", "logging", "node-3", **changes)
    ((level, source, message),) = problems(cluster)

    assert (level, source) == (expected[0], f"{kind} logging/crisp-{kind}-3")
    assert expected[1] in message


def test_terminating_pod_does_not_count(cluster: CrispCluster) -> None:
    pod = cluster.add("shipper", "crisp-shipper-2", "agents", "node-2")
    pod["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    cluster.api.put(pod)

    assert problems(cluster) == [
        ("critical", "Kubernetes", "1 of 2 nodes have no shipper: their lines are not read."),
        ("warning", "shipper agents/crisp-shipper-2", "The pod is terminating on the node node-2."),
    ]


def test_node_of_an_unscheduled_shipper_is_named(cluster: CrispCluster) -> None:
    pod = cluster.add("shipper", "crisp-shipper-3", "agents", "", **UNSCHEDULABLE)
    row = {"key": "metadata.name", "operator": "In", "values": ["node-9"]}
    required = {"nodeSelectorTerms": [{"matchFields": [row]}]}
    pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    cluster.api.put(pod)

    assert "does not run on the node node-9 (Pending)" in problems(cluster)[0][2]


@pytest.mark.parametrize(
    ("response", "message"),
    [
        ((503, "error trying to reach service: dial tcp: i/o timeout"), "does a NetworkPolicy block that?"),
        ((404, "pods not found"), "status 404: pods not found"),
        ([], "unknown status format: neither a worker's nor a shipper's"),
        ({"kind": "shipper"}, "its state is not known: unknown status format"),
    ],
)
def test_unreadable_pod_is_critical(cluster: CrispCluster, response: Any, message: str) -> None:
    cluster.api.statuses[SHIPPER_1] = response
    ((level, source, found),) = problems(cluster)

    assert (level, source) == ("critical", "shipper agents/crisp-shipper-1")
    assert message in found


def test_pod_without_status_port_is_critical(cluster: CrispCluster) -> None:
    pod = cluster.api.pods["uid-crisp-shipper-1"]
    pod["spec"]["containers"][0]["ports"] = [{"name": "metrics", "containerPort": 9102}]

    assert "no container port named status" in problems(cluster)[0][2]


def test_busy_api_server_is_retried_as_it_wants(cluster: CrispCluster) -> None:
    body = b'{"kind":"Status","message":"too many requests","code":429}'
    (pod,) = [pod for pod in pod_proxy.inspect_cluster(cluster.client, []).pods if pod.name == "crisp-shipper-1"]
    cluster.api.responses = [(429, {"Retry-After": "1"}, body)]

    assert pod_proxy.read_status(cluster.client, pod, ReadLimit()).name == "crisp-shipper-1"


def test_unreachable_api_server_is_critical(cluster: CrispCluster) -> None:
    cluster.api.close()
    found = problems(cluster)

    assert found[0][:2] == ("critical", "Kubernetes")
    assert "Connection refused" in found[0][2]


def test_pods_are_listed_page_by_page(cluster: CrispCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_proxy, "LIST_LIMIT", 1)

    assert problems(cluster) == []
