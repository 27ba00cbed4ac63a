"""What Elasticsearch's answer to a bulk request means, item by item. Pure.

DONE     created, or there already (409)
RETRY    anything that says nothing about the document: the place is busy, broken, closed, forbidden
REFUSED  a fault of the document's own content: it will be refused again as it is
"""

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple


class Outcome(enum.Enum):
    """What becomes of one document."""

    CREATED = "created"
    THERE = "already there"
    RETRY = "sent again"
    REFUSED = "refused for its content"


@dataclass(frozen=True, slots=True)
class Item:
    """The answer for one document; `reason` is Elasticsearch's words for what is not done."""

    outcome: Outcome
    reason: str = ""


CREATED = Item(Outcome.CREATED)
THERE = Item(Outcome.THERE)

# Real answers with status 400 that are about the document; every other 400 is about the place.
DOCUMENT_FAULTS = {
    "document_parsing_exception",  # 8.x: a value does not fit its field's type, depth, duplicate keys
    "mapper_parsing_exception",  # the same, older, and a field that cannot be added
    "strict_dynamic_mapping_exception",
    "x_content_parse_exception",
    "input_coercion_exception",
    "max_bytes_length_exceeded_exception",
}
DOCUMENT_FAULT_WORDS = (
    "immense term",  # a keyword of more than 32,766 bytes
    "Limit of total fields",
    "Limit of mapping depth",
    "mapper [",  # cannot be changed from type ... to ...
    "can't merge a non object mapping",
    "object mapping for",
    "field name cannot be",
    "Field name",
    "name cannot be empty string",
    "object field starting or ending with a [.]",
    "whitespace",
)


class AllCreated(NamedTuple):
    """A whole answer that says of so many documents that each was created."""

    documents: int


_ALL = b'{"errors":false,'
_ONE = b'"status":201'
_END = b"]}"


def loads(answer: bytes) -> AllCreated | None:
    """The mostly met answer, seen without parsing it; None for every other one."""
    whole = answer.startswith(_ALL) and answer.endswith(_END)
    return AllCreated(answer.count(_ONE)) if whole else None


RACE = "cannot be changed from type"
"""Words of a refusal that may be gone at the next try: by then the new field has the other's type, and takes ours."""


def classify(status: int, kind: str, reason: str) -> Item:
    """The meaning of one item's status, error type and reason."""
    if status in (200, 201):
        return CREATED
    if status == 409:
        return THERE
    words = f"{status} {kind}: {reason}"
    if status == 400:
        about_it = kind in DOCUMENT_FAULTS or (
            kind == "illegal_argument_exception" and any(word in reason for word in DOCUMENT_FAULT_WORDS)
        )
        return Item(Outcome.REFUSED if about_it else Outcome.RETRY, words)
    return Item(Outcome.RETRY, words)


def read_answer(answer: Any, sent: int) -> list[Item] | None:
    """The items of a whole answer, in the order sent; None when it is cut, malformed or miscounted."""
    if isinstance(answer, AllCreated):
        return [CREATED] * sent if answer.documents == sent else None
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list) or len(answer["items"]) != sent:
        return None
    items = []
    for entry in answer["items"]:
        result = next(iter(entry.values())) if isinstance(entry, dict) and entry else None
        if not isinstance(result, dict) or not isinstance(result.get("status"), int):
            return None
        error = result.get("error") or {}
        items.append(classify(result["status"], str(error.get("type", "")), str(error.get("reason", ""))))
    return items
