"""Requests that Elasticsearch rejects, for an error in the document or for an error of the index or cluster."""

from dataclasses import dataclass, field
from typing import Any

import orjson

TEMPLATE_LIMITS = {"index.mapping.total_fields.limit": 20, "index.mapping.depth.limit": 5}
Json = dict[str, Any]


@dataclass(frozen=True)
class Provocation:
    """A document that is rejected: mappings and settings of its index, a change made after creation, and its source."""

    name: str
    source: bytes
    mappings: Json = field(default_factory=dict)
    settings: Json = field(default_factory=dict)
    change: tuple[str, str, Json | None] | None = None
    index_exists: bool = True
    target: str = "{index}"


def _typed(**types: str) -> Json:
    return {"subobjects": False, "properties": {name: {"type": kind} for name, kind in types.items()}}


def _doc(**fields: Any) -> bytes:
    return orjson.dumps(fields)


_DEEP = b'{"f":' * 30 + b"1" + b"}" * 30

DOCUMENT_ERRORS = [
    Provocation("a word for a number", _doc(n="word"), _typed(n="long")),
    Provocation("a number too large", _doc(n=1e30), _typed(n="long")),
    Provocation("a word for a date", _doc(n="yesterday"), _typed(n="date_nanos")),
    Provocation("a date out of the range of nanoseconds", _doc(n="0001-01-01T00:00:00Z"), _typed(n="date_nanos")),
    Provocation("a word for an address", _doc(n="here"), _typed(n="ip")),
    Provocation("a keyword of forty thousand bytes", _doc(n="x" * 40000), _typed(n="keyword")),
    Provocation("more fields than allowed", _doc(**{f"f{i}": i for i in range(50)}), settings=TEMPLATE_LIMITS),
    Provocation("deeper than allowed", _DEEP, settings=TEMPLATE_LIMITS),
    Provocation("deeper than a flattened field allows", b'{"n":' + _DEEP + b"}", _typed(n="flattened")),
    Provocation("a field that a strict index does not know", _doc(n=1), {"dynamic": "strict"}),
    Provocation("no JSON", b'{"n":'),
    Provocation("a key twice", b'{"n":1,"n":2}'),
    Provocation("a field without a name", b'{"":1}'),
    Provocation("a field whose name is a dot", b'{"a..b":1}'),
    Provocation("a field whose name is blank", b'{" ":1}'),
    Provocation("a field that Elasticsearch keeps for itself", _doc(_id="x")),
    Provocation("bytes that are no UTF-8", b'{"n":"\xff\xfe"}'),
    Provocation("an object where a word was", _doc(n={"a": 1}), {"properties": {"n": {"type": "text"}}}),
    Provocation(
        "a word where an object was", _doc(n="x"), {"properties": {"n": {"properties": {"a": {"type": "long"}}}}}
    ),
]
INDEX_ERRORS = [
    Provocation("a closed index", _doc(n=1), change=("POST", "{index}/_close", None)),
    Provocation("a write block", _doc(n=1), settings={"index.blocks.write": True}),
    Provocation("the flood stage", _doc(n=1), settings={"index.blocks.read_only_allow_delete": True}),
    Provocation("read only", _doc(n=1), settings={"index.blocks.read_only": True}),
    Provocation("a pipeline that is not there", _doc(n=1), settings={"index.default_pipeline": "nowhere"}),
    Provocation(
        "an alias without a write index",
        _doc(n=1),
        change=(
            "POST",
            "_aliases",
            {"actions": [{"add": {"indices": ["{index}", "{index}-b"], "alias": "{index}-x"}}]},
        ),
        target="{index}-x",
    ),
    Provocation(
        "a shard more than allowed",
        _doc(n=1),
        index_exists=False,
        change=("PUT", "_cluster/settings", {"persistent": {"cluster.max_shards_per_node": 1}}),
    ),
    Provocation(
        "no index, and none may be made",
        _doc(n=1),
        index_exists=False,
        change=("PUT", "_cluster/settings", {"persistent": {"action.auto_create_index": False}}),
    ),
    Provocation("a name that no index may have", _doc(n=1), index_exists=False, target="{index}-UPPER"),
]
