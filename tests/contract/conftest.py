"""The same tests on the fakes of tests/support, and on real servers (marked `servers`)."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest
from elasticsearch import AsyncElasticsearch

from pipeline.config.environment import load_settings
from pipeline.config.settings import Settings
from pipeline.elasticsearch import client
from pipeline.local.stack import Stack
from tests.support.fake_elasticsearch import FakeElasticsearch
from tests.support.fake_kafka import FakeKafka

KINDS = ["fake", pytest.param("server", marks=pytest.mark.servers)]


@pytest.fixture(params=KINDS)
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a flow with its own topics and indices, on fakes or on servers."""
    name = f"c{uuid.uuid4().hex[:8]}"
    if request.param == "fake":
        FakeKafka(monkeypatch)
        FakeElasticsearch().install(monkeypatch)
        servers = {}
    else:
        stack: Stack = request.getfixturevalue("stack")
        servers = stack.environment
    return {
        **servers,
        "CRISP_TOPIC_RAW": f"{name}-raw",
        "CRISP_TOPIC_DEAD": f"{name}-dead",
        "CRISP_TOPIC_PARTITIONS": "2",
        "CRISP_KAFKA_GROUP": name,
        "CRISP_INDEX_PREFIX": name,
        "CRISP_RETRY_MAX_SECONDS": "0.2",
    }


@pytest.fixture
def flow_settings(environment: dict[str, str]) -> Settings:
    """The settings of that flow."""
    return load_settings(environment)


@pytest.fixture
async def elasticsearch(flow_settings: Settings) -> AsyncIterator[AsyncElasticsearch]:
    """A client."""
    connected = client.connect(flow_settings)
    yield connected
    await connected.close()
    await asyncio.sleep(0)
