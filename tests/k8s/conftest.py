"""One API server for all tests that need nothing else of a control plane."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from pipeline.kubernetes import access
from tests.k8s.apiserver import ApiServer, running
from tests.k8s.pods import Start


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    """Whoever ends it starts it again."""
    with running(ApiServer) as server:
        for name in ("shop", "logging"):
            server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server


@pytest.fixture(params=["in a pod", "by a kubeconfig"])
def watching(
    request: pytest.FixtureRequest, api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Start]:
    """Starts a watch of node-1; by default as an administrator. In a pod: with the kubeconfig's server and token."""
    started: list[PodWatch] = []

    def start(kubeconfig: Path | None = None) -> PodWatch:
        path = kubeconfig or api.kubeconfig()
        if request.param == "in a pod":
            _enter_pod(json.loads(path.read_text()), tmp_path, monkeypatch)
        kubeconfig_setting = "" if request.param == "in a pod" else str(path)
        settings = Settings(kubeconfig=kubeconfig_setting, node_name="node-1", state_dir=str(tmp_path))
        started.append(PodWatch(settings))
        started[-1].start()
        return started[-1]

    yield start
    for watch in started:
        watch.stop()


def _enter_pod(config: dict[str, Any], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process what a pod has of the cluster and the user of a kubeconfig."""
    (cluster,), (user,) = config["clusters"], config["users"]
    for name in ("ca.crt", "token"):
        (directory / name).unlink(missing_ok=True)
    (directory / "ca.crt").symlink_to(cluster["cluster"]["certificate-authority"])
    if "tokenFile" in user["user"]:
        (directory / "token").symlink_to(user["user"]["tokenFile"])
    else:
        (directory / "token").write_text(user["user"]["token"])
    server = urlsplit(cluster["cluster"]["server"])
    monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", directory)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(server.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.port))
