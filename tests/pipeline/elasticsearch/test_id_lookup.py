"""Look-ups return the indices of documents; a busy or unreachable server is asked a few more times."""

from collections.abc import AsyncIterator

import orjson
import pytest

from pipeline.elasticsearch import id_lookup
from pipeline.elasticsearch.id_lookup import MAX_RETRIES, DocumentLookup, StoredDocument
from pipeline.errors import CrispError, DocumentLookupError
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
    assert await lookup(scene).find(["a", "b"]) == {"a": [StoredDocument(INDEX, {}), StoredDocument("logs-late", {})]}


STRANGE_ANSWERS = [
    Response(200, {}),
    Response(200, []),
    Response(200, "ok", "text/html"),
    Response(200, {"hits": []}),
    Response(200, {"timed_out": True}),
    Response(200, {"timed_out": False, "hits": {"hits": {"a": 1}}}),
    Response(200, {"timed_out": False, "hits": {"hits": ["a"]}}),
    Response(200, {"timed_out": False, "hits": {"hits": [{"_id": 1, "_index": "a"}]}}),
    Response(200, {"timed_out": False, "hits": {"hits": [{"_id": "a", "_index": "a", "_source": [1]}]}}),
]


@pytest.mark.parametrize("answer", STRANGE_ANSWERS)
async def test_answer_of_another_program_is_an_error(scene: Scene, answer: Response) -> None:
    scene.elasticsearch.respond_always(*SEARCH, Response(answer.status, orjson.dumps(answer.body), answer.content_type))

    with pytest.raises(CrispError, match="response"):
        await lookup(scene).find(["a"])


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
