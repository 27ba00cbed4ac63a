"""Batches are sent in bulk requests and complete when each of their documents is."""

import asyncio
import time

import pytest

from pipeline import cancellation
from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.batch import DocumentBatch
from pipeline.monitoring.worker_status import ElasticsearchStatus
from tests.pipeline.elasticsearch.scene import INDEX, OWNED, Scene, document_id, make_batch, until
from tests.support.fake_elasticsearch import Request, Response


async def test_batches_that_fit_share_one_bulk_request() -> None:
    scene = Scene()
    batches = [make_batch({"message": "a"}), make_batch({"message": "b"}, {"message": "c"}, first=1)]

    await scene.index(*batches)

    assert [source["message"] for source in scene.sources().values()] == ["a", "b", "c"]
    assert len(scene.elasticsearch.bodies()) == 1
    assert scene.completed == batches
    assert (scene.count("created"), scene.metrics.get("crisp_worker_events")) == (3, 3)


async def test_batches_beyond_the_maximum_size_are_sent_separately() -> None:
    scene = Scene(CRISP_BULK_MAX_BYTES="65536")
    batches = [make_batch({"message": "x" * 40_000}, first=number) for number in range(3)]

    await scene.index(*batches)

    assert len(scene.elasticsearch.bodies()) == 3


async def test_batch_without_documents_completes_without_a_request() -> None:
    scene = Scene()
    batch = DocumentBatch()
    batch.dropped["probe"] = 2
    batch.hook_errors["hook"] = 1

    await scene.index(batch)

    assert scene.elasticsearch.bodies() == []
    assert scene.metrics.get("crisp_worker_events_dropped", rule="probe") == 2
    assert scene.metrics.get("crisp_worker_hook_errors", rule="hook") == 1


async def test_bulk_requests_in_flight_are_limited() -> None:
    scene = Scene(CRISP_BULK_CONCURRENCY="1", CRISP_BULK_MAX_BYTES="65536")
    seen: list[float] = []

    def observe(_: Request) -> Response:
        seen.append(scene.metrics.get("crisp_worker_bulk_requests_in_flight"))
        return Response(200, {"errors": False, "items": [{"create": {"status": 201}}]})

    scene.elasticsearch.respond_always("POST", "/_bulk", observe)
    await scene.index(*[make_batch({"message": "x" * 40_000}, first=number) for number in range(4)])

    assert seen == [1.0] * 4


async def test_documents_of_an_index_of_another_owner_go_to_the_replacement() -> None:
    scene = Scene()
    scene.elasticsearch.add_index("logs-2026.11.25")
    scene.elasticsearch.add_index("logs-crisp.2026.11.25", meta=OWNED)
    batch = make_batch({"message": "a"}, {"n": "x"}, index="logs-2026.11.25")
    scene.reject("n")

    await scene.index(batch)

    assert scene.sources("logs-2026.11.25") == {}
    stored = scene.sources("logs-crisp.2026.11.25")
    assert stored[document_id(0)] == {"message": "a"}
    assert stored[document_id(1)]["log.flags"] == ["safe_form"]


async def test_unavailable_server_is_shown_until_it_responds() -> None:
    scene = Scene()
    available = asyncio.Event()

    def respond(_: Request) -> Response:
        items = [{"create": {"status": 201}}]
        return Response(200, {"errors": False, "items": items}) if available.is_set() else Response(503)

    scene.elasticsearch.respond_always("POST", "/_bulk", respond)
    async with scene.running():
        scene.submit(make_batch({"message": "a"}))
        await until(lambda: scene.indexer.failing_since is not None)
        shown = scene.indexer.elasticsearch_status()
        assert "503" in scene.indexer.last_error
        available.set()
        await until(lambda: bool(scene.completed))

    assert shown != scene.indexer.elasticsearch_status()
    assert scene.indexer.failing_since is None


async def test_bulk_request_cancelled_unexpectedly_ends_the_indexer() -> None:
    scene = Scene()

    async def cancel(_: DeadLetter) -> None:
        raise asyncio.CancelledError

    scene.indexer.rejection_handler._send_dead_letter = cancel
    scene.submit(make_batch({"n": 1}))
    scene.reject("n", "crisp.rejected.type")

    with pytest.raises(ExceptionGroup) as raised:
        await scene.indexer.run()
    await scene.client.close()

    assert raised.group_contains(RuntimeError, match="cancelled unexpectedly")
    assert scene.completed == []


async def test_requested_cancellation_completes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    monkeypatch.setattr(cancellation, "was_requested", lambda: True)
    scene.elasticsearch.respond_always("POST", "/_bulk", Response(503, {}))

    async with scene.running():
        scene.submit(make_batch({"message": "a"}))
        await until(lambda: scene.indexer.failing_since is not None)

    assert scene.completed == []
    assert scene.sources(INDEX) == {}


async def test_failure_counts_from_the_last_good_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen server: the request times out a minute later, and has then waited for a minute."""
    scene = Scene()
    now = 500.0
    monkeypatch.setattr(time, "time", lambda: now)
    client = scene.indexer.retrying_client
    client.mark_healthy()
    statuses: list[ElasticsearchStatus] = []

    def hang(_: Request) -> Response:
        nonlocal now
        now += 11
        statuses.append(scene.indexer.elasticsearch_status())
        now += 49
        return Response(503)

    def answer(_: Request) -> Response:
        statuses.append(scene.indexer.elasticsearch_status())
        return Response(200, {})

    scene.elasticsearch.respond("GET", "/x", hang, answer)
    now = 1000.0  # idle until here

    await client.request_until(lambda response: response.body if response.status == 200 else None, "GET", "/x")

    waiting, failing = statuses
    assert (waiting.failing_since, waiting.last_error) == (1000.0, "no response yet")
    assert failing.failing_since == 1000.0
    assert "no response yet" not in failing.last_error
    assert scene.indexer.elasticsearch_status().failing_since is None
    await scene.client.close()
