"""`crisp check --kube` at a small API server."""

from pipeline.operations.check import kubernetes
from pipeline.operations.check.finding import CheckResult
from tests.support.crisp_cluster import CrispCluster


def results(cluster: CrispCluster, *namespaces: str) -> dict[str, CheckResult]:
    return {result.subject: result for result in kubernetes.run_checks(cluster.client, namespaces)}


def states(cluster: CrispCluster, *namespaces: str) -> dict[str, str]:
    """The checks that are not ok."""
    return {what: result.status for what, result in results(cluster, *namespaces).items() if result.status != "ok"}


def test_healthy_cluster_passes(cluster: CrispCluster) -> None:
    found = results(cluster)

    assert {result.status for result in found.values()} == {"ok"}
    assert {what: found[what].observed for what in list(found)[1:]} == {
        "pods": "shippers: 2, workers: 1, in all namespaces",
        "pods/proxy": "3 statuses read",
        "shippers": "2 of 2 nodes that should have one",
        "workers": "1 of 1 that should exist",
        "pods ready": "all 3",
        "versions": "all 0.1.0",
    }
    assert found["Kubernetes API"].observed.endswith("is reachable, version v1.36.3")


def test_unreachable_api_fails_alone(cluster: CrispCluster) -> None:
    cluster.api.close()

    assert states(cluster) == {"Kubernetes API": "failed"}


def test_unknown_token_fails_with_a_remedy(cluster: CrispCluster) -> None:
    cluster.api.tokens = set()
    (result,) = results(cluster).values()

    assert (result.status, result.remedy) == ("failed", "renew the credentials of the kubeconfig")


def test_list_without_right_names_namespace_and_role(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"cluster"}
    assert states(cluster) == {"pods": "failed"}
    assert results(cluster)["pods"].remedy.startswith("give --namespace, or bind the ClusterRole crisp-status-reader")
    assert states(cluster, "agents", "logging") == {}


def test_proxy_without_right_fails(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"pods/proxy"}

    assert states(cluster) == {"pods/proxy": "failed"}
    assert "3 of 3 statuses cannot be read" in results(cluster)["pods/proxy"].observed


def test_blocked_pod_fails_with_another_remedy(cluster: CrispCluster) -> None:
    cluster.api.statuses["agents/crisp-shipper-2:9102"] = (503, "dial tcp: i/o timeout")
    result = results(cluster)["pods/proxy"]

    assert result.status == "failed"
    assert "1 of 3 statuses cannot be read, agents/crisp-shipper-2" in result.observed
    assert "NetworkPolicy" in result.remedy


def test_status_of_another_version_fails_with_another_remedy(cluster: CrispCluster) -> None:
    cluster.api.statuses["agents/crisp-shipper-2:9102"] = {"kind": "shipper", "version": "9.0.0"}
    result = results(cluster)["pods/proxy"]

    assert "of version 9.0.0" in result.observed
    assert result.remedy.startswith("run the same version")


def test_missing_shippers_fail(cluster: CrispCluster) -> None:
    cluster.want("shipper", 3)

    assert states(cluster) == {"shippers": "failed"}
    assert results(cluster)["shippers"].observed == "2 of 3 nodes that should have one"


def test_unknown_desired_number_is_a_warning(cluster: CrispCluster) -> None:
    cluster.api.forbidden = {"daemonsets"}

    assert states(cluster) == {"shippers": "warning"}


def test_namespace_without_pods_fails(cluster: CrispCluster) -> None:
    assert states(cluster, "shop") == {"pods": "failed", "shippers": "failed", "workers": "failed"}


def test_mixed_versions_are_a_warning(cluster: CrispCluster) -> None:
    cluster.api.statuses["logging/crisp-worker-1:9103"]["version"] = "0.2.0"

    assert states(cluster) == {"versions": "warning"}
    assert results(cluster)["versions"].observed == "0.1.0 (2), 0.2.0 (1)"


def test_unready_pods_are_named(cluster: CrispCluster) -> None:
    cluster.add("worker", "crisp-worker-2", "logging", "node-2", conditions=[])
    result = results(cluster)["pods ready"]

    assert (result.status, result.observed) == (
        "warning",
        "logging/crisp-worker-2: The pod is not ready on the node node-2.",
    )
