"""Limits what each document repeats of its container's metadata, which a tenant writes. Pure.

Kubernetes allows a pod's object 1.5 MB; a slice of short lines would become gigabytes of documents.
"""

import orjson

from pipeline.contract.json_types import JsonObject

TEXT_MAX_CHARACTERS = 1024
"""Of a name; Kubernetes' own are shorter, and so are references of images."""
ENTRIES_MAX_BYTES = 8 * 1024
"""Of all labels and annotations together, as JSON."""
_ENTRY_FIELDS = ("kubernetes.labels", "container.labels", "kubernetes.annotations")


def limit(constant: JsonObject) -> JsonObject:
    """Return a container's constant fields within the limits; if anything was cut, with `crisp.metadata_truncated`.

    The first labels and annotations that fit are kept whole.
    """
    limited: JsonObject = {}
    free = ENTRIES_MAX_BYTES
    for name, value in constant.items():
        if name in _ENTRY_FIELDS and isinstance(value, dict):
            limited[name] = kept = {}
            for key, entry in value.items():
                size = len(orjson.dumps({key: entry}))
                if size <= free:
                    kept[key] = entry
                    free -= size
        else:
            limited[name] = _limit_value(value)
    if limited == constant:
        return constant
    return {name: value for name, value in limited.items() if value != {}} | {"crisp.metadata_truncated": True}


def limit_text(text: str) -> str:
    """Return a text within the limit."""
    return text[:TEXT_MAX_CHARACTERS]


def _limit_value(value: object) -> object:
    if isinstance(value, str):
        return limit_text(value)
    return [_limit_value(entry) for entry in value] if isinstance(value, list) else value
