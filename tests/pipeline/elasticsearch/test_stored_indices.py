"""Documents that exist in another index than today's rules and settings select stay there, and are not doubled."""

from collections.abc import AsyncIterator

import pytest

from tests.pipeline.elasticsearch.scene import INDEX, OWNED, Scene, document_id, make_batch
from tests.support.fake_elasticsearch import Response

LATE = "logs-late"
ROUTED = "logs-infra.2026.11.24"
OTHER_DAY = "logs-2026.11.23"
SOURCE = {"@timestamp": "2026-11-24T09:42:30.000000001Z", "message": "one"}
PATH = "/_resolve/index/logs-*"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene()
    for name in (LATE, ROUTED, OTHER_DAY):
        scene.elasticsearch.add_index(name, meta=OWNED)
    yield scene
    await scene.client.close()


@pytest.mark.parametrize(
    ("before", "now"), [(ROUTED, INDEX), (INDEX, ROUTED), (INDEX, LATE), (ROUTED, LATE), (LATE, INDEX)]
)
async def test_document_in_another_index_is_not_indexed_twice(scene: Scene, before: str, now: str) -> None:
    scene.elasticsearch.indices[before].documents[document_id(0)] = (1, SOURCE)

    batch = await scene.indexer.keep_stored_indices(make_batch(SOURCE, SOURCE | {"message": "new"}, index=now))
    await scene.index(batch)

    assert list(scene.sources(before)) == [document_id(0)]
    assert list(scene.sources(now)) == [document_id(1)]
    assert (scene.count("created"), scene.count("duplicate")) == (1, 1)


async def test_document_in_its_own_index_stays_there_although_another_has_its_id(scene: Scene) -> None:
    for name in (INDEX, ROUTED):
        scene.elasticsearch.indices[name].documents[document_id(0)] = (1, SOURCE)

    batch = await scene.indexer.keep_stored_indices(make_batch(SOURCE))

    assert batch.indices == [INDEX]


async def test_counts_of_dropped_events_are_kept(scene: Scene) -> None:
    batch = make_batch(SOURCE, _0=7)
    batch.dropped["rule"] = 2
    kept = await scene.indexer.keep_stored_indices(batch)

    assert kept == batch


@pytest.mark.parametrize("index", [INDEX, LATE])
async def test_index_of_another_day_is_not_asked(scene: Scene, index: str) -> None:
    """A late document would be in an index of its own day."""
    await scene.indexer.keep_stored_indices(make_batch(SOURCE, index=index))

    (request,) = [request for request in scene.elasticsearch.requests if request.path == "/_mget"]
    assert OTHER_DAY.encode() not in request.body


@pytest.mark.parametrize("answer", [Response(503, {}), Response(200, {}), Response(200, {"indices": [{}]}), OSError()])
@pytest.mark.parametrize("path", [PATH, "/_mget"])
async def test_answer_of_another_form_is_asked_again(scene: Scene, path: str, answer: Response | OSError) -> None:
    scene.elasticsearch.indices[ROUTED].documents[document_id(0)] = (1, SOURCE)
    scene.elasticsearch.respond("GET" if path == PATH else "POST", path, *[answer] * 5)

    batch = await scene.indexer.keep_stored_indices(make_batch(SOURCE))

    assert batch.indices == [ROUTED]
    assert scene.indexer.failing_since is None
