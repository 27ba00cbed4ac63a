"""Build the body of a bulk request: for each document an action line and its source. Pure.

Every action is `create`: a document that exists is never replaced.
"""

import io
from collections.abc import Iterable, Mapping
from itertools import chain, repeat

import orjson

from pipeline.documents.batch import Document, DocumentBatch

_AFTER_ID = b'"}}\n'


def encode_batches(batches: Iterable[DocumentBatch], targets: Mapping[str, str]) -> bytes:
    """Return the body for batches; `targets` maps each index of the documents to the index to write to."""
    prefixes = {index: _before_id(target) for index, target in targets.items()}
    body = io.BytesIO()  # cheaper than `join`, which allocates a buffer structure for every part
    for batch in batches:
        before_ids = map(prefixes.__getitem__, batch.indices)
        lines = zip(before_ids, batch.ids, repeat(_AFTER_ID), batch.sources, repeat(b"\n"))
        body.writelines(chain.from_iterable(lines))
    return body.getvalue()


def encode_documents(documents: Iterable[Document]) -> bytes:
    """Return the body for single documents, each for its own index."""
    return b"".join(
        b"%b%b%b%b\n" % (_before_id(document.index), orjson.dumps(document.id)[1:-1], _AFTER_ID, document.source)
        for document in documents
    )


def _before_id(index: str) -> bytes:
    return b'{"create":{"_index":%b,"_id":"' % orjson.dumps(index)
