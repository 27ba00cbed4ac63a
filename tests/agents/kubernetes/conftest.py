"""A small API server, and the shipper's two ways to it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from pipeline.kubernetes import access
from tests.support import fake_kubernetes_api as kubernetes_api
from tests.support.fake_kubernetes_api import KubernetesApi

Start = Callable[[], PodWatch]


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    """An API server without pods."""
    with kubernetes_api.running(tmp_path) as server:
        yield server


@pytest.fixture(params=["in a pod", "by a kubeconfig"])
def settings(
    request: pytest.FixtureRequest, api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """The settings for either way to the API server."""
    if request.param == "by a kubeconfig":
        return Settings(kubeconfig=str(api.kubeconfig()), node_name="node-1", state_dir=str(tmp_path))
    monkeypatch.setattr(access, "SERVICE_ACCOUNT_DIRECTORY", api.service_account())
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", api.host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api.port))
    return Settings(node_name="node-1", state_dir=str(tmp_path))


@pytest.fixture
def start(settings: Settings) -> Iterator[Start]:
    """Starts watches of node-1."""
    started: list[PodWatch] = []

    def start() -> PodWatch:
        started.append(PodWatch(settings))
        started[-1].start()
        return started[-1]

    yield start
    for watch in started:
        watch.stop()
