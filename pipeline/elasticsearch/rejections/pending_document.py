"""One document that was not simply created, as it is sent alone: its own form, then its safe forms. Pure."""

from dataclasses import dataclass, replace
from typing import Any

import orjson

from pipeline.contract.dead_letter import DeadLetter
from pipeline.documents.builder import Parcel
from pipeline.elasticsearch.rejections.fallback_document import safe_form

FORMS = ("original", "flattened", "text")
CONTINUED = "~"
CANARY_ID = "crisp-canary"


@dataclass(slots=True)
class Single:
    """`length` as in `Parcel.lengths`; `form` counts the safe forms that it has taken, `own` is its source before.

    `raced`: sent again as it was, since two new documents may have fought for the type of a new field.
    """

    index: str
    id: str
    source: bytes
    length: int
    parcel: Parcel
    own: bytes = b""
    form: int = 0
    raced: bool = False

    def lines(self) -> bytes:
        """As it goes into a bulk body."""
        return b'{"create":{"_index":"%b","_id":"%b"}}\n%b\n' % (self.index.encode(), self.id.encode(), self.source)

    @property
    def outcome(self) -> str:
        """What it counts as when it is created."""
        return "extended" if CONTINUED in self.id else "fallback" if self.form else "created"

    @property
    def last_form(self) -> bool:
        """Whether no safer form is left."""
        return self.form == len(FORMS) - 1

    def safer(self, reason: str) -> "Single":
        """Its next safe form, which tells the reason."""
        form = self.form + 1
        source = safe_form(self.source, reason, indexed=form == 1)
        return replace(self, source=source, own=self.own or self.source, form=form)

    def continued(self) -> "Single":
        """Itself beside a stored event that is shorter, flagged."""
        fields = orjson.loads(self.source)
        fields["log.flags"] = [*fields.get("log.flags", []), "continued"]
        name = f"{self.id}{CONTINUED}{self.length:x}"
        return Single(self.index, name, orjson.dumps(fields), self.length, self.parcel)

    def canary(self) -> "Single":
        """A plain document at the same place. One an index, since none can be deleted."""
        fields: dict[str, Any] = orjson.loads(self.source)
        plain = {
            "@timestamp": fields.get("event.created") or fields.get("@timestamp"),
            "message": "written to see whether this index takes documents, since it refused one",
            "event.kind": "pipeline_error",
            "log.flags": ["canary"],
        }
        return Single(self.index, CANARY_ID, orjson.dumps(plain), 0, self.parcel)

    def dead(self, reason: str) -> DeadLetter:
        """Itself as it was, for the dead-letter topic."""
        origin, headers = self.parcel.origin, self.parcel.headers
        return DeadLetter(self.own or self.source, reason, origin, headers, self.index, self.id)


def of_parcel(parcel: Parcel) -> list[Single]:
    """A parcel's documents, each alone."""
    singles = []
    for number, document in enumerate(parcel.documents):
        action, source, _ = document.split(b"\n")
        create = orjson.loads(action)["create"]
        singles.append(Single(create["_index"], create["_id"], source, parcel.lengths.get(number, 0), parcel))
    return singles
