"""Look up which documents are searchable: many ids at a time, over all indices of the prefix."""

import asyncio

from elasticsearch import AsyncElasticsearch

from pipeline.backoff import Backoff
from pipeline.config.settings import IndexSettings
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import requests
from pipeline.errors import DocumentLookupError

MAX_IDS = 5000  # per search: with each id in two indices this is the limit of hits of one search
MAX_RETRIES = 5
FIRST_PAUSE_SECONDS = 0.5
MAX_PAUSE_SECONDS = 8.0
_BUSY_STATUSES = (429, 502, 503, 504)


class DocumentLookup:
    """Queries one cluster. A partial response (a shard is down) is an error and never means "missing"."""

    def __init__(self, client: AsyncElasticsearch, settings: IndexSettings) -> None:
        self._client = client
        options = (
            "ignore_unavailable=true&allow_partial_search_results=false&filter_path=hits.hits._id,hits.hits._index"
        )
        self._path = f"/{settings.index_prefix}-*/_search?{options}"

    async def find(self, ids: list[str]) -> dict[str, list[str]]:
        """Return the indices of each searchable id, for at most `MAX_IDS` ids. Raises DocumentLookupError."""
        body = {
            "size": 2 * len(ids),
            "_source": False,
            "track_total_hits": False,
            "sort": ["_doc"],
            "query": {"constant_score": {"filter": {"ids": {"values": ids}}}},
        }
        indices: dict[str, list[str]] = {}
        for hit in (await self._request(self._path, body)).get("hits", {}).get("hits", ()):
            indices.setdefault(hit["_id"], []).append(hit["_index"])
        return indices

    async def search(self, body: JsonObject) -> JsonObject:
        """Return the response to any search over the indices of the prefix. Raises DocumentLookupError."""
        return await self._request(self._path.partition("&filter_path")[0], body)

    async def _request(self, path: str, body: JsonObject) -> JsonObject:
        backoff = Backoff(FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS)
        for _ in range(MAX_RETRIES):
            response = await requests.request(self._client, "POST", path, body)
            if response.status > 0 and response.status not in _BUSY_STATUSES:
                break
            await asyncio.sleep(backoff.next_pause())
        else:
            response = await requests.request(self._client, "POST", path, body)
        if response.status != 200:
            raise DocumentLookupError(f"cannot query Elasticsearch: {requests.describe(response)}")
        return dict(response.body)
