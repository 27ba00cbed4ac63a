"""Read the stored documents that have the ids of documents which were not created."""

from collections.abc import Sequence
from functools import partial

import orjson

from pipeline.contract.json_types import JsonObject
from pipeline.documents.batch import Document
from pipeline.elasticsearch.rejections.stored_event import COMPARED_FIELDS
from pipeline.elasticsearch.requests import JSON, Response
from pipeline.elasticsearch.retrying_client import RetryingClient

MAX_DOCUMENTS = 500
MAX_BYTES = 2 * 1024 * 1024
"""Of the documents to compare, in one request: the stored ones are about as large."""
PATH = f"/_mget?_source_includes={','.join(COMPARED_FIELDS)}"

ABSENT: JsonObject = {}
"""In place of a document that does not exist (any more)."""


class StoredDocuments:
    """Reads stored documents by index and id, by real-time requests: also those that no search finds yet."""

    def __init__(self, client: RetryingClient) -> None:
        self._client = client

    async def read(self, documents: Sequence[Document]) -> list[JsonObject]:
        """Return the compared fields of each stored document; `ABSENT` if there is none. Retries until it succeeds."""
        stored: list[JsonObject] = []
        start = size = 0
        for number, document in enumerate(documents):
            if number > start and (number - start >= MAX_DOCUMENTS or size + len(document.source) > MAX_BYTES):
                stored += await self._request(documents[start:number])
                start, size = number, 0
            size += len(document.source)
        return stored + (await self._request(documents[start:]) if documents else [])

    async def _request(self, documents: Sequence[Document]) -> list[JsonObject]:
        body = {"docs": [{"_index": document.index, "_id": document.id} for document in documents]}
        read = partial(_read_documents, documents)
        if len(documents) > 1:
            # The stored documents of a large request may be more than a response can have: each one alone cannot.
            stored = read(await self._client.request("POST", PATH, orjson.dumps(body), JSON))
            if stored is not None:
                return stored
            half = len(documents) // 2
            return await self._request(documents[:half]) + await self._request(documents[half:])
        return await self._client.request_until(read, "POST", PATH, orjson.dumps(body))


def _read_documents(documents: Sequence[Document], response: Response) -> list[JsonObject] | None:
    """Return the sources in a response; None if it does not have the form of the request."""
    match response:
        case Response(200, {"docs": list(entries)}) if len(entries) == len(documents):
            stored = [_read_document(document, entry) for document, entry in zip(documents, entries, strict=True)]
            return None if None in stored else stored  # type: ignore[return-value] # mypy does not narrow the list
    return None


def _read_document(document: Document, entry: object) -> JsonObject | None:
    match entry:
        case {"_id": document.id, "found": True, "_source": dict(source)}:
            return source
        case {"_id": document.id, "found": False}:
            return ABSENT
        case {"_id": document.id, "error": {"type": "index_not_found_exception"}}:
            return ABSENT
    return None
