"""The lines of deploy/README.md on a control plane: typed in their order, as they stand.

What needs a kubelet, a registry or a cloud is left out: pods that print and pods that run a command are nobody's here.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.manifests import ROOT, needs_kubectl
from tests.deploy.readme import commands
from tests.k8s.apiserver import ApiServer, running
from tests.k8s.controlplane import ControlPlane
from tests.k8s.definitions import define

pytestmark = [needs_kubectl, pytest.mark.k8s, pytest.mark.timeout(1800)]

NEEDS_MORE = {"logs", "exec", "port-forward", "logs-es-elastic-user"}  # a kubelet, or ECK's operator


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    """Two nodes and nothing else."""
    with running(ControlPlane) as made:
        for name in ("node-1", "node-2"):
            made.add_node(name)
        yield made


@pytest.fixture
def operated(shared: Path) -> Iterator[ApiServer]:
    """With the operators' definitions and Argo CD's namespace."""
    with running(ApiServer) as made:
        define(made, shared)
        made.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "argocd"}})
        yield made


def typed(server: ApiServer, *sections: str) -> int:
    """Type every line of kubectl's of some sections; returns how many that were."""
    lines = [line for line in commands(*sections) if line[0] == "kubectl" and not NEEDS_MORE & set(line)]
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig())}
    for line in lines:
        ended = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=150)
        assert ended.returncode == 0, f"{' '.join(line)}: {ended.stderr}"
    return len(lines)


def names(server: ApiServer, *kinds: str) -> set[str]:
    said = server.kubectl("-n", "logging", "get", ",".join(kinds), "--output=name").stdout
    return {line.rpartition("/")[2] for line in said.splitlines()}


def test_commands_for_existing_servers_install_upgrade_and_remove(plane: ControlPlane) -> None:
    assert typed(plane, "Install: Kafka and Elasticsearch that exist") >= 6
    assert names(plane, "daemonset", "deployment", "job") == {"crisp-shipper", "crisp-worker", "crisp-setup"}
    first = plane.ask("GET", "/apis/batch/v1/namespaces/logging/jobs/crisp-setup")["metadata"]["uid"]

    assert typed(plane, "Upgrade") >= 4
    assert plane.ask("GET", "/apis/batch/v1/namespaces/logging/jobs/crisp-setup")["metadata"]["uid"] != first

    assert typed(plane, "Uninstall") >= 2
    assert names(plane, "daemonset", "deployment", "job") == set()
    assert {"crisp-elasticsearch", "crisp-elasticsearch-setup"} <= names(plane, "secret")


def test_commands_for_everything_on_the_cluster_succeed(operated: ApiServer) -> None:
    assert typed(operated, "Install: everything on the cluster") >= 4

    assert names(operated, "elasticsearch", "kibana", "kafka", "scaledobject") == {"logs", "crisp-worker"}
    assert names(operated, "kafkatopic") == {"logs-raw", "logs-dead"}
