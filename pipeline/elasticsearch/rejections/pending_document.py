"""One document that was not simply created, as it is sent alone: its own form, then its safe forms. Pure."""

from dataclasses import dataclass, replace
from typing import Any

import orjson

from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.builder import DocumentBatch
from pipeline.elasticsearch.rejections.fallback_document import fallback_document

FORMS = ("original", "flattened", "text")
EXTENDED_MARK = "~"
CANARY_ID = "crisp-canary"


@dataclass(slots=True)
class PendingDocument:
    """`length` as in `Parcel.lengths`; `form` counts the safe forms that it has taken, `own` is its source before.

    `raced`: sent again as it was, since two new documents may have fought for the type of a new field.
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
        """As it goes into a bulk body."""
        return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (self.index.encode(), self.id.encode(), self.source)

    @property
    def outcome(self) -> str:
        """What it counts as when it is created."""
        return "extended" if EXTENDED_MARK in self.id else "fallback" if self.form else "created"

    @property
    def is_last_form(self) -> bool:
        """Whether no safer form is left."""
        return self.form == len(FORMS) - 1

    def next_fallback(self, reason: str) -> "PendingDocument":
        """Its next safe form, which tells the reason."""
        form = self.form + 1
        source = fallback_document(self.source, reason, indexed=form == 1)
        return replace(self, source=source, original=self.original or self.source, form=form)

    def extended(self) -> "PendingDocument":
        """Itself beside a stored event that is shorter, flagged."""
        fields = orjson.loads(self.source)
        fields["log.flags"] = [*fields.get("log.flags", []), "continued"]
        name = f"{self.id}{EXTENDED_MARK}{self.length:x}"
        return PendingDocument(self.index, name, orjson.dumps(fields), self.length, self.batch)

    def canary(self) -> "PendingDocument":
        """A plain document at the same place. One an index, since none can be deleted."""
        fields: dict[str, Any] = orjson.loads(self.source)
        plain = {
            "@timestamp": fields.get("event.created") or fields.get("@timestamp"),
            "message": "written to see whether this index takes documents, since it refused one",
            "event.kind": "pipeline_error",
            "log.flags": ["canary"],
        }
        return PendingDocument(self.index, CANARY_ID, orjson.dumps(plain), 0, self.batch)

    def dead_letter(self, reason: str) -> DeadLetter:
        """Itself as it was, for the dead-letter topic."""
        origin, headers = self.batch.origin, self.batch.headers
        return DeadLetter(self.original or self.source, reason, origin, headers, self.index, self.id)


def split_batch(batch: DocumentBatch) -> list[PendingDocument]:
    """A parcel's documents, each alone."""
    singles = []
    for number, document in enumerate(batch.documents):
        action, source, _ = document.split(b"\n")
        create = orjson.loads(action)["create"]
        singles.append(PendingDocument(create["_index"], create["_id"], source, batch.lengths.get(number, 0), batch))
    return singles
