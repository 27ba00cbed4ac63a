"""A document counts as searchable when a search returns it; no other response ends the worker."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from elasticsearch import AsyncElasticsearch

from pipeline.config.environment import load_settings
from pipeline.elasticsearch import freshness_probe
from pipeline.elasticsearch.freshness_probe import FreshnessProbe
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics


class FakeClient:
    """Responds to each request with the next of the bodies; repeats the last one."""

    def __init__(self, *bodies: Any) -> None:
        self._bodies = list(bodies)

    async def perform_request(self, *_: Any, **__: Any) -> Any:
        body = self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0]
        if isinstance(body, Exception):
            raise body
        return SimpleNamespace(body=body, meta=SimpleNamespace(status=200))


def outcome(*bodies: Any) -> str:
    metrics = Metrics(WORKER)
    probe = FreshnessProbe(
        RetryingClient(cast("AsyncElasticsearch", FakeClient(*bodies)), load_settings({}), metrics), metrics, 1.0
    )
    return asyncio.run(probe._search_until_visible("logs-2026.11.24", "one"))


@pytest.mark.parametrize(
    "response",
    [
        {},
        {"hits": {}},
        {"hits": {"total": 1}},
        {"hits": None},
        [],
        "",
        ValueError("media type"),
        RuntimeError("closed"),
    ],
)
def test_response_without_hits_does_not_make_the_document_searchable(response: Any) -> None:
    assert outcome(response, {"hits": {"total": {"value": 1}}}) == "found"


def test_document_without_a_hit_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness_probe, "TIMEOUT_SECONDS", 0.2)

    assert outcome({"hits": {"total": {"value": 0}}}, {"found": True}) == "timed_out"
