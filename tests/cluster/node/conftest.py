"""A node for all tests of this folder; they run one after the other on it."""

from collections.abc import Iterator

import pytest

from tests.cluster.node import requirements
from tests.cluster.node.scene import Scene, running_scene


@pytest.fixture(scope="session")
def scene() -> Iterator[Scene]:
    """A node with crisp; skipped where none can be started."""
    problem = requirements.problem()
    if problem:
        pytest.skip(problem)
    with running_scene() as running:
        yield running
