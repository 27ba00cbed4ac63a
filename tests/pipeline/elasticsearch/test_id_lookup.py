"""Look-ups return the indices of documents; a busy or unreachable server is asked a few more times."""

from collections.abc import AsyncIterator

import pytest

from pipeline.elasticsearch import id_lookup
from pipeline.elasticsearch.id_lookup import MAX_RETRIES, DocumentLookup
from pipeline.errors import DocumentLookupError
from tests.pipeline.elasticsearch.scene import INDEX, Scene
from tests.support.fake_elasticsearch import Response

SEARCH = ("POST", "/logs-*/_search")


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(id_lookup, "FIRST_PAUSE_SECONDS", 0.0)
    scene = Scene()
    scene.elasticsearch.add_document(INDEX, "a", {})
    scene.elasticsearch.add_document("logs-late", "a", {})
    yield scene
    await scene.client.close()


def lookup(scene: Scene) -> DocumentLookup:
    return DocumentLookup(scene.client, scene.settings)


async def test_indices_of_existing_documents_are_returned(scene: Scene) -> None:
    assert await lookup(scene).find(["a", "b"]) == {"a": [INDEX, "logs-late"]}


@pytest.mark.parametrize("response", [Response(429), Response(503), TimeoutError(), ConnectionRefusedError()], ids=str)
async def test_busy_or_unreachable_server_is_retried(scene: Scene, response: Response) -> None:
    scene.elasticsearch.respond(*SEARCH, *[response] * MAX_RETRIES)

    assert "a" in await lookup(scene).find(["a"])


async def test_server_that_stays_busy_is_an_error(scene: Scene) -> None:
    scene.elasticsearch.respond_always(*SEARCH, Response(503))

    with pytest.raises(DocumentLookupError, match="cannot query Elasticsearch: status 503"):
        await lookup(scene).find(["a"])
    assert len(scene.elasticsearch.requests) == MAX_RETRIES + 1


async def test_other_errors_are_not_retried(scene: Scene) -> None:
    scene.elasticsearch.respond_always(*SEARCH, Response(403))

    with pytest.raises(DocumentLookupError, match="status 403"):
        await lookup(scene).search({"size": 0})
    assert len(scene.elasticsearch.requests) == 1
