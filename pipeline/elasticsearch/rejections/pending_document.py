"""A document that was not created at once: its original form, then its fallback forms. Pure."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import orjson

from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.json_types import JsonObject
from pipeline.documents.batch import Document, DocumentBatch
from pipeline.elasticsearch.bulk_response import ItemResult, Outcome
from pipeline.elasticsearch.rejections import stored_event
from pipeline.elasticsearch.rejections.fallback_document import fallback_document
from pipeline.elasticsearch.rejections.stored_event import Comparison

EXTENDED_MARK = "~"
CANARY_ID = "crisp-canary"


class Stage(enum.Flag):
    """What happened to a document so far."""

    ORIGINAL = 0
    RACED = enum.auto()
    """Sent again unchanged, since two documents may have set the type of a new field at once."""
    FLATTENED = enum.auto()
    """In the first fallback form."""
    TEXT = enum.auto()
    """In the second fallback form, the last one."""
    EXTENDED = enum.auto()
    """Made in addition to a stored event that is shorter."""
    CONFLICTING = enum.auto()
    """With an id of its own, since a document of another event has its id."""

    @property
    def form(self) -> str:
        """The name of the form in metrics."""
        return "text" if Stage.TEXT in self else "flattened" if Stage.FLATTENED in self else "original"

    @property
    def created_result(self) -> str:
        """The result to count when the document is created."""
        if Stage.EXTENDED in self:
            return "extended"
        if Stage.CONFLICTING in self:
            return "conflicting"
        return "created" if self.form == "original" else "fallback"


@dataclass(frozen=True, slots=True)
class PendingDocument:
    """A document until it is created or dead-lettered.

    `original` is the source before any fallback.
    """

    document: Document
    batch: DocumentBatch
    original: bytes
    stage: Stage = Stage.ORIGINAL

    def raced(self) -> "PendingDocument":
        """Return it unchanged, to send it again."""
        return replace(self, stage=self.stage | Stage.RACED)

    def next_fallback(self, reason: str) -> "PendingDocument | None":
        """Return its next fallback form, which contains the reason; None if no form is left."""
        if Stage.TEXT in self.stage:
            return None
        stage = Stage.TEXT if Stage.FLATTENED in self.stage else Stage.FLATTENED
        source = fallback_document(self.original, reason, indexed=stage is Stage.FLATTENED)
        return replace(self, document=replace(self.document, source=source), stage=self.stage | stage)

    def next_after_exists(self, stored: JsonObject) -> "PendingDocument | None":
        """Return what is missing next to the stored document that has its id; None if nothing is."""
        fields: JsonObject = orjson.loads(self.original)
        comparison = stored_event.compare(fields, stored)
        if comparison is Comparison.OTHER:
            conflict_id = stored_event.conflict_id(self.document.id, fields)
            return self._beside(conflict_id, fields, stored_event.CONFLICT_FLAG, self.stage | Stage.CONFLICTING)
        if comparison is Comparison.SHORTER:
            extended_id = f"{self.document.id}{EXTENDED_MARK}{fields['log.length']:x}"
            return self._beside(extended_id, fields, "continued", self.stage | Stage.EXTENDED)
        return None

    def _beside(self, document_id: str, fields: JsonObject, flag: str, stage: Stage) -> "PendingDocument":
        """Return a flagged copy with an id of its own, to index in addition to the stored document."""
        flags = fields.get("log.flags", [])
        source = orjson.dumps({**fields, "log.flags": [*flags, *([] if flag in flags else [flag])]})
        document = Document(self.document.index, document_id, source)
        return PendingDocument(document, self.batch, original=source, stage=stage & ~(Stage.FLATTENED | Stage.TEXT))

    def canary(self) -> Document:
        """Return a plain document for the same index. One per index, since the worker cannot delete documents."""
        fields: JsonObject = orjson.loads(self.document.source)
        plain = {
            "@timestamp": fields.get("event.created") or fields.get("@timestamp"),
            "message": "written to test whether this index accepts documents, since it rejected one",
            "event.kind": "pipeline_error",
            "log.flags": ["canary"],
        }
        return Document(self.document.index, CANARY_ID, orjson.dumps(plain))

    def dead_letter(self, reason: str) -> DeadLetter:
        """Return its original form for the dead-letter topic."""
        batch, document = self.batch, self.document
        headers = batch.headers_of(document.id)
        return DeadLetter(self.original, reason, batch.origin, headers, document.index, document.id)


PendingItem = tuple[PendingDocument, ItemResult]
"""A document, and the result of its last attempt."""


def pending_items(
    batches: Iterable[DocumentBatch], targets: Mapping[str, str], results: Iterable[ItemResult]
) -> list[PendingItem]:
    """Return the documents of the batches that were not created; `results` in the order of the documents.

    `targets` maps the documents' indices to those written to.
    """
    remaining = iter(results)
    return [
        (_from_batch(batch, number, targets), result)
        for batch in batches
        for number, result in zip(range(len(batch)), remaining, strict=False)
        if result.outcome is not Outcome.CREATED
    ]


def _from_batch(batch: DocumentBatch, number: int, targets: Mapping[str, str]) -> PendingDocument:
    document = batch[number]
    document = replace(document, index=targets[document.index])
    return PendingDocument(document, batch, document.source)
