"""What the packages rely on in Elasticsearch, on the fake and on a server."""

import pytest
from elasticsearch import ApiError, AsyncElasticsearch, NotFoundError

from pipeline.config.settings import Settings
from pipeline.documents.batch import Document
from pipeline.elasticsearch.bulk_response import CREATED, EXISTS, Outcome
from pipeline.elasticsearch.bulk_sender import BulkSender
from pipeline.elasticsearch.id_lookup import DocumentLookup
from pipeline.elasticsearch.index_guard import IndexResolver
from pipeline.elasticsearch.rejections.stored_documents import ABSENT, StoredDocuments
from pipeline.elasticsearch.retrying_client import RetryingClient
from pipeline.monitoring.metric_table import WORKER
from pipeline.monitoring.metrics import Metrics
from pipeline.operations.check.elasticsearch import ElasticsearchCheck
from pipeline.operations.check.finding import FAILED
from pipeline.operations.inspect.follower import Follower
from pipeline.operations.inspect.trace import DocumentTracer
from pipeline.operations.setup.index_templates import IndexSetup

JSON = {"accept": "application/json", "content-type": "application/json"}


def bulk_body(index: str, *ids: str) -> bytes:
    return b"".join(
        b'{"create":{"_index":"%b","_id":"%b"}}\n{"@timestamp":"2026-11-24T10:00:0%d.000Z","message":"one two"}\n'
        % (index.encode(), document_id.encode(), number)
        for number, document_id in enumerate(ids)
    )


@pytest.fixture
def index(flow_settings: Settings) -> str:
    return f"{flow_settings.index_prefix}-2026.11.24"


@pytest.fixture
def sender(elasticsearch: AsyncElasticsearch, flow_settings: Settings) -> BulkSender:
    metrics = Metrics(WORKER)
    return BulkSender(RetryingClient(elasticsearch, flow_settings, metrics), flow_settings, metrics)


async def refresh(client: AsyncElasticsearch, index: str) -> None:
    await client.perform_request("POST", f"/{index}/_refresh", headers=JSON)


async def test_document_is_created_once(sender: BulkSender, index: str) -> None:
    assert await sender.send(bulk_body(index, "a", "b"), 2) == [CREATED, CREATED]
    assert await sender.send(bulk_body(index, "b", "c"), 2) == [EXISTS, CREATED]


async def test_bulk_body_of_other_documents_has_a_result_for_each(sender: BulkSender, index: str) -> None:
    body = (
        bulk_body(index, "a") + b'{"create":{"_index":"%b","_id":"b"}}\n{"@timestamp":{"no":"time"}}\n' % index.encode()
    )

    results = await sender.send(body, 2)

    assert results[0] == CREATED
    assert results[1].outcome in (Outcome.REJECTED, Outcome.CREATED)  # the fake has no field types


async def test_ids_are_found_after_a_refresh(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str, flow_settings: Settings
) -> None:
    await sender.send(bulk_body(index, "a", "b"), 2)
    await refresh(elasticsearch, index)

    found = await DocumentLookup(elasticsearch, flow_settings).find(["a", "c"])
    assert {key: [stored.index_name for stored in entries] for key, entries in found.items()} == {"a": [index]}


async def test_ids_without_an_index_are_not_found(elasticsearch: AsyncElasticsearch, flow_settings: Settings) -> None:
    assert await DocumentLookup(elasticsearch, flow_settings).find(["a"]) == {}


async def test_unknown_query_is_an_error_of_the_request(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str
) -> None:
    await sender.send(bulk_body(index, "a"), 1)

    with pytest.raises(ApiError) as raised:
        await elasticsearch.perform_request("POST", f"/{index}/_search", headers=JSON, body={"query": {"no_such": {}}})

    assert raised.value.status_code == 400


async def test_stored_document_is_read_by_its_id(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str
) -> None:
    await sender.send(bulk_body(index, "a"), 1)
    headers = {"accept": "application/json"}

    response = await elasticsearch.perform_request("GET", f"/{index}/_doc/a?_source_includes=message", headers=headers)
    with pytest.raises(NotFoundError) as missing:
        await elasticsearch.perform_request("GET", f"/{index}/_doc/b", headers=headers)

    assert response.body["_source"] == {"message": "one two"}
    assert missing.value.body["found"] is False


async def test_several_documents_are_read_by_their_ids(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str
) -> None:
    await sender.send(bulk_body(index, "a"), 1)

    body = {"docs": [{"_index": index, "_id": "a"}, {"_index": index, "_id": "b"}]}
    response = await elasticsearch.perform_request("POST", "/_mget", headers=JSON, body=body)

    assert [entry["found"] for entry in response.body["docs"]] == [True, False]


async def test_stored_documents_are_read_to_be_compared(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str, flow_settings: Settings
) -> None:
    await sender.send(bulk_body(index, "a"), 1)
    client = RetryingClient(elasticsearch, flow_settings, Metrics(WORKER))
    places = [(index, "a"), (index, "b"), (f"{index}-none", "a")]

    stored = await StoredDocuments(client).read([Document(name, key, b"{}") for name, key in places])

    assert stored[0]["message"] == "one two"
    assert stored[1:] == [ABSENT, ABSENT]


async def test_mapping_of_missing_index_is_not_found(elasticsearch: AsyncElasticsearch, index: str) -> None:
    with pytest.raises(NotFoundError) as raised:
        await elasticsearch.perform_request("GET", f"/{index}/_mapping", headers={"accept": "application/json"})

    assert raised.value.body["error"]["type"] == "index_not_found_exception"


async def test_setup_that_is_repeated_changes_nothing(
    elasticsearch: AsyncElasticsearch, flow_settings: Settings
) -> None:
    first = await IndexSetup(elasticsearch, flow_settings).run()
    second = await IndexSetup(elasticsearch, flow_settings).run()

    assert any("created" in message for message in first)
    assert not [message for message in second if "template" in message and "up to date" not in message]


async def test_checks_succeed_after_setup(elasticsearch: AsyncElasticsearch, flow_settings: Settings) -> None:
    await IndexSetup(elasticsearch, flow_settings).run()

    results = await ElasticsearchCheck(flow_settings, elasticsearch).run()

    assert not [result for result in results if result.status == FAILED]


async def test_new_index_is_written_to_after_setup(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str, flow_settings: Settings
) -> None:
    await IndexSetup(elasticsearch, flow_settings).run()
    metrics = Metrics(WORKER)
    resolver = IndexResolver(
        flow_settings, RetryingClient(elasticsearch, flow_settings, metrics).request_until, metrics
    )

    resolved_before = await resolver.resolve(index)
    await sender.send(bulk_body(index, "a"), 1)
    resolver = IndexResolver(
        flow_settings, RetryingClient(elasticsearch, flow_settings, metrics).request_until, metrics
    )

    assert [resolved_before, await resolver.resolve(index)] == [index, index]


async def test_index_of_another_owner_is_replaced(
    elasticsearch: AsyncElasticsearch, index: str, flow_settings: Settings
) -> None:
    await elasticsearch.perform_request("PUT", f"/{index}", headers=JSON, body={"mappings": {}})
    await IndexSetup(elasticsearch, flow_settings).run()
    metrics = Metrics(WORKER)
    resolver = IndexResolver(
        flow_settings, RetryingClient(elasticsearch, flow_settings, metrics).request_until, metrics
    )

    assert await resolver.resolve(index) == f"{flow_settings.index_prefix}-crisp.2026.11.24"


async def test_followed_documents_are_shown_once(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str, flow_settings: Settings
) -> None:
    await sender.send(bulk_body(index, "a"), 1)
    await refresh(elasticsearch, index)
    follower = Follower(elasticsearch, f"{flow_settings.index_prefix}-*", {"match_all": {}})
    await follower.start()
    await sender.send(bulk_body(index, "b", "c"), 2)
    await refresh(elasticsearch, index)

    polls = [[hit["_id"] for hit in await follower.poll()] for _ in range(2)]

    assert polls == [["b", "c"], []]
    assert [hit["_id"] for hit in await follower.latest(2)] in (["a", "c"], ["b", "c"])


async def test_traced_document_has_its_source(
    elasticsearch: AsyncElasticsearch, sender: BulkSender, index: str, flow_settings: Settings
) -> None:
    await sender.send(bulk_body(index, "a"), 1)
    await refresh(elasticsearch, index)
    tracer = DocumentTracer(flow_settings, elasticsearch)

    hit = await tracer.find_document("a")

    assert hit is not None
    assert hit["_source"]["message"] == "one two"
    assert await tracer.find_document("b") is None
