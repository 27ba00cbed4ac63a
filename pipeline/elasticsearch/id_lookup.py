"""Look up which documents are searchable: many ids at a time, over all indices of the prefix."""

import asyncio
from typing import NamedTuple

from elasticsearch import AsyncElasticsearch

from pipeline.backoff import Backoff
from pipeline.config.settings import IndexSettings
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import requests
from pipeline.elasticsearch.rejections.stored_event import COMPARED_FIELDS
from pipeline.errors import DocumentLookupError

MAX_IDS = 5000  # per search: with each id in two indices this is the limit of hits of one search
MAX_RETRIES = 5
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 8.0


class StoredDocument(NamedTuple):
    """A stored document: its index, and the fields that show of which event it is."""

    index_name: str
    fields: JsonObject


_FIELDS = [name for name in COMPARED_FIELDS if name != "message"]
"""Without the message, which an auditor's settings may make another than the worker's: it would look like a loss."""


def _source(hit: JsonObject) -> JsonObject:
    """Return the fields of a hit; a filtered response has no empty objects."""
    return requests.read_member(hit, dict, "_source") if "_source" in hit else {}


class DocumentLookup:
    """Queries one cluster. A partial response (a shard is down) is an error and never means "missing"."""

    def __init__(self, client: AsyncElasticsearch, settings: IndexSettings) -> None:
        self._client = client
        options = "ignore_unavailable=true&allow_partial_search_results=false"
        self._path = f"/{settings.index_prefix}-*/_search?{options}"

    async def find(self, ids: list[str]) -> dict[str, list[StoredDocument]]:
        """Return the searchable documents by id, for at most `MAX_IDS` ids. Raises DocumentLookupError."""
        body = {
            "size": 2 * len(ids),
            "_source": _FIELDS,
            "track_total_hits": False,
            "sort": ["_doc"],
            "query": {"constant_score": {"filter": {"ids": {"values": ids}}}},
        }
        hits = "hits.hits._id,hits.hits._index,hits.hits._source"
        response = await self._request(f"{self._path}&filter_path=timed_out,{hits}", body)
        if response.get("timed_out") is not False:
            raise DocumentLookupError(f"this is no response of Elasticsearch to a search: {str(response)[:200]}")
        documents: dict[str, list[StoredDocument]] = {}
        wanted = set(ids)
        for hit in (
            requests.read_hits(response, with_source=False) if "hits" in response else ()
        ):  # a filtered response has no empty lists
            if hit["_id"] not in wanted:
                raise DocumentLookupError(
                    f"this is no response of Elasticsearch to a search: it has {hit['_id'][:80]!r}"
                )
            documents.setdefault(hit["_id"], []).append(StoredDocument(hit["_index"], _source(hit)))
        return documents

    async def search(self, body: JsonObject) -> JsonObject:
        """Return the response to any search over the indices of the prefix. Raises DocumentLookupError."""
        return await self._request(self._path, body)

    async def _request(self, path: str, body: JsonObject) -> JsonObject:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        for _ in range(MAX_RETRIES):
            response = await requests.request(self._client, "POST", path, body)
            if response.status > 0 and response.status not in requests.OVERLOADED:
                break
            await asyncio.sleep(backoff.next_pause())
        else:
            response = await requests.request(self._client, "POST", path, body)
        if response.status != 200:
            raise DocumentLookupError(f"cannot query Elasticsearch: {requests.describe(response)}")
        return requests.read_member(response.body, dict)
