"""The Argo CD applications are valid and sound; each check finds one place broken in them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy import argocd_checks as argocd
from tests.deploy.breaking import Break, Check, at
from tests.deploy.manifests import DEPLOY, Objects, kustomize, needs_kubectl
from tests.deploy.unsaid import unsaid

pytestmark = needs_kubectl

ECK = ("Application", "eck-operator")
CRISP = ("Application", "crisp")
WAVE = ("metadata", "annotations", "argocd.argoproj.io/sync-wave")


def applications() -> Objects:
    """The root, which is applied by hand, and what it brings."""
    return [yaml.safe_load((DEPLOY / "argocd" / "root.yaml").read_text()), *kustomize(DEPLOY / "argocd")]


def faults(check: Check, break_it: Break) -> list[str]:
    objects = applications()
    break_it(objects)
    return list(check(objects))


def test_applications_match_the_strict_schemas(shared: Path) -> None:
    paths = [str(DEPLOY / "argocd"), str(DEPLOY / "argocd" / "root.yaml")]
    command = [sys.executable, str(shared / "schemas" / "validate.py"), *paths]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("check", argocd.CHECKS)
def test_applications_pass_every_check(check: Callable[[Objects], Iterator[str]]) -> None:
    assert len(argocd.applications(applications())) == 5
    assert list(check(applications())) == []


BROKEN = [
    (argocd.project, at(*ECK, "spec", "project", to="default")),
    (argocd.project, at(*ECK, "spec", "source", "repoURL", to="https://charts.example.invalid")),
    (argocd.project, at(*ECK, "spec", "destination", "namespace", to="default")),
    (argocd.project, at("AppProject", "logging", "spec", "clusterResourceWhitelist", to=[])),
    (argocd.order, at("AppProject", "logging", *WAVE, to="5")),
    (argocd.order, at(*CRISP, *WAVE, to="0")),
    (argocd.keeping, at(*ECK, "metadata", "finalizers", to=["resources-finalizer.argocd.argoproj.io"])),
    (argocd.keeping, at(*CRISP, "metadata", "annotations", to={})),
    (argocd.charts, at("Application", "keda-operator", "spec", "source", "targetRevision", to="2.*")),
    (argocd.charts, at(*ECK, "spec", "source", "targetRevision", to="3.5.0")),
    (argocd.sources, at(*CRISP, "spec", "source", "path", to="deploy/overlays/test")),
    (argocd.sources, at(*CRISP, "spec", "source", "targetRevision", to="v0.0.9")),
    (argocd.scaling, at(*CRISP, "spec", "ignoreDifferences", to=[])),
    (argocd.scaling, at(*CRISP, "spec", "syncPolicy", "syncOptions", to=["ServerSideApply=true"])),
    (argocd.namespaces, at(*ECK, "spec", "destination", "namespace", to="operators")),
]


@pytest.mark.parametrize(("check", "break_it"), BROKEN)
def test_broken_objects_are_reported(check: Check, break_it: Break) -> None:
    assert faults(check, break_it) != []


def test_every_message_of_the_checks_is_provoked() -> None:
    assert {check for check, _ in BROKEN} == set(argocd.CHECKS)
    assert unsaid(argocd, {fault for check, break_it in BROKEN for fault in faults(check, break_it)}) == []
