"""A flow for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.local.stack import Stack
from tests.integration.flow import Flow


@pytest.fixture
def flow(stack: Stack, tmp_path: Path) -> Iterator[Flow]:
    """Topics and indices of its own, set up."""
    made = Flow(stack, tmp_path)
    made.set_up()
    yield made
    made.stop()
