"""The manifests before a real API server with the real definitions: every field of every object, and Pod Security."""

import copy
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.manifests import (
    COMPONENTS,
    DEPLOY,
    OVERLAYS,
    Manifest,
    Objects,
    component,
    kustomize,
    named,
    of_kind,
    overlay,
    workloads,
)
from tests.k8s.apiserver import ApiServer, running
from tests.k8s.definitions import define

pytestmark = [pytest.mark.k8s, pytest.mark.timeout(1800)]

NO_CRD = {"SecurityContextConstraints"}
BUILDS = [pytest.param(overlay, name, id=name) for name in OVERLAYS]
BUILDS += [pytest.param(component, name, id=f"component-{name}") for name in COMPONENTS]
BUILDS += [pytest.param(lambda _: applications(), "argocd", id="argocd")]


def applications() -> Objects:
    """What Argo CD is given: the root by hand, the rest by the root."""
    return [*kustomize(DEPLOY / "argocd"), yaml.safe_load((DEPLOY / "argocd" / "root.yaml").read_text())]


@pytest.fixture(scope="module")
def server(shared: Path) -> Iterator[ApiServer]:
    """With the definitions and the namespaces, and nothing else in it: a dry run leaves it so."""
    with running(ApiServer) as made:
        define(made, shared)
        made.apply([named(overlay("dev"), "Namespace", "logging")])
        made.apply([named(component("namespace-split"), "Namespace", "logging-agents")])
        made.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "argocd"}})
        yield made


@pytest.mark.parametrize(("build", "name"), BUILDS)
def test_every_object_is_accepted_by_the_server(server: ApiServer, build: Any, name: str) -> None:
    objects: Objects = [entry for entry in build(name) if entry["kind"] not in NO_CRD]

    ended = server.apply(objects, "--dry-run=server", "--force-conflicts")

    assert ended.stdout.count("serverside-applied (server dry run)") == len(objects)
    # Pod Security warns at restricted: of the shipper, which mounts host paths, and of nothing else.
    warnings = [line for line in ended.stderr.splitlines() if "would violate PodSecurity" in line]
    assert len(warnings) <= 1
    assert all("hostPath" in line and '"shipper"' in line for line in warnings)


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        pytest.param("PodDisruptionBudget", "crisp-worker", ("spec", "minAvailable"), 1, id="both-limits-of-a-budget"),
        pytest.param("KafkaTopic", "logs-raw", ("spec", "partitions"), 0, id="no-partitions"),
        pytest.param("Elasticsearch", "logs", ("spec", "nodeSets", 0, "count"), "one", id="a-word-for-a-number"),
        pytest.param("Deployment", "crisp-worker", ("spec", "template", "spec", "seccomp"), {}, id="an-unknown-field"),
    ],
)  # fmt: skip
def test_invalid_object_is_rejected_by_the_server(
    server: ApiServer, kind: str, name: str, path: Any, value: Any
) -> None:
    entry = place = named(overlay("dev"), kind, name)
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    with pytest.raises(AssertionError, match=r"(?i)invalid|not declared|must|expected"):
        server.apply([entry], "--dry-run=server", "--force-conflicts")


def pod(workload: Manifest) -> Manifest:
    """One pod of a workload, as its controller would make it."""
    template = copy.deepcopy(workload["spec"]["template"])
    about = {"name": workload["metadata"]["name"], **template["metadata"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": template["spec"]}


def takes(server: ApiServer, namespace: str, body: Manifest) -> bool:
    """Whether the namespace's Pod Security level lets a pod in."""
    refused = ""
    try:
        server.ask("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", body)
    except urllib.error.HTTPError as fault:
        refused = fault.read().decode()
    assert not refused or "violates PodSecurity" in refused
    return not refused


def test_split_namespaces_allow_host_paths_for_agents_only(server: ApiServer) -> None:
    objects = component("namespace-split")
    shipper = pod(named(objects, "DaemonSet", "crisp-shipper"))
    assert takes(server, "logging", shipper)
    server.apply([named(objects, "Namespace", "logging")], "--force-conflicts")
    try:
        assert not takes(server, "logging", shipper)
        assert takes(server, "logging-agents", shipper)
        assert all(takes(server, "logging", pod(entry)) for entry in of_kind(workloads(objects), "Deployment", "Job"))
    finally:
        server.apply([named(overlay("dev"), "Namespace", "logging")], "--force-conflicts")
