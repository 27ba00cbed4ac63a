"""Documents go only to indices that were created from crisp's template."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from pipeline.elasticsearch import index_guard, index_template
from pipeline.elasticsearch.index_guard import IndexResolver
from tests.pipeline.elasticsearch.scene import INDEX, OWNED, Scene, until
from tests.support.fake_elasticsearch import Response

NEW = "logs-2026.11.25"
FORBIDDEN = {"error": {"type": "security_exception", "reason": "unauthorized"}, "status": 403}
NO_INDEX = {"error": {"type": "index_not_found_exception", "reason": "no such index"}, "status": 404}


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(index_guard, "RETRY_SECONDS", 0.001)
    scene = Scene()
    yield scene
    await scene.client.close()


def resolver(scene: Scene) -> IndexResolver:
    return scene.indexer.index_resolver


def add_template(scene: Scene, meta: dict[str, Any] | None = None) -> None:
    name = index_template.template_for(NEW, scene.settings).name
    scene.elasticsearch.templates[name] = {"index_patterns": ["logs-20*"], "_meta": OWNED if meta is None else meta}


async def test_own_index_is_written_to(scene: Scene) -> None:
    assert await resolver(scene).resolve(INDEX) == INDEX


async def test_index_of_another_owner_is_replaced(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.elasticsearch.add_index(NEW)
    add_template(scene)

    assert await resolver(scene).resolve(NEW) == "logs-crisp.2026.11.25"
    assert f"index {NEW} is not crisp's" in caplog.text


async def test_missing_index_is_written_to_if_it_would_get_the_template(scene: Scene) -> None:
    add_template(scene)

    assert await resolver(scene).resolve(NEW) == NEW


async def test_missing_index_is_written_to_if_templates_may_not_be_read(scene: Scene) -> None:
    scene.elasticsearch.respond_always("GET", "/_index_template/*", Response(403, FORBIDDEN))

    assert await resolver(scene).resolve(NEW) == NEW


@pytest.mark.parametrize("meta", [None, {}], ids=["no template", "of another owner"])
async def test_indexing_waits_while_the_template_is_missing(scene: Scene, meta: dict[str, Any] | None) -> None:
    if meta is not None:
        add_template(scene, meta)
    resolving = asyncio.create_task(resolver(scene).resolve(NEW))
    await until(lambda: bool(resolver(scene).problem))
    assert "run `crisp setup`" in resolver(scene).problem
    assert scene.metrics.get("crisp_worker_index_template_missing") == 1

    add_template(scene)

    assert await resolving == NEW
    assert resolver(scene).problem == ""
    assert scene.metrics.get("crisp_worker_index_template_missing") == 0


async def test_resolved_index_keeps_the_problem_of_another_index(scene: Scene) -> None:
    resolving = asyncio.create_task(resolver(scene).resolve(NEW))
    await until(lambda: bool(resolver(scene).problem))
    lookups = len(scene.elasticsearch.requests)
    scene.elasticsearch.respond_always("GET", f"/{NEW}/_mapping", Response(503))  # its problem is not set again

    await until(lambda: len(scene.elasticsearch.requests) > lookups)
    await resolver(scene).resolve(INDEX)

    assert "run `crisp setup`" in resolver(scene).problem
    assert scene.metrics.get("crisp_worker_index_template_missing") == 1
    resolving.cancel()
    await asyncio.gather(resolving, return_exceptions=True)
    assert resolver(scene).problem == ""


async def test_problem_ends_when_templates_may_no_longer_be_read(scene: Scene) -> None:
    resolving = asyncio.create_task(resolver(scene).resolve(NEW))
    await until(lambda: bool(resolver(scene).problem))
    scene.elasticsearch.respond_always("GET", "/_index_template/*", Response(403, FORBIDDEN))

    assert await resolving == NEW
    assert resolver(scene).problem == ""
    assert scene.metrics.get("crisp_worker_index_template_missing") == 0


async def test_concurrent_requests_for_an_index_look_it_up_once(scene: Scene) -> None:
    await asyncio.gather(*[resolver(scene).resolve(INDEX) for _ in range(5)])
    await resolver(scene).resolve(INDEX)

    assert len([request for request in scene.elasticsearch.requests if request.target == INDEX]) == 1


async def test_index_is_looked_up_again_regularly(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_guard, "RECHECK_SECONDS", 0.0)
    await resolver(scene).resolve(INDEX)
    await resolver(scene).resolve(INDEX)

    assert len([request for request in scene.elasticsearch.requests if request.target == INDEX]) == 2


STRANGE_MAPPINGS = [
    Response(404, "not found", "text/html"),
    Response(404, {"error": "not found"}),
    Response(404, {"error": {"type": "not_found"}, "status": 404}),
    Response(404, {**NO_INDEX, "status": 200}),
    Response(200, {}),
    Response(200, []),
    Response(200, {"status": "ok"}),
    Response(200, {NEW: {}}),
    Response(200, {NEW: {"mappings": ["a"]}}),
    Response(200, b"<html>"),
    Response(302, {}),
]


@pytest.mark.parametrize("answer", STRANGE_MAPPINGS)
async def test_answer_of_a_proxy_about_an_index_is_not_believed(scene: Scene, answer: Response) -> None:
    add_template(scene)
    scene.elasticsearch.add_index(NEW)  # of another owner
    scene.elasticsearch.respond("GET", f"/{NEW}/_mapping", answer, answer)

    assert await resolver(scene).resolve(NEW) == "logs-crisp.2026.11.25"


STRANGE_TEMPLATES = [
    Response(404, {"error": {"type": "not_found"}, "status": 404}),
    Response(403, "forbidden", "text/html"),
    Response(403, {"message": "forbidden"}),
    Response(200, {"index_templates": []}),
    Response(200, {"index_templates": {"a": 1}}),
    Response(200, {"index_templates": ["a"]}),
    Response(200, {"index_templates": [{"name": "other", "index_template": {"_meta": OWNED}}]}),
    Response(200, {"index_templates": [{"name": "crisp-logs", "index_template": [1]}]}),
    Response(200, ["a"]),
]


@pytest.mark.parametrize("answer", STRANGE_TEMPLATES)
async def test_answer_of_a_proxy_about_a_template_is_not_believed(scene: Scene, answer: Response) -> None:
    add_template(scene)
    scene.elasticsearch.respond("GET", "/_index_template/*", answer, answer)

    assert await resolver(scene).resolve(NEW) == NEW
    assert len([request for request in scene.elasticsearch.requests if request.path.startswith("/_index_temp")]) == 3


async def test_index_deleted_and_created_again_without_the_template_is_detected(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_template(scene)
    assert await resolver(scene).resolve(INDEX) == INDEX

    scene.elasticsearch.add_index(INDEX)  # created by a document, without a template
    moment = time.monotonic() + index_guard.RECHECK_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: moment)

    assert await resolver(scene).resolve(INDEX) == "logs-crisp.2026.11.24"
    assert f"index {INDEX} is not crisp's" in caplog.text


async def test_new_index_is_looked_up_again_soon(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its template may be deleted before the first document creates it."""
    add_template(scene)
    assert await resolver(scene).resolve(NEW) == NEW

    scene.elasticsearch.add_index(NEW)
    moment = time.monotonic() + index_guard.RECHECK_NEW_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: moment)

    assert await resolver(scene).resolve(NEW) == "logs-crisp.2026.11.25"


async def test_indexing_waits_while_the_index_and_its_replacement_are_of_another_owner(scene: Scene) -> None:
    add_template(scene)
    scene.elasticsearch.add_index(NEW)
    replacement = scene.elasticsearch.add_index("logs-crisp.2026.11.25")
    resolving = asyncio.create_task(resolver(scene).resolve(NEW))
    await until(lambda: bool(resolver(scene).problem))
    assert "neither logs-2026.11.25 nor logs-crisp.2026.11.25" in resolver(scene).problem

    replacement.mappings["_meta"] = OWNED

    assert await resolving == "logs-crisp.2026.11.25"
    assert resolver(scene).problem == ""
