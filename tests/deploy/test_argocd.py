"""The Argo CD applications: valid, within their project, in order, and not able to delete data."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import DEPLOY, ROOT, Manifest, Objects, kustomize, named, needs_kubectl, of_kind, overlay

pytestmark = needs_kubectl


@pytest.fixture(scope="module")
def objects() -> Objects:
    return kustomize(DEPLOY / "argocd")


def applications(objects: Objects) -> Objects:
    return of_kind(objects, "Application")


def test_the_strict_schemas_hold(shared: Path) -> None:
    paths = [str(DEPLOY / "argocd"), str(DEPLOY / "argocd" / "root.yaml")]
    command = [sys.executable, str(shared / "schemas" / "validate.py"), *paths]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_application_keeps_to_the_project(objects: Objects) -> None:
    spec = named(objects, "AppProject", "logging")["spec"]
    places = {row["namespace"] for row in spec["destinations"]}

    assert len(applications(objects)) == 5
    for entry in applications(objects):
        assert entry["spec"]["project"] == "logging"
        assert entry["spec"]["source"]["repoURL"] in spec["sourceRepos"]
        assert entry["spec"]["destination"]["namespace"] in places


def test_cluster_wide_objects_of_the_overlays_are_let_through(objects: Objects) -> None:
    rows = named(objects, "AppProject", "logging")["spec"]["clusterResourceWhitelist"]
    allowed = {(row["group"], row["kind"]) for row in rows}
    for name in ("dev", "prod", "bring-your-own"):
        wide = [entry for entry in overlay(name) if "namespace" not in entry["metadata"]]
        kinds = {(entry["apiVersion"].rpartition("/")[0], entry["kind"]) for entry in wide}
        assert kinds <= allowed


def test_operators_come_before_what_they_look_after(objects: Objects) -> None:
    waves = {entry["metadata"]["name"]: wave(entry) for entry in objects}

    assert waves["logging"] < min(waves[name] for name in waves if name not in {"logging", "crisp"})
    assert waves["crisp"] > max(wave for name, wave in waves.items() if name != "crisp")


def wave(entry: Manifest) -> int:
    return int(entry["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"])


def test_taking_an_application_away_deletes_nothing(objects: Objects) -> None:
    for entry in applications(objects):
        assert "finalizers" not in entry["metadata"]
        assert entry["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


def test_charts_are_pinned_and_eck_is_the_one_tried(objects: Objects) -> None:
    versions = {entry["metadata"]["name"]: entry["spec"]["source"]["targetRevision"] for entry in applications(objects)}

    assert versions["eck-operator"] == "2.11.0"
    assert all(version.lstrip("v")[0].isdigit() and "*" not in version for version in versions.values())


def test_keda_may_scale_what_argo_cd_applied(objects: Objects) -> None:
    spec = named(objects, "Application", "crisp")["spec"]
    (row,) = spec["ignoreDifferences"]

    assert (ROOT / spec["source"]["path"] / "kustomization.yaml").exists()
    named(overlay("dev"), row["kind"], row["name"])
    assert row["jsonPointers"] == ["/spec/replicas"]
    assert "RespectIgnoreDifferences=true" in spec["syncPolicy"]["syncOptions"]


def test_the_root_brings_the_rest(objects: Objects) -> None:
    root = yaml.safe_load((DEPLOY / "argocd" / "root.yaml").read_text())

    assert (ROOT / root["spec"]["source"]["path"] / "kustomization.yaml").exists()
    assert root["spec"]["source"]["repoURL"] == named(objects, "Application", "crisp")["spec"]["source"]["repoURL"]
    assert "finalizers" not in root["metadata"]


def test_the_policies_name_the_namespaces_of_the_operators(objects: Objects) -> None:
    policies = yaml.safe_dump(of_kind(overlay("prod"), "NetworkPolicy", "Kafka"))
    for name in ("eck-operator", "keda-operator"):
        where = named(objects, "Application", name)["spec"]["destination"]["namespace"]
        assert f"kubernetes.io/metadata.name: {where}" in policies
