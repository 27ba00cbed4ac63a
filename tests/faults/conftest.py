"""A flow for each fault, on the test run's servers: whoever breaks them mends them again."""

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
    """This fault's row in the table of results."""
    fault, _, variant = request.node.name.removeprefix("test_").replace("_", " ").rstrip("]").partition("[")
    made = Row(f"{fault}: {variant.strip()}" if variant else fault, stack.address.es_version)
    yield made
    results.save(made)


@pytest.fixture
def make_scene(stack: Stack, tmp_path: Path, row: Row) -> Iterator[SceneFactory]:
    """Makes the one scene of a test, with settings of its own."""
    made: list[Scene] = []

    def make(*, set_up: bool = True, **extra: str) -> Scene:
        scene = Scene(Flow(stack, tmp_path, **extra), tmp_path, row)
        made.append(scene)
        if set_up:
            scene.flow.set_up()
        return scene

    yield make
    for scene in made:
        scene.stop()
    for name in ("kafka", "elasticsearch"):  # a test that failed may have left it killed
        if getattr(stack, name)._child.poll() is not None:
            getattr(stack, f"start_{name}")()
            getattr(stack, f"wait_{name}")()
        getattr(stack, name).resume()


@pytest.fixture
def scene(make_scene: SceneFactory) -> Scene:
    """Shipper and worker, set up; lines to write, and the ledger that knows them."""
    return make_scene()


@pytest.fixture
def node(stack: Stack, tmp_path: Path) -> Iterator[Node]:
    """A shipper alone; its topics are the test's to make."""
    made = Node(stack, tmp_path)
    yield made
    made.stop()
