"""What Kustomize makes of overlays and components, and how to find one's way in it."""

import copy
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in DEPLOY.glob("components/*/kustomization.yaml"))
NAMESPACE = "logging"

# What a component builds on, in order; as the comment at its top says.
BUILDS_ON = {
    "es-tls": ("elasticsearch-eck", "kibana-eck"),
    "elasticsearch-large": ("elasticsearch-eck",),
    "external-secrets-v1beta1": ("external-secrets-aws",),
    "fleet-page": ("status-reader",),
    "fluent-bit-kafka": ("kafka-strimzi",),
    "kafka-three-brokers": ("kafka-strimzi",),
    "keda": ("kafka-strimzi",),
    "kibana-eck": ("elasticsearch-eck",),
    "stack-config-policy": ("elasticsearch-eck",),
}

Manifest = dict[str, Any]
Objects = list[Manifest]

needs_kubectl = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="no kubectl on the PATH: the manifests cannot be built here"
)


def kustomize(directory: Path) -> Objects:
    """Build a kustomization. Raises AssertionError with what kubectl said."""
    ended = subprocess.run(["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return [entry for entry in yaml.safe_load_all(ended.stdout) if entry]


@functools.cache
def _overlay(name: str) -> Objects:
    return kustomize(DEPLOY / "overlays" / name)


def overlay(name: str) -> Objects:
    """An overlay's objects; a copy of one's own."""
    return copy.deepcopy(_overlay(name))


@functools.cache
def _built(parts: tuple[str, ...]) -> Objects:
    with tempfile.TemporaryDirectory(prefix="crisp-kustomize-") as temporary:
        to = os.path.relpath(DEPLOY, Path(temporary).resolve())
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [f"{to}/base"],
            "components": [f"{to}/components/{part}" for part in parts],
            "images": [
                {"name": name, "newName": f"example.invalid/{name}", "newTag": "0.1.0"}
                for name in ("crisp-shipper", "crisp-worker")
            ],
        }
        Path(temporary, "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return kustomize(Path(temporary))


def together(*parts: str) -> Objects:
    """The objects of the base with components, in that order; a copy of one's own."""
    return copy.deepcopy(_built(parts))


def component(name: str) -> Objects:
    """The objects of the base with a component and what that builds on; a copy of one's own."""
    return together(*BUILDS_ON.get(name, ()), name)


def of_kind(objects: Objects, *kinds: str) -> Objects:
    """The objects of some kinds."""
    return [entry for entry in objects if entry["kind"] in kinds]


def named(objects: Objects, kind: str, name: str) -> Manifest:
    """The one object of a kind and name. Raises LookupError."""
    for entry in of_kind(objects, kind):
        if entry["metadata"]["name"] == name:
            return entry
    raise LookupError(f"{kind} {name}")


def title(entry: Manifest) -> str:
    """How a fault names an object."""
    return f"{entry['kind']} {entry['metadata']['name']}"


def workloads(objects: Objects) -> Objects:
    """What has a pod template of ours."""
    return of_kind(objects, "DaemonSet", "Deployment", "Job", "StatefulSet", "CronJob")


def pod_spec(workload: Manifest) -> Manifest:
    """The spec of a workload's pods."""
    spec: Manifest = workload["spec"]["template"]["spec"]
    return spec


def containers(workload: Manifest) -> Iterator[Manifest]:
    """A workload's containers, those that only begin too."""
    spec = pod_spec(workload)
    yield from (*spec.get("initContainers", ()), *spec["containers"])


def environment(objects: Objects, workload: Manifest) -> dict[str, str]:
    """What a workload's first container finds in its environment; not what Secrets hold."""
    found: dict[str, str] = {}
    container = pod_spec(workload)["containers"][0]
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            found |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for row in container.get("env", ()):
        found[row["name"]] = row.get("value", "<from elsewhere>")
    return found
