"""The fallback forms of a document that Elasticsearch rejected for its content. Pure.

First form: fields with an explicit mapping stay, the application's own fields go into one `flattened` field, where
they are still searchable. Second form: these fields, and the explicitly mapped fields that an application can set, go
as JSON text into a field that is not indexed. The id stays the same; the document contains the reason.
"""

from typing import Any

import orjson

from pipeline.contract import ecs
from pipeline.contract.json_types import JsonObject

# The pipeline sets these from validated values, so they cannot cause a rejection.
PIPELINE_PREFIXES = ("kubernetes.", "container.", "orchestrator.", "host.", "agent.", "log.", "event.")
PIPELINE_FIELDS = {"@timestamp", "message", "ecs.version", "service.name", "service.environment", "service.version"}
MAX_TEXT_CHARACTERS = 2 * 1024 * 1024


def fallback_document(source: bytes, reason: str, *, indexed: bool) -> bytes:
    """Return the first form (`indexed`) or the second form of a rejected document's JSON.

    `reason` as in `ItemResult`: STATUS TYPE: MESSAGE.
    """
    fields: JsonObject = orjson.loads(source)
    kept: JsonObject = {}
    moved: JsonObject = {}
    for name, value in fields.items():
        explicit = name in ecs.FIELDS if indexed else name in PIPELINE_FIELDS or name.startswith(PIPELINE_PREFIXES)
        (kept if explicit else moved)[name] = value
    flags = kept.get("log.flags")
    kept["log.flags"] = [*(flags if isinstance(flags, list) else []), "safe_form"]
    kept["crisp.rejected.type"] = reason.partition(":")[0].rpartition(" ")[2]
    kept["crisp.rejected.reason"] = reason[:1024]
    if moved and indexed:
        kept["crisp.flattened"] = {name: _flattened_value(value) for name, value in moved.items()}
    elif moved:
        kept["crisp.raw_json"] = orjson.dumps(moved).decode()[:MAX_TEXT_CHARACTERS]
    return orjson.dumps(kept)


def _flattened_value(value: Any) -> Any:
    """Convert a value for a `flattened` field: scalars and arrays of them stay; anything deeper becomes JSON text."""
    if isinstance(value, list):
        return [_flattened_value(entry) for entry in value if entry is not None]
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return value
