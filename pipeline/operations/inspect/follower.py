"""Follows documents as they become searchable: each poll reads the new documents of every shard.

A shard numbers its operations (`_seq_no`). Right after a refresh the visible numbers may have holes, while a slower
request is in progress. Therefore each poll starts where the poll before the last one ended, and skips documents that
were shown before.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from elasticsearch import AsyncElasticsearch

from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import requests
from pipeline.errors import ResponseError

PAGE_SIZE = 500
MAX_PAGES = 20
MAX_SHARDS = 1024
"""Elasticsearch's limit of shards of an index."""

Hit = JsonObject
"""One document of a search response."""


class Shard(NamedTuple):
    """A shard of an index."""

    index_name: str
    number: int


class _Cursor:
    """The `_seq_no` up to which a shard was read: `last` at the last poll, `previous` at the one before."""

    __slots__ = ("last", "previous", "shown")

    def __init__(self, position: int) -> None:
        self.previous = self.last = position
        self.shown: dict[int, None] = {}  # numbers above `previous` that were shown, in order


class Follower:
    """Polls the indices of a pattern. Every method raises CrispError when Elasticsearch is unavailable."""

    def __init__(self, client: AsyncElasticsearch, pattern: str, query: JsonObject) -> None:
        self._client = client
        self._pattern = pattern
        self._query = query
        self._cursors: dict[Shard, _Cursor] = {}

    async def start(self) -> None:
        """Start after the newest existing document of each shard."""
        for shard in await self._shards():
            self._cursors[shard] = _Cursor(await self._newest_seq_no(shard))

    async def unknown_fields(self, fields: Iterable[str]) -> list[str]:
        """Return those of the fields that no index has; none while there is no index, or they cannot be read."""
        wanted = [name for name in fields if "*" not in name]
        if not wanted:
            return []
        path = f"/{self._pattern}/_field_caps?ignore_unavailable=true&allow_no_indices=true&fields="
        response = await requests.request(self._client, "GET", f"{path}{quote(','.join(wanted), safe=',')}")
        if response.status != 200 or not isinstance(response.body, dict) or not response.body.get("indices"):
            return []  # only a hint depends on it
        return [name for name in wanted if name not in response.body.get("fields", {})]

    async def latest(self, number: int) -> list[Hit]:
        """Return the newest documents by time, in ascending order."""
        sort = [{"@timestamp": {"order": "desc", "unmapped_type": "date_nanos"}}]
        body = {"query": self._query, "size": number, "sort": sort}
        path = f"/{self._pattern}/_search?ignore_unavailable=true&allow_no_indices=true"
        hits = requests.read_hits(await requests.request_ok(self._client, "POST", path, body))
        return hits[::-1]

    async def poll(self) -> list[Hit]:
        """Return the documents that became searchable since, by time. New indices are read from their beginning."""
        hits: list[Hit] = []
        for shard in await self._shards():
            hits += await self._read(shard, self._cursors.setdefault(shard, _Cursor(-1)))
        return sorted(hits, key=_time_and_offset)

    async def _read(self, shard: Shard, cursor: _Cursor) -> list[Hit]:
        newest = await self._newest_seq_no(shard)
        if newest <= cursor.previous:
            return []
        hits: list[Hit] = []
        position = cursor.previous
        for _ in range(MAX_PAGES):
            page = await self._page(shard, position, newest)
            hits += [hit for hit in page if hit["sort"][0] not in cursor.shown]
            position = page[-1]["sort"][0] if page else position
            if len(page) < PAGE_SIZE:
                position = newest
                break
        cursor.shown |= dict.fromkeys(hit["sort"][0] for hit in hits)
        cursor.previous, cursor.last = min(cursor.last, position), position
        cursor.shown = {number: None for number in cursor.shown if number > cursor.previous}
        return hits

    async def _page(self, shard: Shard, after: int, newest: int) -> list[Hit]:
        window = {"range": {"_seq_no": {"gt": after, "lte": newest}}}
        body = {
            "query": {"bool": {"filter": [self._query, window]}},
            "size": PAGE_SIZE,
            "sort": [{"_seq_no": "asc"}],
            "track_total_hits": False,
        }
        hits = requests.read_hits(await self._search(shard, body))
        for hit in hits:
            _seq_no(hit)
        return hits

    async def _newest_seq_no(self, shard: Shard) -> int:
        body = {"size": 1, "sort": [{"_seq_no": "desc"}], "_source": False, "track_total_hits": False}
        hits = requests.read_hits(await self._search(shard, body), with_source=False)
        return _seq_no(hits[0]) if hits else -1

    async def _search(self, shard: Shard, body: JsonObject) -> Any:
        # Always the same copy of the shard: copies refresh at different times.
        path = f"/{shard.index_name}/_search?preference=_shards:{shard.number}%7Ccrisp&ignore_unavailable=true"
        return await requests.request_ok(self._client, "POST", path, body)

    async def _shards(self) -> list[Shard]:
        path = f"/{self._pattern}/_settings/index.number_of_shards?ignore_unavailable=true&allow_no_indices=true"
        response = await requests.request_ok(self._client, "GET", path)
        counts = {index: _number_of_shards(entry) for index, entry in requests.read_objects(response).items()}
        return [Shard(index, number) for index, count in sorted(counts.items()) for number in range(count)]


def _time_and_offset(hit: Hit) -> tuple[str, int]:
    time, offset = hit["_source"].get("@timestamp"), hit["_source"].get("log.offset")
    return str(time or ""), offset if isinstance(offset, int) else 0


def _seq_no(hit: Hit) -> int:
    """Return the number by which a hit is sorted. Raises ResponseError."""
    sort = requests.read_member(hit, list, "sort")
    return requests.read_member({"sort": sort[0] if sort else None}, int, "sort")


def _number_of_shards(entry: JsonObject) -> int:
    text = requests.read_member(entry, str, "settings", "index", "number_of_shards")
    if not text.isdecimal() or int(text) > MAX_SHARDS:
        raise ResponseError(f"the response is not Elasticsearch's: an index of {text[:20]!r} shards")
    return int(text)
