"""A bulk request is sent until its response is complete; what is too large is split."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from pipeline.elasticsearch.bulk_response import CREATED, Outcome
from pipeline.elasticsearch.bulk_sender import SPLIT_AFTER_TRIES, BulkSender
from pipeline.elasticsearch.rejections.fallback_document import fallback_document
from tests.pipeline.elasticsearch.scene import INDEX, Scene
from tests.support.fake_elasticsearch import DocumentError, Request, Response


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    scene = Scene(CRISP_BULK_CONCURRENCY="8")
    yield scene
    await scene.client.close()


def body(number: int, size: int = 10) -> bytes:
    lines = b'{"create":{"_index":"%b","_id":"%d"}}\n{"message":"%b"}\n'
    return b"".join(lines % (INDEX.encode(), index, b"x" * size) for index in range(number))


def sender(scene: Scene) -> BulkSender:
    return scene.indexer.bulk_sender


@pytest.mark.parametrize(
    "response",
    [
        Response(200, b'{"errors":false,"items":['),
        Response(200, {"errors": False, "items": []}),
        Response(200, {}),
        Response(404, {"error": "index_not_found_exception"}),
        Response(401, {}),
        Response(502, "bad gateway", content_type="text/plain"),
        TimeoutError(),
        ConnectionRefusedError(),
    ],
    ids=str,
)
async def test_incomplete_response_is_retried_until_a_complete_one(scene: Scene, response: Response) -> None:
    scene.elasticsearch.respond("POST", "/_bulk", response, response)

    assert await sender(scene).send(body(2), 2) == [CREATED, CREATED]
    assert len(scene.elasticsearch.bodies()) == 3
    assert scene.indexer.failing_since is None


async def test_body_that_is_too_large_is_sent_in_halves(scene: Scene) -> None:
    def respond(request: Request) -> Response:
        items = [{"create": {"status": 201}}] * request.body.count(b'"create"')
        return Response(413) if len(items) > 1 else Response(200, {"errors": False, "items": items})

    scene.elasticsearch.respond_always("POST", "/_bulk", respond)

    assert await sender(scene).send(body(5), 5) == [CREATED] * 5


async def test_document_that_is_too_large_is_rejected_with_a_type(scene: Scene) -> None:
    scene.elasticsearch.respond_always("POST", "/_bulk", Response(413))

    (result,) = await sender(scene).send(body(1), 1)

    assert result.outcome is Outcome.REJECTED
    assert b'"crisp.rejected.type":"content_too_large"' in fallback_document(b"{}", result.reason, indexed=True)


async def test_repeated_429_splits_a_body_but_not_a_single_document(scene: Scene) -> None:
    scene.elasticsearch.respond("POST", "/_bulk", *[Response(429)] * (SPLIT_AFTER_TRIES + 1 + SPLIT_AFTER_TRIES))

    assert await sender(scene).send(body(2), 2) == [CREATED, CREATED]

    counts = [request.count(b'"create"') for request in scene.elasticsearch.bodies()]
    assert counts[:SPLIT_AFTER_TRIES] == [2] * SPLIT_AFTER_TRIES
    assert set(counts[SPLIT_AFTER_TRIES:]) == {1}


@pytest.mark.parametrize("response", [Response(429), Response(503), TimeoutError()], ids=str)
async def test_overload_halves_the_limit(scene: Scene, response: Response) -> None:
    assert sender(scene).limit.allowed == 2
    scene.elasticsearch.respond("POST", "/_bulk", response)

    await sender(scene).send(body(1), 1)

    assert sender(scene).limit.allowed == 1


async def test_document_rejected_with_429_halves_the_limit_and_another_error_does_not(scene: Scene) -> None:
    scene.elasticsearch.document_error = lambda *_: DocumentError(503, "unavailable_shards_exception", "no primary")
    await sender(scene).send(body(1), 1)
    assert sender(scene).limit.allowed == 2

    scene.elasticsearch.document_error = lambda *_: DocumentError(429, "es_rejected_execution_exception", "full")
    (result,) = await sender(scene).send(body(1), 1)

    assert (result.outcome, sender(scene).limit.allowed) == (Outcome.RETRY, 1)


async def test_full_bodies_raise_the_limit_and_small_ones_do_not(scene: Scene) -> None:
    await sender(scene).send(body(1), 1)
    assert sender(scene).limit.allowed == 2

    large = body(3, scene.settings.bulk_max_bytes // 3)
    for _ in range(3):
        sender(scene).limit._fastest = 60.0  # whatever this machine needs is fast
        await sender(scene).send(large.replace(b'"_id":"', b'"_id":"%d-' % _), 3)

    assert sender(scene).limit.allowed >= 3


async def test_requests_are_counted_by_result(scene: Scene) -> None:
    scene.elasticsearch.respond("POST", "/_bulk", Response(503), Response(200, {}))

    await sender(scene).send(body(1), 1)

    counts = [
        scene.metrics.get("crisp_worker_bulk_requests", result=result)
        for result in ("error", "invalid_response", "success")
    ]
    assert counts == [1, 1, 1]


async def test_cancellation_ends_the_retries(scene: Scene) -> None:
    scene.elasticsearch.respond_always("POST", "/_bulk", Response(503))
    sending = asyncio.create_task(sender(scene).send(body(1), 1))
    await asyncio.sleep(0.02)

    sending.cancel()

    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_responses_are_counted_by_status_with_their_bytes_and_time(scene: Scene) -> None:
    item = {"create": {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "full"}}}
    answers = Response(429), TimeoutError(), ConnectionRefusedError()
    items = Response(200, {"errors": True, "items": [item, {"create": {"status": 201}}]})
    scene.elasticsearch.respond("POST", "/_bulk", *answers, items)
    await sender(scene).send(body(2), 2)

    statuses = scene.metrics.values_by_label("crisp_worker_bulk_responses", "status")
    seen = {name: number for name, number in statuses.items() if number}
    assert seen == {"429": 1, "timed_out": 1, "unreachable": 1, "200": 1}
    assert scene.metrics.get("crisp_worker_documents_throttled") == 2 + 1
    assert scene.metrics.get("crisp_worker_bulk_bytes") == 4 * len(body(2))
    assert sum(scene.metrics.buckets("crisp_worker_bulk_request_duration_seconds")) == 4
    assert scene.metrics.get("crisp_worker_bulk_requests_limit") >= 1
