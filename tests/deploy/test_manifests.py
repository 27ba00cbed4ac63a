"""Manifests, compose file and alerts: valid by their schemas, and true to the code's settings, ports and metrics."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from pipeline import metrics, settings
from pipeline.cli import COMMANDS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("overlays/*/kustomization.yaml"))
kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl to build the overlays with")


def objects(overlay: str) -> list[dict[str, Any]]:
    """An overlay's objects as kubectl builds them."""
    command = ["kubectl", "kustomize", str(DEPLOY / "overlays" / overlay)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [entry for entry in yaml.safe_load_all(built) if entry]


def containers(entry: dict[str, Any]) -> list[dict[str, Any]]:
    spec = entry.get("spec", {}).get("template", {}).get("spec", {})
    found: list[dict[str, Any]] = spec.get("containers", [])
    return found


@kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_schemas_of_kubernetes_hold(overlay: str, shared: Path) -> None:
    command = [sys.executable, str(shared / "schemas" / "validate.py"), str(DEPLOY / "overlays" / overlay)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_schemas_of_the_prometheus_operator_hold(shared: Path) -> None:
    path = DEPLOY / "components" / "monitoring" / "monitoring.yaml"
    command = [sys.executable, str(shared / "schemas" / "validate.py"), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_compose_file_is_valid(shared: Path) -> None:
    schema = json.loads((shared / "schemas" / "compose" / "compose-spec.json").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())

    jsonschema.validate(compose, schema)


@kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_containers_are_confined(overlay: str) -> None:
    found = [container for entry in objects(overlay) for container in containers(entry)]

    assert len(found) == 3
    for container in found:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        assert "memory" in container["resources"]["limits"]
        assert container["args"][0] in COMMANDS


@kubectl
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_setting_named_is_one(overlay: str) -> None:
    environ: dict[str, str] = {}
    for entry in objects(overlay):
        if entry["kind"] == "ConfigMap":
            environ |= entry["data"]
        for container in containers(entry):
            environ |= {row["name"]: row.get("value", "x") for row in container.get("env", ())}
            for port in container.get("ports", ()):
                assert str(port["containerPort"]) in environ.values()

    assert settings.load(environ).kafka_brokers != settings.Settings().kafka_brokers


def test_every_setting_in_the_compose_file_is_one() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for name in ("setup", "worker", "shipper"):
        settings.load(compose["services"][name]["environment"])


def test_every_metric_in_an_alert_is_in_the_table() -> None:
    text = (DEPLOY / "components" / "monitoring" / "monitoring.yaml").read_text()
    named = {name.removesuffix("_total") for name in re.findall(r"crisp_(?:worker|shipper)_[a-z_]+", text)}

    assert len(named) >= 5
    assert named <= {row.name for row in (*metrics.WORKER, *metrics.SHIPPER)}
