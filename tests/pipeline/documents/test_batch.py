"""Batches hold documents by columns; selecting and merging keep each document's parts together."""

from collections import Counter

from pipeline.contract.record import KafkaPosition
from pipeline.documents import batch
from pipeline.documents.batch import Document, DocumentBatch

ORIGIN = KafkaPosition("logs-raw", 1, 2, 3)
HEADERS = [("v", b"1")]
DOCUMENTS = [
    Document("logs-2026.11.23", "AAAAAAAAAAAAAAAA-0000000001", b'{"message":"a"}'),
    Document("logs-2026.11.24", "AAAAAAAAAAAAAAAA-0000000002", b'{"message":"bb"}'),
    Document("logs-2026.11.24", "AAAAAAAAAAAAAAAA-0000000003", b'{"message":"ccc"}'),
]


def make_batch(documents: list[Document], **lengths: int) -> DocumentBatch:
    made = batch.from_documents(documents, ORIGIN, HEADERS)
    made.lengths.update({int(number.removeprefix("_")): length for number, length in lengths.items()})
    return made


def test_batch_yields_its_documents() -> None:
    made = make_batch(DOCUMENTS)

    assert list(made) == DOCUMENTS
    assert (len(made), made[1], bool(DocumentBatch())) == (3, DOCUMENTS[1], False)
    assert made.to_hits()[0] == {"_index": "logs-2026.11.23", "_id": DOCUMENTS[0].id, "_source": {"message": "a"}}


def test_size_covers_the_bulk_body() -> None:
    made = make_batch(DOCUMENTS)

    action = len('{"create":{"_index":"logs-2026.11.24","_id":""}}\n\n')
    exact = sum(action + len(document.id) + len(document.source) for document in made)
    assert exact <= made.size < exact + 32 * len(made)
    assert DocumentBatch().size == 0


def test_selected_documents_keep_lengths_and_origin() -> None:
    selected = make_batch(DOCUMENTS, _0=7, _2=9).select([1, 2])

    assert list(selected) == DOCUMENTS[1:]
    assert (selected.lengths, selected.origin, selected.headers) == ({1: 9}, ORIGIN, HEADERS)


def test_merged_batches_renumber_lengths_and_add_counts() -> None:
    one, two = make_batch(DOCUMENTS[:1], _0=7), make_batch(DOCUMENTS[1:], _1=9)
    one.dropped, two.dropped = Counter(probe=1), Counter(probe=2)
    one.hook_errors, two.hook_errors = Counter(hook=1), Counter()

    merged = batch.merge([one, two])

    assert list(merged) == DOCUMENTS
    assert (merged.lengths, merged.dropped, merged.hook_errors) == ({0: 7, 2: 9}, Counter(probe=3), Counter(hook=1))
    assert merged.size == one.size + two.size


def test_documents_of_others_cannot_break_the_lines_of_a_bulk_body() -> None:
    made = make_batch([Document("logs-a", 'quote"\n', b'{"a":\n1}')])

    assert made.ids == [b'quote\\"\\n']
    assert made.sources == [b'{"a": 1}']
