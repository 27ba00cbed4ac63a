"""What Elasticsearch reports of the applications' fields: their types, ignored values, rejected documents."""

from elasticsearch import AsyncElasticsearch

from pipeline.config.settings import IndexSettings
from pipeline.contract.json_types import JsonObject
from pipeline.documents.container_fields import OWNER_KINDS, workload_of
from pipeline.elasticsearch import requests
from pipeline.operations.inspect.field_ledger import Report, field_of_reason

MAX_DOCUMENTS = 10_000
"""Elasticsearch's limit of hits of one search."""
_SOURCE = [
    "kubernetes.namespace",
    "kubernetes.pod.name",
    "service.name",
    "crisp.rejected.reason",
    *(f"kubernetes.{kind}.name" for kind in OWNER_KINDS),
]
_OPTIONS = "ignore_unavailable=true&allow_no_indices=true"


class IndexFields:
    """Queries the indices of the prefix. Every method raises CrispError when Elasticsearch cannot answer.

    `truncated`: more than `MAX_DOCUMENTS` documents matched, so that counts are lower bounds.
    """

    def __init__(self, client: AsyncElasticsearch, settings: IndexSettings, since: int, until: int | None) -> None:
        self._client = client
        self._pattern = f"{settings.index_prefix}-*"
        self.truncated = False
        self._time_range = {"gte": since, "format": "epoch_millis", **({"lt": until} if until else {})}

    async def types(self) -> dict[str, tuple[str, ...]]:
        """Return the types of every field; more than one if indices differ."""
        path = f"/{self._pattern}/_field_caps?{_OPTIONS}&fields=*"
        body = await requests.request_ok(self._client, "GET", path)
        requests.read_member(body, list, "indices")
        fields = requests.read_objects(requests.read_member(body, dict, "fields"))
        return {name: tuple(sorted(by_type)) for name, by_type in fields.items()}

    async def ignored(self) -> list[Report]:
        """Return the values that no query finds, as they are too long, or of another type than the field."""
        return [
            Report(name, workload_of(hit["_source"]), hit["_index"], hit["_id"])
            for hit in await self._hits("_ignored")
            for name in hit.get("_ignored", ())
            if isinstance(name, str)
        ]

    async def rejected(self) -> list[Report]:
        """Return the documents that were rejected and indexed in a fallback form."""
        return [
            Report(
                field_of_reason(str(hit["_source"].get("crisp.rejected.reason", ""))),
                workload_of(hit["_source"]),
                hit["_index"],
                hit["_id"],
            )
            for hit in await self._hits("crisp.rejected.type")
        ]

    async def _hits(self, name: str) -> list[JsonObject]:
        """Return the documents of the time range that have a field, the newest `MAX_DOCUMENTS`."""
        filters = [{"exists": {"field": name}}, {"range": {"event.created": self._time_range}}]
        body = {
            "size": MAX_DOCUMENTS,
            "track_total_hits": False,
            "query": {"bool": {"filter": filters}},
            "_source": _SOURCE,
            "sort": [{"event.created": {"order": "desc", "unmapped_type": "date_nanos"}}],
        }
        path = f"/{self._pattern}/_search?{_OPTIONS}&allow_partial_search_results=false"
        hits = requests.read_hits(await requests.request_ok(self._client, "POST", path, body))
        self.truncated = self.truncated or len(hits) == MAX_DOCUMENTS
        return hits
