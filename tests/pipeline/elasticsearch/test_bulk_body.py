"""A bulk body has an action line and a source line for each document, for the index that is written to."""

import orjson

from pipeline.contract.record import UNKNOWN_POSITION
from pipeline.documents.batch import Document, from_documents
from pipeline.elasticsearch import bulk_body

DOCUMENTS = [
    Document("logs-2026.11.24", "AAAAAAAAAAAAAAAA-0000000001", b'{"message":"a"}'),
    Document("logs-late", "AAAAAAAAAAAAAAAA-0000000002", b'{"message":"b"}'),
]


def test_batches_go_to_the_target_of_their_index() -> None:
    batches = [from_documents([document], UNKNOWN_POSITION, []) for document in DOCUMENTS]
    targets = {"logs-2026.11.24": "logs-crisp.2026.11.24", "logs-late": "logs-late"}

    assert bulk_body.encode_batches(batches, targets) == (
        b'{"create":{"_index":"logs-crisp.2026.11.24","_id":"AAAAAAAAAAAAAAAA-0000000001"}}\n{"message":"a"}\n'
        b'{"create":{"_index":"logs-late","_id":"AAAAAAAAAAAAAAAA-0000000002"}}\n{"message":"b"}\n'
    )


def test_single_documents_have_the_same_lines_as_batches() -> None:
    batch = from_documents(DOCUMENTS, UNKNOWN_POSITION, [])
    targets = {document.index: document.index for document in DOCUMENTS}

    assert bulk_body.encode_documents(DOCUMENTS) == bulk_body.encode_batches([batch], targets)


def test_special_characters_are_escaped() -> None:
    document = Document('logs-"', 'a"\n', b"{}")

    action = bulk_body.encode_documents([document]).split(b"\n")[0]

    assert orjson.loads(action) == {"create": {"_index": 'logs-"', "_id": 'a"\n'}}
