"""A flow for each fault, on the test run's servers: whoever breaks them mends them again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.stack import Stack
from tests.faults.scene import Scene


@pytest.fixture
def scene(stack: Stack, tmp_path: Path) -> Iterator[Scene]:
    """Shipper and worker running, lines to write, and the ledger that knows them."""
    made = Scene(stack, tmp_path)
    made.flow.set_up()
    yield made
    made.end()
