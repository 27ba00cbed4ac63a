"""One API server for all tests that need nothing else of a control plane."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.kubernetes.pod_watch import PodWatch
from pipeline.config.settings import Settings
from tests.k8s.apiserver import ApiServer, running
from tests.k8s.pods import Start


@pytest.fixture(scope="session")
def api() -> Iterator[ApiServer]:
    """Whoever ends it starts it again."""
    with running(ApiServer) as server:
        for name in ("shop", "logging"):
            server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        yield server


@pytest.fixture
def watching(api: ApiServer, tmp_path: Path) -> Iterator[Start]:
    """Starts a watch of node-1; by default as an administrator."""
    started: list[PodWatch] = []

    def start(kubeconfig: Path | None = None) -> PodWatch:
        path = str(kubeconfig or api.kubeconfig())
        started.append(PodWatch(Settings(kubeconfig=path, node_name="node-1", state_dir=str(tmp_path))))
        started[-1].start()
        return started[-1]

    yield start
    for watch in started:
        watch.stop()
