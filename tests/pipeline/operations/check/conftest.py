"""A cluster of crisp at a small API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import fake_kubernetes_api
from tests.support.crisp_cluster import CrispCluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[CrispCluster]:
    """Two shippers and a worker, all well."""
    with fake_kubernetes_api.running(tmp_path) as api:
        yield CrispCluster(api)
