"""Every overlay and every component builds, is valid by the strict schemas, and true to the code and to itself."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.deploy import generated, network_checks, store_checks, workload_checks
from tests.deploy.manifests import (
    COMPONENTS,
    DEPLOY,
    OVERLAYS,
    Manifest,
    Objects,
    component,
    containers,
    kustomize,
    named,
    needs_kubectl,
    of_kind,
    overlay,
    pod_spec,
    together,
    workloads,
)
from tests.k8s.binaries import directory

CHECKS = (*workload_checks.CHECKS, *store_checks.CHECKS, *network_checks.CHECKS)
NO_SCHEMA = {"SecurityContextConstraints"}  # only OpenShift has it
pytestmark = needs_kubectl

Build = Callable[[str], Objects]
BUILDS = [pytest.param(overlay, name, id=name) for name in OVERLAYS]
BUILDS += [pytest.param(component, name, id=f"component-{name}") for name in COMPONENTS]


def written(objects: Objects, path: Path) -> Path:
    """The objects as one file, but for those without a schema."""
    path.write_text(yaml.safe_dump_all(entry for entry in objects if entry["kind"] not in NO_SCHEMA))
    return path


def test_overlays_and_components_are_found() -> None:
    assert set(OVERLAYS) >= {"bring-your-own", "dev", "prod"}
    assert len(COMPONENTS) >= 15


@pytest.mark.parametrize(("build", "name"), BUILDS)
def test_build_agrees_with_the_code_and_is_consistent(build: Build, name: str) -> None:
    objects = build(name)

    assert [f"{check.__name__}: {fault}" for check in CHECKS for fault in check(objects)] == []


# What is likely to be asked for at once, on nodes and by namespace.
TOGETHER = (
    ("openshift", "monitoring", "namespace-split"),
    ("gke-critical-quota", "docker-logs", "default-deny", "status-reader", "fleet-page", "namespace-split"),
    ("kafka-strimzi", "elasticsearch-eck", "kibana-eck", "es-tls", "stack-config-policy", "selinux", "namespace-split"),
    ("kafka-strimzi", "fluent-bit-kafka", "keda", "fluent-bit-side-by-side"),
)


@pytest.mark.parametrize("parts", TOGETHER, ids="+".join)
def test_combined_components_pass_every_check(parts: tuple[str, ...]) -> None:
    objects = together(*parts)

    assert [f"{check.__name__}: {fault}" for check in CHECKS for fault in check(objects)] == []


def with_images(tmp_path: Path, name: str, images: list[dict[str, str]]) -> Objects:
    """An overlay as a user's copy is, with other `images`."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    path = tmp_path / "deploy" / "overlays" / name
    kustomization = yaml.safe_load((path / "kustomization.yaml").read_text())
    (path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization | {"images": images}))
    return kustomize(path)


@pytest.mark.parametrize("name", ["bring-your-own", "dev", "prod"])
def test_registry_and_version_of_an_overlay_are_those_of_every_part(name: str, tmp_path: Path) -> None:
    parts = ("crisp-shipper", "crisp-worker")
    there = [{"name": part, "newName": f"registry.example.com:5000/logs/{part}", "newTag": "1.2.3"} for part in parts]
    objects = with_images(tmp_path, name, there)

    used = {container["image"] for entry in workloads(objects) for container in containers(entry)}
    assert used == {f"registry.example.com:5000/logs/{part}:1.2.3" for part in parts}
    assert list(workload_checks.images(objects)) == []


@pytest.mark.parametrize("wrong", ["example.invalid/crisp-worker", "crisp_worker", "worker"])
def test_image_under_a_name_that_matches_nothing_is_reported(wrong: str, tmp_path: Path) -> None:
    images = [
        {"name": "crisp-shipper", "newName": "registry.example.com/crisp-shipper", "newTag": "1.2.3"},
        {"name": wrong, "newName": "registry.example.com/crisp-worker", "newTag": "1.2.3"},
    ]
    found = list(workload_checks.images(with_images(tmp_path, "dev", images)))

    for part in ("Deployment crisp-worker", "Job crisp-setup", "Job crisp-kibana"):
        assert any(part in problem and "crisp-worker has no registry" in problem for problem in found), found


@pytest.mark.parametrize(("build", "name"), BUILDS)
def test_builds_match_the_strict_schemas(build: Build, name: str, shared: Path, tmp_path: Path) -> None:
    path = written(build(name), tmp_path / "built.yaml")
    command = [sys.executable, str(shared / "schemas" / "validate.py"), str(path)]
    older = [*command[:2], "--seed", *command[2:]] if name == "external-secrets-v1beta1" else command
    ended = subprocess.run(older, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_openshift_object_matches_its_schema() -> None:
    """There is no server that has the kind here; these are the required fields of its definition, openshift/api, v1."""
    (scc,) = of_kind(component("openshift"), "SecurityContextConstraints")

    assert {
        *("allowHostDirVolumePlugin", "allowHostIPC", "allowHostNetwork", "allowHostPID", "allowHostPorts"),
        *("allowPrivilegedContainer", "allowedCapabilities", "defaultAddCapabilities", "priority"),
        *("readOnlyRootFilesystem", "requiredDropCapabilities", "volumes"),
    } <= set(scc)
    used = {next(key for key in volume if key != "name") for volume in pod_spec(shipper())["volumes"]}
    assert used <= set(scc["volumes"])
    assert pod_spec(shipper())["securityContext"]["seLinuxOptions"] == scc["seLinuxContext"]["seLinuxOptions"]


def shipper() -> Manifest:
    return named(component("openshift"), "DaemonSet", "crisp-shipper")


@pytest.mark.parametrize("name", OVERLAYS)
def test_objects_match_the_custom_resource_definitions(name: str, shared: Path, tmp_path: Path) -> None:
    """Of ECK 2.11, Strimzi 0.51 and external-secrets 0.16; KEDA before 2.17 lacks one field: the README says so."""
    path = written(overlay(name), tmp_path / "built.yaml")
    command = [sys.executable, str(shared / "schemas" / "validate.py"), "--seed", str(path)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    assert [line for line in said.splitlines() if "spec.fallback" not in line] == []


@pytest.mark.parametrize("name", OVERLAYS)
def test_builds_pass_kubeconform(name: str, shared: Path, tmp_path: Path) -> None:
    program = directory() / "kubeconform"
    if not program.exists():
        pytest.skip("no kubeconform: `make k8s-binaries` builds it")
    location = f"{shared}/schemas/jsonschema/{{{{.Group}}}}/{{{{.ResourceKind}}}}_{{{{.ResourceAPIVersion}}}}.json"
    path = written(overlay(name), tmp_path / "built.yaml")
    command = [str(program), "-strict", "-summary", "-schema-location", location, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Skipped: 0" in ended.stdout


@pytest.mark.parametrize("name", COMPONENTS)
def test_every_component_describes_its_purpose(name: str) -> None:
    assert (DEPLOY / "components" / name / "kustomization.yaml").read_text().startswith("# ")
    assert f"`{name}`" in (DEPLOY / "README.md").read_text()


@pytest.mark.parametrize("path", generated.MADE, ids=lambda path: path.name)
def test_generated_manifests_are_up_to_date(path: Path) -> None:
    assert path.read_text() == generated.text(path), "run `make docs`"
