"""Classify the items of a bulk response. Pure.

CREATED   the document was created
EXISTS    a document with this id exists already (409)
RETRY     any error that is not about the document: the index or node is busy, failing, closed, forbidden
REJECTED  an error in the document's content: Elasticsearch would reject the same document again
"""

import enum
from dataclasses import dataclass
from typing import Any, NamedTuple


class Outcome(enum.Enum):
    """The outcome of one document of a bulk request."""

    CREATED = "created"
    EXISTS = "exists"
    RETRY = "retry"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ItemResult:
    """The result for one document; `reason` is Elasticsearch's error unless the document exists."""

    outcome: Outcome
    reason: str = ""


CREATED = ItemResult(Outcome.CREATED)
EXISTS = ItemResult(Outcome.EXISTS)

EXISTS_TYPE = "version_conflict_engine_exception"

# Errors with status 400 that are about the document, from real responses; every other 400 is about the index.
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
    """A complete bulk response in which every document was created."""

    documents: int


_NO_ERRORS = b'{"errors":false,'
_CREATED_STATUS = b'"status":201'
_END = b"]}"


def parse_all_created(response: bytes) -> AllCreated | None:
    """Recognise the most common response without parsing it; None for every other response."""
    complete = response.startswith(_NO_ERRORS) and response.endswith(_END)
    return AllCreated(response.count(_CREATED_STATUS)) if complete else None


MAPPING_RACE = "cannot be changed from type"
"""Part of a rejection that a retry can resolve: by then the new field has a type, which may accept this document."""


def classify(status: int, error_type: str, reason: str) -> ItemResult:
    """Classify one item by its status, error type and error reason."""
    if status in (200, 201):
        return CREATED
    if status == 409 and error_type == EXISTS_TYPE:
        return EXISTS
    message = f"{status} {error_type}: {reason}"
    if status == 400:
        is_rejected = error_type in DOCUMENT_ERROR_TYPES or (
            error_type == "illegal_argument_exception" and any(text in reason for text in DOCUMENT_ERROR_REASONS)
        )
        return ItemResult(Outcome.REJECTED if is_rejected else Outcome.RETRY, message)
    return ItemResult(Outcome.RETRY, message)


def parse_response(response: Any, sent: int) -> list[ItemResult] | None:
    """Return the results in the order sent; None if the response is truncated, malformed or lacks items."""
    if isinstance(response, AllCreated):
        return [CREATED] * sent if response.documents == sent else None
    if not isinstance(response, dict) or not isinstance(response.get("items"), list) or len(response["items"]) != sent:
        return None
    items = [_parse_item(entry) for entry in response["items"]]
    return None if None in items else items  # type: ignore[return-value] # mypy does not narrow the list


def _parse_item(entry: Any) -> ItemResult | None:
    """Return the result of one item; None if it does not have the form of a `create` item."""
    match entry:
        case {"create": {"status": int(status), "error": {"type": str(error_type)} as error}}:
            reason = error.get("reason") or ""  # null for some internal errors
            return classify(status, error_type, reason) if status >= 400 and isinstance(reason, str) else None
        case {"create": {"status": int(status), **rest}} if "error" not in rest:
            return CREATED if status in (200, 201) else None
    return None
