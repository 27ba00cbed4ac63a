"""`crisp status --kube` and `crisp check --kube` on a real API server, with the rights of the component status-reader.

No kubelet runs here: pods are what their status says, and one address of this machine responds for all.
"""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import yaml

from pipeline.kubernetes.client import ApiClient
from pipeline.kubernetes.kubeconfig import Kubeconfig
from pipeline.monitoring.problem import Severity
from pipeline.operations.check import kubernetes
from pipeline.operations.inspect import cluster_overview
from tests.deploy.manifests import DEPLOY
from tests.k8s.apiserver import TOKEN, ApiServer
from tests.support.statuses import SHIPPER

pytestmark = [pytest.mark.k8s, pytest.mark.short]

STATUS = orjson.dumps(SHIPPER)
PODS = "/api/v1/namespaces/logging/pods"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


class _StatusPage(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/status.json" else 404)
        self.send_header("Content-Length", str(len(STATUS)))
        self.end_headers()
        self.wfile.write(STATUS)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def _own_address() -> str:
    """An address of this machine that is not loopback: the API server connects to no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("203.0.113.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


@pytest.fixture
def port() -> Iterator[int]:
    """A status page on all addresses."""
    server = http.server.ThreadingHTTPServer(("0.0.0.0", 0), _StatusPage)  # noqa: S104 - the API server is local
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


def _create_pod(api: ApiServer, kind: str, port: int) -> None:
    """A pod that runs and is ready, as its status says."""
    name = f"crisp-{kind}"
    container = {"name": kind, "image": "x:1", "ports": [{"name": "status", "containerPort": port}]}
    metadata = {"name": name, "labels": {"app.kubernetes.io/name": name}}
    api.ask("POST", PODS, {"metadata": metadata, "spec": {"nodeName": "node-1", "containers": [container]}})
    address = _own_address()
    running = {"name": kind, "image": "x:1", "imageID": "x", "ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [{**running, "state": {"running": {"startedAt": "2026-11-30T00:00:00Z"}}}],
    }
    api.ask("PATCH", f"{PODS}/{name}/status", {"status": status}, "application/merge-patch+json")


def _create_controller(api: ApiServer, kind: str, resource: str) -> None:
    labels = {"app.kubernetes.io/name": f"crisp-{kind}"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": kind, "image": "x:1"}]}}
    body = {
        "metadata": {"name": f"crisp-{kind}"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/logging/{resource}"
    api.ask("POST", path, body)
    if kind == "shipper":
        numbers = {"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberMisscheduled": 0, "numberReady": 1}
        api.ask("PATCH", f"{path}/crisp-{kind}/status", {"status": numbers}, "application/merge-patch+json")


@pytest.fixture
def reader(api: ApiServer, port: int) -> Iterator[ApiClient]:
    """A shipper and a worker; and a client with the rights of the component, in place of the group an account."""
    _create_pod(api, "shipper", port)
    _create_pod(api, "worker", port)
    _create_controller(api, "shipper", "daemonsets")
    _create_controller(api, "worker", "deployments")
    accounts = "/api/v1/namespaces/logging/serviceaccounts"
    api.ask("POST", accounts, {"metadata": {"name": "reader"}})
    made = [f"{accounts}/reader", *(f"{PODS}/crisp-{kind}?gracePeriodSeconds=0" for kind in ("shipper", "worker"))]
    made += [
        f"/apis/apps/v1/namespaces/logging/{name}" for name in ("daemonsets/crisp-shipper", "deployments/crisp-worker")
    ]
    for body in yaml.safe_load_all((DEPLOY / "components" / "status-reader" / "rights.yaml").read_text()):
        if "subjects" in body:
            body["subjects"] = [{"kind": "ServiceAccount", "name": "reader", "namespace": "logging"}]
        path = f"{RBAC}/clusterroles" if body["kind"] == "ClusterRole" else f"{RBAC}/namespaces/logging/rolebindings"
        api.ask("POST", path, body)
        made.append(f"{path}/{body['metadata']['name']}")
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    token = api.ask("POST", f"{accounts}/reader/token", request)["status"]["token"]
    assert token != TOKEN
    yield ApiClient(Kubeconfig(str(api.kubeconfig("reader", token=token))))
    for path in made:
        api.ask("DELETE", path)


def test_rights_of_the_component_are_enough_and_no_more(reader: ApiClient) -> None:
    results = kubernetes.run_checks(reader, ["logging"])
    assert {result.subject: result.status for result in results if result.status != "ok"} == {}, results

    snapshot = cluster_overview.gather(reader, ["logging"])
    assert snapshot.problems == ()
    assert {process.address for process in snapshot.processes} == {"logging/crisp-shipper", "logging/crisp-worker"}

    first, *_ = cluster_overview.gather(reader, []).problems
    assert first.severity is Severity.CRITICAL
    assert "Cannot list pods in all namespaces: status 403: pods is forbidden" in first.message


def test_without_the_proxy_right_the_check_names_it(api: ApiServer, reader: ApiClient) -> None:
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    path = f"{RBAC}/clusterroles/crisp-status-reader"
    api.ask("PATCH", path, {"rules": rules}, "application/merge-patch+json")
    states = {}
    for _ in range(30):  # the API server's authorizer reads the new role after a moment
        states = {result.subject: result for result in kubernetes.run_checks(reader, ["logging"])}
        if states["pods/proxy"].status == "failed":
            break

    assert "pods/proxy" in states["pods/proxy"].observed
    assert "crisp-status-reader" in states["pods/proxy"].remedy
    assert (states["shippers"].status, states["workers"].status) == ("warning", "warning")
