"""Find the documents that exist in another index than today's rules and settings select, by real-time requests.

After a crash between indexing and commit, records are processed again, possibly under other rules, routes or retention.
A document that exists already is sent to the index in which it stands, where it is handled as any existing document.
"""

from dataclasses import replace

import orjson

from pipeline.config.settings import IndexSettings
from pipeline.documents.batch import Document, DocumentBatch
from pipeline.elasticsearch.rejections.stored_documents import ABSENT, StoredDocuments
from pipeline.elasticsearch.requests import Response
from pipeline.elasticsearch.retrying_client import RetryingClient

_DAY = len("YYYY.MM.DD")


class StoredIndices:
    """Looks documents up in all indices of their day, and in the late one."""

    def __init__(self, client: RetryingClient, settings: IndexSettings) -> None:
        self._client = client
        self._prefix = settings.index_prefix
        self._late = f"{settings.index_prefix}-late"
        self._stored_documents = StoredDocuments(client)

    async def keep(self, batch: DocumentBatch) -> DocumentBatch:
        """Return the batch with each document that exists only elsewhere directed there. Retries until it succeeds."""
        if not batch:
            return batch
        path = f"/_resolve/index/{self._prefix}-*?expand_wildcards=open"
        names = await self._client.request_until(_read_names, "GET", path)
        candidates = [
            Document(name, document.id, document.source)
            for document in batch
            for name in self._candidates(document, names)
        ]
        indices: dict[str, str] = {}
        for document, source in zip(candidates, await self._stored_documents.read(candidates), strict=True):
            if source is not ABSENT:
                indices.setdefault(document.id, document.index)
        return replace(batch, indices=[indices.get(document.id, document.index) for document in batch])

    def _candidates(self, document: Document, names: list[str]) -> list[str]:
        """Return the existing indices that may have the document, its own first; none if there is no other."""
        day = document.index[-_DAY:] if document.index != self._late else _day(document.source)
        others = [name for name in names if name != document.index and (name == self._late or name.endswith(day))]
        return [name for name in names if name == document.index] + others if others else []


def _day(source: bytes) -> str:
    """Return the day that a late document's index would have: that of the runtime's time."""
    fields = orjson.loads(source)
    return str(fields.get("log.iotime") or fields["@timestamp"])[:_DAY].replace("-", ".")


def _read_names(response: Response) -> list[str] | None:
    """Return the names of the indices; None if the response does not have the form of the request."""
    match response:
        case Response(200, {"indices": list(entries), "aliases": list(), "data_streams": list()}):
            names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
            return None if not all(isinstance(name, str) for name in names) else [str(name) for name in names]
    return None
