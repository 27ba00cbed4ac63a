"""Fixtures of the fault suite: one flow per fault on the servers of the run, which each test must repair."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.local.stack import Stack
from tests.faults import results
from tests.faults.node import Node
from tests.faults.results import Row
from tests.faults.scene import Scene
from tests.integration.flow import Flow

SceneFactory = Callable[..., Scene]


@pytest.fixture
def row(request: pytest.FixtureRequest, stack: Stack) -> Iterator[Row]:
    """The row of this fault in the table of results."""
    fault, _, variant = request.node.name.removeprefix("test_").replace("_", " ").rstrip("]").partition("[")
    result = Row(f"{fault}: {variant.strip()}" if variant else fault, stack.address.es_version)
    yield result
    results.save(result)


@pytest.fixture
def make_scene(stack: Stack, tmp_path: Path, row: Row) -> Iterator[SceneFactory]:
    """Factory of the scene of a test, with its own settings."""
    scenes: list[Scene] = []

    def make(*, set_up: bool = True, **extra: str) -> Scene:
        scene = Scene(Flow(stack, tmp_path, **extra), tmp_path, row)
        scenes.append(scene)
        if set_up:
            scene.flow.set_up()
        return scene

    yield make
    for scene in scenes:
        scene.stop()
    for name in ("kafka", "elasticsearch"):  # a failed test may have left it killed
        if getattr(stack, name)._child.poll() is not None:
            getattr(stack, f"start_{name}")()
            getattr(stack, f"wait_{name}")()
        getattr(stack, name).resume()


@pytest.fixture
def scene(make_scene: SceneFactory) -> Scene:
    """Shipper and worker, with topics and templates, a log generator and its ledger."""
    return make_scene()


@pytest.fixture
def node(stack: Stack, tmp_path: Path) -> Iterator[Node]:
    """A shipper without a worker; the test creates its topics."""
    node = Node(stack, tmp_path)
    yield node
    node.stop()
