"""The safe forms of a document that Elasticsearch refused for its own content. Pure.

First form: fields with an explicit mapping stay, the application's own go into one `flattened` field, where they
are still searchable. Second form: they go, as JSON text, into a field that is not indexed, and so do explicitly
mapped fields that an application can set. The id stays the same, the reason is told in the document.
"""

from typing import Any

import orjson

from pipeline.contract import ecs

# Set by the pipeline itself from checked values, so they cannot be what was refused.
OWN_PREFIXES = ("kubernetes.", "container.", "orchestrator.", "host.", "agent.", "log.", "event.")
OWN_NAMES = {"@timestamp", "message", "ecs.version", "service.name", "service.environment", "service.version"}
TEXT_LIMIT = 2 * 1024 * 1024


def safe_form(source: bytes, reason: str, *, indexed: bool) -> bytes:
    """The first form (`indexed`) or the second one of a refused document's JSON.

    `reason`: as a bulk's answer has it, STATUS TYPE: WORDS.
    """
    fields: dict[str, Any] = orjson.loads(source)
    kept: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for name, value in fields.items():
        explicit = name in ecs.FIELDS if indexed else name in OWN_NAMES or name.startswith(OWN_PREFIXES)
        (kept if explicit else moved)[name] = value
    flags = kept.get("log.flags")
    kept["log.flags"] = [*(flags if isinstance(flags, list) else []), "safe_form"]
    kept["crisp.rejected.type"] = reason.partition(":")[0].rpartition(" ")[2]
    kept["crisp.rejected.reason"] = reason[:1024]
    if moved and indexed:
        kept["crisp.flattened"] = {name: _searchable(value) for name, value in moved.items()}
    elif moved:
        kept["crisp.raw_json"] = orjson.dumps(moved).decode()[:TEXT_LIMIT]
    return orjson.dumps(kept)


def _searchable(value: Any) -> Any:
    """A value that a `flattened` field takes: scalars and arrays of them; anything deeper as JSON text."""
    if isinstance(value, list):
        return [_searchable(entry) for entry in value if entry is not None]
    if isinstance(value, dict):
        return orjson.dumps(value).decode()
    return value
