"""Fixtures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.stack import Stack
from tests.integration.flow import Flow


@pytest.fixture
def flow(stack: Stack, tmp_path: Path) -> Iterator[Flow]:
    """A flow after setup, with its own topics and indices."""
    flow = Flow(stack, tmp_path)
    flow.set_up()
    yield flow
    flow.stop()
