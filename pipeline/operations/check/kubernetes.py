"""Checks a cluster: API, rights, pods, their status through the pod proxy, versions. Read-only."""

from collections import Counter
from collections.abc import Sequence

from pipeline.errors import KubernetesError
from pipeline.kubernetes.client import ApiClient, StatusError, Unreachable
from pipeline.operations.check.finding import CheckResult, failed, ok, warning
from pipeline.operations.inspect.cluster_overview import count_present, describe_scope, pod_problem
from pipeline.operations.inspect.pod_proxy import (
    CONTROLLERS,
    SELECTOR,
    Inspection,
    describe_unread,
    inspect_cluster,
    is_refused,
)

MAX_NAMES = 5
_GRANT = "bind the ClusterRole crisp-status-reader to this user in the namespace (component status-reader of deploy/)"


def run_checks(client: ApiClient, namespaces: Sequence[str]) -> list[CheckResult]:
    """Check a cluster; only the connection if it cannot be used."""
    connection = _check_connection(client)
    if connection.status != "ok":
        return [connection]
    inspection = inspect_cluster(client, namespaces)
    if "pods" in inspection.errors:
        return [connection, _unlisted(inspection.errors["pods"], namespaces)]
    results = [connection, _check_list(inspection, namespaces)]
    if inspection.pods:
        results.append(_check_proxy(inspection))
    results += [_check_number(inspection, kind, resource) for kind, resource in CONTROLLERS.items()]
    results.append(_check_pods(inspection))
    return [*results, *_check_versions(inspection)]


def _check_connection(client: ApiClient) -> CheckResult:
    try:
        version = client.get_object("/version").get("gitVersion", "unknown")
    except StatusError as error:
        if error.code == 403:  # reachable, and only its version is hidden
            return ok("Kubernetes API", f"{client.url} is reachable")
        todo = "renew the credentials of the kubeconfig" if error.code == 401 else "see the API server's log"
        return failed("Kubernetes API", f"{client.url}: {error}", todo)
    except KubernetesError as error:
        return failed("Kubernetes API", str(error), "check the kubeconfig's server, and that the network reaches it")
    return ok("Kubernetes API", f"{client.url} is reachable, version {version}")


def _unlisted(error: KubernetesError, namespaces: Sequence[str]) -> CheckResult:
    todo = _GRANT if namespaces else f"give --namespace, or {_GRANT}"
    return failed("pods", f"cannot be listed in {describe_scope(namespaces)}: {error}", todo)


def _check_list(inspection: Inspection, namespaces: Sequence[str]) -> CheckResult:
    counts = Counter(pod.kind for pod in inspection.pods)
    where = describe_scope(namespaces)
    if not inspection.pods:
        return failed("pods", f"none in {where}", f"check --namespace, and the pods' label {SELECTOR}")
    return ok("pods", f"shippers: {counts['shipper']}, workers: {counts['worker']}, in {where}")


def _check_proxy(inspection: Inspection) -> CheckResult:
    """Check that the status of every running pod can be read."""
    refused = {pod: error for pod, error in inspection.unread.items() if is_refused(error)}
    unread = refused or inspection.unread
    if unread:
        pod, error = next(iter(unread.items()))
        seen = f"{len(unread)} of {len(unread) + len(inspection.statuses)} statuses cannot be read, {pod.title}:"
        return failed("pods/proxy", f"{seen} {describe_unread(error)}", _remedy(error))
    if not inspection.statuses:
        return warning("pods/proxy", "not tried: no pod runs")
    return ok("pods/proxy", f"{len(inspection.statuses)} statuses read")


def _remedy(error: KubernetesError) -> str:
    if is_refused(error):
        return _GRANT
    if isinstance(error, (StatusError, Unreachable)):
        return "let the API server reach the pods' port `status`: see NetworkPolicy, and the pod"
    return "run the same version of crisp here and there, and name the containers' port `status`"


def _check_number(inspection: Inspection, kind: str, resource: str) -> CheckResult:
    desired, present = inspection.desired[kind], count_present(inspection, kind)
    if resource in inspection.errors:
        return warning(f"{kind}s", f"{present}; {resource} cannot be listed: {inspection.errors[resource]}", _GRANT)
    if desired is None:
        return failed(f"{kind}s", f"none of the {resource} has their label", "deploy them, or check --namespace")
    seen = f"{present} of {desired} {'nodes that should have one' if kind == 'shipper' else 'that should exist'}"
    if present < desired:
        return failed(f"{kind}s", seen, f"see the events of the {resource}: quota, admission, taints")
    return ok(f"{kind}s", seen)


def _check_pods(inspection: Inspection) -> CheckResult:
    """Check that all pods run and are ready."""
    problems = [(pod, problem) for pod in inspection.pods if (problem := pod_problem(pod)) is not None]
    if not problems:
        return ok("pods ready", f"all {len(inspection.pods)}")
    seen = "; ".join(f"{pod.title}: {problem.message}" for pod, problem in problems[:MAX_NAMES])
    more = f"; and {len(problems) - MAX_NAMES} more" if len(problems) > MAX_NAMES else ""
    return warning("pods ready", seen + more, "see `kubectl describe pod`")


def _check_versions(inspection: Inspection) -> list[CheckResult]:
    versions = Counter(status.version for status in inspection.statuses.values())
    if len(versions) > 1:
        seen = ", ".join(f"{version} ({number})" for version, number in sorted(versions.items()))
        return [warning("versions", seen, "finish the rollout")]
    return [ok("versions", f"all {version}") for version in versions]
