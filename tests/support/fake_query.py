"""The part of Elasticsearch's query language that crisp uses, over documents in memory. Unknown queries are errors."""

import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pipeline.contract import cri

Json = dict[str, Any]


class UnsupportedQueryError(Exception):
    """A query that the fake does not know."""


def matches(query: Json, document_id: str, seq_no: int, source: Mapping[str, Any]) -> bool:
    """Return whether a document matches a query."""
    ((kind, body),) = query.items()
    evaluate = _QUERIES.get(kind)
    if evaluate is None:
        raise UnsupportedQueryError(f"unknown query [{kind}]")
    return evaluate(body, {"_id": document_id, "_seq_no": seq_no, **flatten(source)})


def flatten(source: Mapping[str, Any], prefix: str = "") -> Json:
    """Return an object's fields by their dotted names."""
    fields: Json = {}
    for name, value in source.items():
        if isinstance(value, dict):
            fields |= flatten(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _values(fields: Json, name: str) -> list[Any]:
    value = fields.get(name)
    return value if isinstance(value, list) else [] if value is None else [value]


def _all(queries: Any, fields: Json) -> bool:
    return all(_matches(query, fields) for query in (queries if isinstance(queries, list) else [queries]))


def _any(queries: Any, fields: Json) -> bool:
    return any(_matches(query, fields) for query in (queries if isinstance(queries, list) else [queries]))


def _matches(query: Json, fields: Json) -> bool:
    ((kind, body),) = query.items()
    if kind not in _QUERIES:
        raise UnsupportedQueryError(f"unknown query [{kind}]")
    return _QUERIES[kind](body, fields)


def _bool(body: Json, fields: Json) -> bool:
    required = _all(body.get("filter", []), fields) and _all(body.get("must", []), fields)
    excluded = _any(body.get("must_not", []), fields)
    return required and not excluded and ("should" not in body or _any(body["should"], fields))


def _term(body: Json, fields: Json) -> bool:
    ((name, wanted),) = body.items()
    return (wanted["value"] if isinstance(wanted, dict) else wanted) in _values(fields, name)


def _terms(body: Json, fields: Json) -> bool:
    ((name, wanted),) = body.items()
    return any(value in wanted for value in _values(fields, name))


def _match(body: Json, fields: Json) -> bool:
    ((name, wanted),) = body.items()
    words = str(wanted["query"] if isinstance(wanted, dict) else wanted).lower().split()
    text = " ".join(map(str, _values(fields, name))).lower()
    return all(word in text for word in words)


def _wildcard(body: Json, fields: Json) -> bool:
    ((name, wanted),) = body.items()
    pattern = wanted["value"] if isinstance(wanted, dict) else wanted
    return any(fnmatch.fnmatchcase(str(value), pattern) for value in _values(fields, name))


def _prefix(body: Json, fields: Json) -> bool:
    ((name, wanted),) = body.items()
    start = wanted["value"] if isinstance(wanted, dict) else wanted
    return any(str(value).startswith(start) for value in _values(fields, name))


_BOUNDS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda value, bound: bool(value > bound),
    "gte": lambda value, bound: bool(value >= bound),
    "lt": lambda value, bound: bool(value < bound),
    "lte": lambda value, bound: bool(value <= bound),
}


def _range(body: Json, fields: Json) -> bool:
    ((name, bounds),) = body.items()
    values = _values(fields, name)
    if bounds.get("format") == "epoch_millis":
        values = [(cri.nanoseconds(str(value).encode()) or 0) // 10**6 for value in values]
    return any(
        all(_BOUNDS[kind](value, bound) for kind, bound in bounds.items() if kind in _BOUNDS) for value in values
    )


_QUERIES: dict[str, Callable[[Any, Json], bool]] = {
    "match_all": lambda body, fields: True,
    "constant_score": lambda body, fields: _matches(body["filter"], fields),
    "ids": lambda body, fields: fields["_id"] in body["values"],
    "exists": lambda body, fields: bool(_values(fields, body["field"])),
    "bool": _bool,
    "match": _match,
    "match_phrase": _match,
    "prefix": _prefix,
    "range": _range,
    "term": _term,
    "terms": _terms,
    "wildcard": _wildcard,
}


def terms_buckets(
    terms: Json, sources: Iterable[Mapping[str, Any]], inner: Mapping[str, Json] | None = None
) -> list[Json]:
    """Return the buckets of a `terms` aggregation, with `min` and `max` of times as inner ones."""
    missing = [terms["missing"]] if "missing" in terms else []
    by_value: dict[Any, list[Json]] = {}
    for source in map(flatten, sources):
        for value in _values(source, terms["field"]) or missing:
            by_value.setdefault(value, []).append(source)
    largest = sorted(by_value.items(), key=lambda item: -len(item[1]))[: terms.get("size", 10)]
    return [
        {"key": key, "doc_count": len(found)}
        | {name: _extreme_time(aggregation, found) for name, aggregation in (inner or {}).items()}
        for key, found in largest
    ]


def _extreme_time(aggregation: Json, sources: list[Json]) -> Json:
    ((kind, body),) = aggregation.items()
    if kind not in {"min", "max"}:
        raise UnsupportedQueryError(kind)
    times = [cri.nanoseconds(str(value).encode()) for source in sources for value in _values(source, body["field"])]
    known = [time / 1e6 for time in times if time is not None]
    return {"value": (min if kind == "min" else max)(known, default=None)}


def filter_path(body: Any, patterns: str) -> Any:
    """Apply Elasticsearch's `filter_path`: keep only the listed dotted paths, `*` for any key."""
    selected = _select(body, [pattern.split(".") for pattern in patterns.split(",")])
    return {} if selected is _NOTHING else selected


_NOTHING = object()


def _select(body: Any, paths: list[list[str]]) -> Any:
    if not all(paths):
        return body
    if isinstance(body, list):
        kept = [selected for entry in body if (selected := _select(entry, paths)) is not _NOTHING]
        return kept or _NOTHING
    if not isinstance(body, dict):
        return _NOTHING
    selected = {}
    for key, value in body.items():
        below = [path[1:] for path in paths if fnmatch.fnmatchcase(key, path[0])]
        inner = _select(value, below) if below else _NOTHING
        if inner is not _NOTHING:
            selected[key] = inner
    return selected or _NOTHING
