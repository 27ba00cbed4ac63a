"""One real Kafka and one real Elasticsearch for the whole test run, started when the first test asks for them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from pipeline.local.stack import DEFAULT_VERSION, Stack, temporary_stack

# CI says the same of the same commit each time; elsewhere every run looks further.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The servers (`ES_VERSION` names another Elasticsearch); both are gone after the last test, whatever happens."""
    with temporary_stack(os.environ.get("ES_VERSION", DEFAULT_VERSION)) as servers:
        yield servers


@pytest.fixture(scope="session")
def shared() -> Path:
    """Conformance cases and schemas beside the repository; tests that need them are skipped without."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared beside the repository")
    return SHARED
