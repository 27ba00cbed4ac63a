"""A document that was not created at once: its original form, then its fallback forms. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.batch import DocumentBatch
from pipeline.elasticsearch.rejections.fallback_document import fallback_document

FORMS = ("original", "flattened", "text")
EXTENDED_MARK = "~"
CANARY_ID = "crisp-canary"


@dataclass(slots=True)
class PendingDocument:
    """A document until it is created or dead-lettered.

    `length` as in `DocumentBatch.lengths`; `form` is the index in `FORMS`, `original` the source before any fallback.
    `retried_for_mapping_race`: retried unchanged, since two documents may have set the type of a new field at once.
    """

    index: str
    id: str
    source: bytes
    length: int
    batch: DocumentBatch
    original: bytes = b""
    form: int = 0
    retried_for_mapping_race: bool = False

    def bulk_lines(self) -> bytes:
        """Return its lines of a bulk body."""
        return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (self.index.encode(), self.id.encode(), self.source)

    @property
    def outcome(self) -> str:
        """The result to count when it is created."""
        return "extended" if EXTENDED_MARK in self.id else "fallback" if self.form else "created"

    @property
    def is_last_form(self) -> bool:
        """Whether no fallback form is left."""
        return self.form == len(FORMS) - 1

    def next_fallback(self, reason: str) -> "PendingDocument":
        """Return its next fallback form, which contains the reason."""
        form = self.form + 1
        source = fallback_document(self.source, reason, indexed=form == 1)
        return replace(self, source=source, original=self.original or self.source, form=form)

    def extended(self) -> "PendingDocument":
        """Return a flagged copy with an id of its own, to index in addition to a stored event that is shorter."""
        fields = orjson.loads(self.source)
        fields["log.flags"] = [*fields.get("log.flags", []), "continued"]
        document_id = f"{self.id}{EXTENDED_MARK}{self.length:x}"
        return PendingDocument(self.index, document_id, orjson.dumps(fields), self.length, self.batch)

    def canary(self) -> "PendingDocument":
        """Return a plain document for the same index. One per index, since the worker cannot delete documents."""
        fields: dict[str, Any] = orjson.loads(self.source)
        plain = {
            "@timestamp": fields.get("event.created") or fields.get("@timestamp"),
            "message": "written to test whether this index accepts documents, since it rejected one",
            "event.kind": "pipeline_error",
            "log.flags": ["canary"],
        }
        return PendingDocument(self.index, CANARY_ID, orjson.dumps(plain), 0, self.batch)

    def dead_letter(self, reason: str) -> DeadLetter:
        """Return its original form for the dead-letter topic."""
        origin, headers = self.batch.origin, self.batch.headers
        return DeadLetter(self.original or self.source, reason, origin, headers, self.index, self.id)


def split_batch(batch: DocumentBatch, targets: Mapping[str, str]) -> list[PendingDocument]:
    """Split a batch into its documents; `targets` maps their indices to those written to."""
    return [
        PendingDocument(targets[document.index], document.id, document.source, batch.lengths.get(number, 0), batch)
        for number, document in enumerate(batch)
    ]
