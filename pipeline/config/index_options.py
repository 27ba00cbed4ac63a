"""The index settings that a user adds to crisp's index templates: `CRISP_INDEX_SETTINGS`. Pure.

Names are those of https://www.elastic.co/guide/en/elasticsearch/reference/8.19/index-modules.html, nested or with
dots, with or without `index.` before them, as Elasticsearch accepts them.
"""

import json

from pipeline.contract.json_types import JsonObject

_PREFIX = "index."
_MAX_BYTES = 64 * 1024
_NEEDED = "crisp needs its own value, so that nothing is lost"
_REJECTED = {
    "index.number_of_shards": "set CRISP_INDEX_SHARDS",
    "index.mode": "set CRISP_INDEX_MODE",
    "index.lifecycle.name": "`crisp setup` sets it, from CRISP_RETENTION_DAYS and CRISP_ROUTES",
    "index.mapping.total_fields.limit": "set CRISP_INDEX_FIELD_LIMIT",
    "index.mapping.total_fields.ignore_dynamic_beyond_limit": _NEEDED,
    "index.mapping.ignore_malformed": _NEEDED,
    "index.mapping.source.mode": "a synthetic source changes documents, which are compared after a retry",
    "index.default_pipeline": "an ingest pipeline could change or drop documents: use rules",
    "index.final_pipeline": "an ingest pipeline could change or drop documents: use rules",
    "index.routing_path": "documents are routed by their id",
}
"""What cannot be set, and why or how else."""
_REJECTED_PREFIXES = {
    "index.blocks.": "nothing could be indexed",
    "index.time_series.": "documents are no metrics",
}


def parse(text: str) -> JsonObject:
    """Return the settings by their full names, flat; a null removes a default of crisp's. Raises ValueError.

    The error names every setting that cannot be set. Whether Elasticsearch knows the others, `crisp setup` asks it.
    """
    if not text.strip():
        return {}
    if len(text) > _MAX_BYTES:
        raise ValueError(f"longer than {_MAX_BYTES} bytes")
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None
    except RecursionError:
        raise ValueError("not JSON of index settings: nested too deeply") from None
    if not isinstance(document, dict):
        raise ValueError('not a JSON object, such as {"index.refresh_interval": "5s"}')
    options: JsonObject = {}
    problems: list[str] = []
    _flatten("", document, options, problems)
    problems += [f"{name}: {reason}" for name in options if (reason := _rejection(name))]
    if problems:
        raise ValueError("; ".join(problems))
    return options


def _unique(pairs: list[tuple[str, object]]) -> JsonObject:
    """Return an object of which no name occurs twice. Raises ValueError."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)}: set twice")
    return dict(pairs)


def _flatten(prefix: str, document: JsonObject, options: JsonObject, problems: list[str]) -> None:
    for key, value in document.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            _flatten(f"{path}.", value, options, problems)
            continue
        name = path if path.startswith(_PREFIX) else _PREFIX + path
        if not _is_value(value):
            problems.append(f"{name}: not a text, a number, true, false, null, or a list of these")
        elif name in options:
            problems.append(f"{name}: set twice")
        else:
            options[name] = value


def _is_value(value: object) -> bool:
    entries = value if isinstance(value, list) else [value]
    return all(entry is None or isinstance(entry, str | int | float) for entry in entries)


def _rejection(name: str) -> str:
    """Return why a setting cannot be set; empty if it can."""
    by_prefix = (reason for prefix, reason in _REJECTED_PREFIXES.items() if name.startswith(prefix))
    return _REJECTED.get(name) or next(by_prefix, "")
