"""Documents and batches of them, between the builder and the body of a bulk request. Pure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from pipeline.contract.bundle import Part
from pipeline.contract.json_types import JsonObject
from pipeline.contract.record import IDENTITY_CHARACTERS, UNKNOWN_POSITION, Headers, KafkaPosition

BULK_OVERHEAD_BYTES = 64
"""About what a bulk body has per document in addition to id and source: the action line and the index."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document to index; `source` is its JSON on one line."""

    index: str
    id: str
    source: bytes

    def to_hit(self) -> JsonObject:
        """Return the document as a hit of a search response."""
        return {"_index": self.index, "_id": self.id, "_source": orjson.loads(self.source)}


@dataclass(slots=True)
class DocumentBatch:
    """The documents of one record, by columns: `indices`, `ids` and `sources`. Iterate for each as a `Document`.

    Columns, since an object per document would cost the worker more than a tenth of its time. `ids` are bytes as in
    JSON. `lengths` maps the number of a document of several lines to its raw bytes: if the document already exists,
    they show whether the stored one is shorter. `dropped` counts events by the rule that dropped them, `hook_errors`
    events by the rule whose hook failed, of which `hook_tracebacks` has one each. `origin` and `headers` are those of
    the raw record, for a dead letter. Of a bundle, `part_headers` are the headers of each part, by the identity of its
    files, and `invalid` the parts of which nothing more can be built, each with the reason. `traffic` has the raw lines
    and bytes by namespace and container; `metadata_missing` counts events of pods of which only the names are known.
    `size` is about the documents' bytes in a bulk body. The columns never change.
    """

    indices: list[str] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    sources: list[bytes] = field(default_factory=list)
    lengths: dict[int, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    hook_errors: Counter[str] = field(default_factory=Counter)
    hook_tracebacks: dict[str, str] = field(default_factory=dict)
    origin: KafkaPosition = UNKNOWN_POSITION
    headers: Headers = field(default_factory=list)
    part_headers: dict[str, Headers] = field(default_factory=dict)
    invalid: list[tuple[Part, str]] = field(default_factory=list)
    traffic: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    metadata_missing: int = 0
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.size = sum(map(len, self.sources)) + sum(map(len, self.ids)) + BULK_OVERHEAD_BYTES * len(self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, number: int) -> Document:
        return Document(self.indices[number], self.ids[number].decode(), self.sources[number])

    def __iter__(self) -> Iterator[Document]:
        return (
            Document(index, document_id.decode(), source)
            for index, document_id, source in zip(self.indices, self.ids, self.sources, strict=True)
        )

    def to_hits(self) -> list[JsonObject]:
        """Return the documents as hits of a search response."""
        return [document.to_hit() for document in self]

    def headers_of(self, document_id: str) -> Headers:
        """Return the headers of a document's record; of a bundle's document those of its part."""
        return self.part_headers.get(document_id[:IDENTITY_CHARACTERS], self.headers)

    def select(self, numbers: list[int]) -> "DocumentBatch":
        """Return a batch of the documents with these numbers, without counts."""
        return DocumentBatch(
            [self.indices[number] for number in numbers],
            [self.ids[number] for number in numbers],
            [self.sources[number] for number in numbers],
            {new: self.lengths[number] for new, number in enumerate(numbers) if number in self.lengths},
            origin=self.origin,
            headers=self.headers,
            part_headers=self.part_headers,
        )


def from_documents(documents: list[Document], origin: KafkaPosition, headers: Headers) -> DocumentBatch:
    """Return a batch of documents from any source: a special character in an id is escaped."""
    return DocumentBatch(
        [document.index for document in documents],
        [orjson.dumps(document.id)[1:-1] for document in documents],
        [document.source.replace(b"\n", b" ") for document in documents],
        origin=origin,
        headers=headers,
    )


def merge(batches: list[DocumentBatch]) -> DocumentBatch:
    """Merge several batches into one."""
    merged, start = DocumentBatch(), 0
    for batch in batches:
        if batch.lengths:
            merged.lengths |= {start + number: length for number, length in batch.lengths.items()}
        start += len(batch.ids)
        merged.indices += batch.indices
        merged.ids += batch.ids
        merged.sources += batch.sources
        if batch.dropped:
            merged.dropped.update(batch.dropped)
        if batch.hook_errors:
            merged.hook_errors.update(batch.hook_errors)
            merged.hook_tracebacks |= batch.hook_tracebacks
        if batch.part_headers:
            merged.part_headers |= batch.part_headers
        merged.invalid += batch.invalid
        for names, (lines, size) in batch.traffic.items():
            before = merged.traffic.get(names, (0, 0))
            merged.traffic[names] = before[0] + lines, before[1] + size
        merged.metadata_missing += batch.metadata_missing
        merged.size += batch.size
    return merged
