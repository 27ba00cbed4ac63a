"""Which documents are searchable: ids looked up over all indices of the prefix, many at a time."""

import asyncio
from typing import Any

from elastic_transport import TransportError
from elasticsearch import ApiError, AsyncElasticsearch

from pipeline.config.settings import Settings
from pipeline.errors import DocumentLookupError

MAX_IDS = 5000  # ids at a time: with every one of them in two indices it is what a search may return
MAX_TRIES = 6
PAUSE_SECONDS = 0.5
_JSON = {"content-type": "application/json", "accept": "application/json"}
_BUSY_STATUSES = (429, 502, 503, 504)


class DocumentLookup:
    """Asks one cluster. A part of the answer that is missing (a shard is down) is a fault, never "not there"."""

    def __init__(self, client: AsyncElasticsearch, settings: Settings) -> None:
        self._client = client
        options = (
            "ignore_unavailable=true&allow_partial_search_results=false&filter_path=hits.hits._id,hits.hits._index"
        )
        self._path = f"/{settings.index_prefix}-*/_search?{options}"

    async def find(self, ids: list[str]) -> dict[str, list[str]]:
        """The indices of each id that is searchable, `MOST` ids at most. Raises LookupFailure."""
        body = {
            "size": 2 * len(ids),
            "_source": False,
            "track_total_hits": False,
            "sort": ["_doc"],
            "query": {"constant_score": {"filter": {"ids": {"values": ids}}}},
        }
        found: dict[str, list[str]] = {}
        for hit in (await self._request(self._path, body)).get("hits", {}).get("hits", ()):
            found.setdefault(hit["_id"], []).append(hit["_index"])
        return found

    async def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to any search over the indices of the prefix. Raises LookupFailure."""
        return await self._request(self._path.partition("&filter_path")[0], body)

    async def _request(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        for again in range(MAX_TRIES):
            try:
                answer = await self._client.perform_request("POST", path, headers=_JSON, body=body)
            except ApiError as fault:
                trouble = f"status {fault.status_code}: {str(fault.body)[:300]}"
                if fault.status_code not in _BUSY_STATUSES:
                    break
            except TransportError as fault:
                trouble = str(fault)
            else:
                return dict(answer.body)
            await asyncio.sleep(PAUSE_SECONDS * 2**again)
        raise DocumentLookupError(f"Elasticsearch does not tell which documents are there: {trouble}")


def document_id(document: bytes) -> str:
    """The id in a bulk body's action line, which is ours: the last text in it."""
    return document[: document.index(b"\n")].rsplit(b'"', 2)[1].decode()
