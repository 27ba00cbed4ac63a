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
    EXISTS = "already there"
    RETRY = "sent again"
    REJECTED = "refused for its content"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The answer for one document; `reason` is Elasticsearch's words for what is not done."""

    outcome: Outcome
    reason: str = ""


CREATED = ItemResult(Outcome.CREATED)
EXISTS = ItemResult(Outcome.EXISTS)

# Real answers with status 400 that are about the document; every other 400 is about the place.
DOCUMENT_ERROR_TYPES = {
    "document_parsing_exception",  # 8.x: a value does not fit its field's type, depth, duplicate keys
    "mapper_parsing_exception",  # the same, older, and a field that cannot be added
    "strict_dynamic_mapping_exception",
    "x_content_parse_exception",
    "input_coercion_exception",
    "max_bytes_length_exceeded_exception",
}
DOCUMENT_ERROR_REASONS = (
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


_NO_ERRORS = b'{"errors":false,'
_CREATED_STATUS = b'"status":201'
_END = b"]}"


def parse_all_created(response: bytes) -> AllCreated | None:
    """The mostly met answer, seen without parsing it; None for every other one."""
    whole = response.startswith(_NO_ERRORS) and response.endswith(_END)
    return AllCreated(response.count(_CREATED_STATUS)) if whole else None


MAPPING_RACE = "cannot be changed from type"
"""Words of a refusal that may be gone at the next try: by then the new field has the other's type, and takes ours."""


def classify(status: int, kind: str, reason: str) -> ItemResult:
    """The meaning of one item's status, error type and reason."""
    if status in (200, 201):
        return CREATED
    if status == 409:
        return EXISTS
    words = f"{status} {kind}: {reason}"
    if status == 400:
        about_it = kind in DOCUMENT_ERROR_TYPES or (
            kind == "illegal_argument_exception" and any(word in reason for word in DOCUMENT_ERROR_REASONS)
        )
        return ItemResult(Outcome.REJECTED if about_it else Outcome.RETRY, words)
    return ItemResult(Outcome.RETRY, words)


def parse_response(response: Any, sent: int) -> list[ItemResult] | None:
    """The items of a whole answer, in the order sent; None when it is cut, malformed or miscounted."""
    if isinstance(response, AllCreated):
        return [CREATED] * sent if response.documents == sent else None
    if not isinstance(response, dict) or not isinstance(response.get("items"), list) or len(response["items"]) != sent:
        return None
    items = []
    for entry in response["items"]:
        result = next(iter(entry.values())) if isinstance(entry, dict) and entry else None
        if not isinstance(result, dict) or not isinstance(result.get("status"), int):
            return None
        error = result.get("error") or {}
        items.append(classify(result["status"], str(error.get("type", "")), str(error.get("reason", ""))))
    return items
