"""Faults of the Argo CD applications: out of their project or of order, able to delete data; each check says them."""

from collections.abc import Iterator
from typing import Any

from tests.deploy.manifests import OVERLAYS, ROOT, Manifest, Objects, named, of_kind, overlay, title

APPLICATION_OPTIONS = "Prune=false,Delete=false"


def applications(objects: Objects) -> Objects:
    """The children; not the root, which is applied by hand and is of Argo CD's own project."""
    return [entry for entry in of_kind(objects, "Application") if entry["metadata"]["name"] != "crisp-root"]


def project(objects: Objects) -> Iterator[str]:
    """An application, or an object of its overlay, that the project does not let through."""
    spec = named(objects, "AppProject", "logging")["spec"]
    places = {row["namespace"] for row in spec["destinations"]}
    for entry in applications(objects):
        have: dict[str, Any] = entry["spec"]
        if have["project"] != "logging":
            yield f"{title(entry)}: is of project {have['project']}"
        if have["source"]["repoURL"] not in spec["sourceRepos"]:
            yield f"{title(entry)}: the project does not know {have['source']['repoURL']}"
        if have["destination"]["namespace"] not in places:
            yield f"{title(entry)}: the project may not go to {have['destination']['namespace']}"
    allowed = {(row["group"], row["kind"]) for row in spec["clusterResourceWhitelist"]}
    for name in OVERLAYS:
        for entry in overlay(name):
            kind = (entry["apiVersion"].rpartition("/")[0], entry["kind"])
            if "namespace" not in entry["metadata"] and kind not in allowed:
                yield f"overlay {name}, {title(entry)}: the project allows no such object of the cluster"


def order(objects: Objects) -> Iterator[str]:
    """Something applied before what it needs."""
    waves = {entry["metadata"]["name"]: _wave(entry) for entry in objects if entry["metadata"]["name"] != "crisp-root"}
    operators = [wave for name, wave in waves.items() if name not in {"logging", "crisp"}]
    if waves["logging"] >= min(operators):
        yield "AppProject logging: comes after what is of it"
    if waves["crisp"] <= max(operators):
        yield "Application crisp: comes before the operators that look after it"


def _wave(entry: Manifest) -> int:
    return int(entry["metadata"].get("annotations", {}).get("argocd.argoproj.io/sync-wave", 0))


def keeping(objects: Objects) -> Iterator[str]:
    """An application whose end would be the end of its objects: of operators' definitions, and so of the data."""
    for entry in of_kind(objects, "Application"):
        if "finalizers" in entry["metadata"]:
            yield f"{title(entry)}: its objects go with it"
    for entry in applications(objects):
        if entry["metadata"]["annotations"].get("argocd.argoproj.io/sync-options") != APPLICATION_OPTIONS:
            yield f"{title(entry)}: the root would delete it"


def charts(objects: Objects) -> Iterator[str]:
    """A version that is none, or one that was not tried."""
    for entry in of_kind(objects, "Application"):
        version = entry["spec"]["source"]["targetRevision"]
        if not version.lstrip("v")[:1].isdigit() or "*" in version:
            yield f"{title(entry)}: {version} is not one version"
    if named(objects, "Application", "eck-operator")["spec"]["source"]["targetRevision"] != "2.11.0":
        yield "Application eck-operator: is not the operator that these manifests were tried with"


def sources(objects: Objects) -> Iterator[str]:
    """A path that is not there; crisp from elsewhere than the root."""
    root = named(objects, "Application", "crisp-root")["spec"]["source"]
    for entry in of_kind(objects, "Application"):
        source = entry["spec"]["source"]
        if "path" in source and not (ROOT / source["path"] / "kustomization.yaml").exists():
            yield f"{title(entry)}: there is no {source['path']}"
        if "path" in source and (source["repoURL"], source["targetRevision"]) != (
            root["repoURL"],
            root["targetRevision"],
        ):
            yield f"{title(entry)}: is not of the root's repository and version"


def scaling(objects: Objects) -> Iterator[str]:
    """A number of workers that Argo CD would set back."""
    spec = named(objects, "Application", "crisp")["spec"]
    wanted = {"group": "apps", "kind": "Deployment", "name": "crisp-worker", "jsonPointers": ["/spec/replicas"]}
    if wanted not in spec.get("ignoreDifferences", ()):
        yield "Application crisp: sets the number of workers back"
    for option in ("RespectIgnoreDifferences=true", "ServerSideApply=true", "SkipDryRunOnMissingResource=true"):
        if option not in spec["syncPolicy"]["syncOptions"]:
            yield f"Application crisp: is synced without {option}"


def namespaces(objects: Objects) -> Iterator[str]:
    """An operator elsewhere than the network policies look for it."""
    peers = set(_strings(of_kind(overlay("prod"), "NetworkPolicy", "Kafka")))
    for name in ("eck-operator", "keda-operator"):
        where = named(objects, "Application", name)["spec"]["destination"]["namespace"]
        if where not in peers:
            yield f"Application {name}: no network policy lets namespace {where} in"


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _strings(part)
    elif isinstance(value, str):
        yield value


CHECKS = (project, order, keeping, charts, sources, scaling, namespaces)
