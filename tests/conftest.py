"""One real Kafka and one real Elasticsearch for the whole test run, started when the first test uses them."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from agents.delivery import compression
from pipeline.local.stack import DEFAULT_VERSION, Stack, temporary_stack

# No test is timed: a shared machine is slow at times. In CI the same commit gives the same result each time; elsewhere
# every run tries new examples. `make unit` and `make coverage` try fewer (`--hypothesis-profile=quick`) than CI and
# `make test`. A test that needs more examples than others multiplies `settings().max_examples`, so that profiles apply
# to it too.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("untimed"), derandomize=True)
settings.register_profile("quick", settings.get_profile("untimed"), max_examples=25)
settings.load_profile("ci" if os.environ.get("CI") else "untimed")

INTEGRATION = Path(__file__).parent / "integration"
SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use servers: `-m "not servers"` is the fast half."""
    for item in items:
        uses_stack = isinstance(item, pytest.Function) and "stack" in item.fixturenames
        if uses_stack or INTEGRATION in item.path.parents:  # some of these start servers of their own
            item.add_marker(pytest.mark.servers)


@pytest.fixture(autouse=True)
def _restore_compression_levels() -> Iterator[None]:
    """Restore the codecs of aiokafka: a producer of the shipper sets their level for the process."""
    before = {encode: encode.__defaults__ for encode in compression.CODECS.values()}
    yield
    for encode, defaults in before.items():
        encode.__defaults__ = defaults


@pytest.fixture(autouse=True)
def _remove_log_handlers() -> Iterator[None]:
    """Remove the handler of a test that configured crisp's log: the standard error of that test is closed after it."""
    level = logging.root.level
    yield
    for handler in list(logging.root.handlers):
        if type(handler) is logging.StreamHandler:  # pytest's own are of other classes
            logging.root.removeHandler(handler)
    logging.root.setLevel(level)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The servers (`ES_VERSION` names another Elasticsearch); both are stopped after the last test, in any case."""
    with temporary_stack(os.environ.get("ES_VERSION", DEFAULT_VERSION)) as servers:
        yield servers


@pytest.fixture(scope="session")
def shared() -> Path:
    """Conformance cases and schemas next to the repository; tests that need them are skipped if they are missing."""
    if not SHARED.is_dir():
        pytest.skip("no ../shared next to the repository")
    return SHARED
