"""The index template: a type for every field that the pipeline sets, and rules for those that applications bring.

Pure. What the server lacks (a distribution without some mapper, an older version without some setting) is told by
its own refusal; `lacking` reads that, and `body` then says the same without.
"""

import re
from typing import Any, NamedTuple

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract.ecs import FIELDS, LABELS, Field

VERSION = 2
OWNER = "crisp"
PRIORITY = 500
LATE = "late"
"""Last part of the name of the index for lines older than the retention."""

# What stands in for a mapper that the server does not have.
_PLAIN = {"match_only_text": "text", "wildcard": "keyword", "date_nanos": "date"}
_PLAIN_OF = {"error.stack_trace": "text"}  # longer than a keyword may be
_KEYWORD_LIMIT = 8191  # characters: 32,766 bytes, Lucene's longest term, at four bytes each

LIFECYCLE = "index.lifecycle.name"

_ABSENT_TYPE = re.compile(r"(?:mapper type \[|No handler for type \[)(\w+)\]")
_READ_ONLY = re.compile(r"set as read-only by \[([\w.-]+)\]")
_ABSENT_SETTING = re.compile(r"unknown setting \[([\w.]+)\]")


class Lacking(NamedTuple):
    """What a server does not have: mappers and index settings by name."""

    types: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


def lacking(reason: str) -> Lacking:
    """What a refusal of the template says that the server does not have; nothing if it says something else."""
    return Lacking(frozenset(_ABSENT_TYPE.findall(reason)), frozenset(_ABSENT_SETTING.findall(reason)))


def owner_of(reason: str) -> str:
    """Who alone may change a thing, by Elasticsearch's refusal: `file_settings`, its operator's; empty: nobody."""
    found = _READ_ONLY.search(reason)
    return found[1] if found else ""


class Template(NamedTuple):
    """One index template. `days` of its lifecycle; 0: none, what is in its indices stays until somebody deletes it."""

    name: str
    patterns: tuple[str, ...]
    policy: str
    days: int


def all_of(settings: Settings) -> list[Template]:
    """The templates: of the common indices, of every route, and of the one for late lines, which never rolls away."""
    prefix, title = settings.index_prefix, f"{OWNER}-{settings.index_prefix}"
    common = Template(title, (f"{prefix}-20*", f"{prefix}-{OWNER}.*"), title, settings.retention_days)
    of_routes = [
        Template(f"{title}-{route}", (f"{prefix}-{route}.20*",), f"{title}-{route}", days)
        for route, days in routes.read(settings.routes).items()
    ]
    return [common, *of_routes, Template(f"{title}-{LATE}", (f"{prefix}-{LATE}*",), "", 0)]


def of_index(index: str, settings: Settings) -> Template:
    """The template that an index of ours is made by."""
    templates = all_of(settings)
    fitting = (one for one in templates if any(index.startswith(pattern[:-1]) for pattern in one.patterns))
    return next(fitting, templates[0])


def patterns(settings: Settings) -> list[str]:
    """Every index name that is ours, as patterns."""
    return [pattern for one in all_of(settings) for pattern in one.patterns]


def body(one: Template, settings: Settings, without: Lacking) -> dict[str, Any]:
    """A template as Elasticsearch takes it, without what the server does not have."""
    return {
        "index_patterns": list(one.patterns),
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": meta(settings),
        "template": {
            "settings": {key: value for key, value in _settings(one, settings).items() if key not in without.settings},
            "mappings": {
                "_meta": meta(settings),
                "subobjects": False,
                "date_detection": False,
                "numeric_detection": False,
                "dynamic_templates": _DYNAMIC,
                "properties": {field: _property(field, row, without.types) for field, row in FIELDS.items()},
            },
        },
    }


def drift(stands: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where a template that stands (its settings flat, as text) differs from the wanted one, by the setting's name."""
    pairs = [("index_patterns", stands.get("index_patterns"), wanted["index_patterns"])]
    have, want = stands.get("template", {}), wanted["template"]
    pairs += _pairs("", have.get("settings", {}), {key: _text(value) for key, value in want["settings"].items()})
    mappings, properties = dict(have.get("mappings", {})), dict(want["mappings"])
    pairs += _pairs("mappings.", mappings.pop("properties", {}), properties.pop("properties"))
    pairs += _pairs("mappings.", mappings, properties)
    return sorted({name for name, one, other in pairs if one != other})


def _pairs(prefix: str, have: dict[str, Any], want: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(prefix + name, have.get(name), want.get(name)) for name in have.keys() | want.keys()]


def _text(value: Any) -> Any:
    """A setting as Elasticsearch gives it back."""
    if isinstance(value, list):
        return [str(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def meta(settings: Settings) -> dict[str, Any]:
    """What marks template and indices as ours."""
    return {"owner": OWNER, "version": VERSION, "prefix": settings.index_prefix}


def is_ours(marked: Any) -> bool:
    """Whether the `_meta` of a template or of an index is a crisp's."""
    return isinstance(marked, dict) and marked.get("owner") == OWNER


def _settings(one: Template, settings: Settings) -> dict[str, Any]:
    lifecycle = {LIFECYCLE: one.policy} if one.policy else {}
    return {
        **lifecycle,
        "index.number_of_shards": settings.index_shards,
        "index.auto_expand_replicas": "0-1",
        "index.refresh_interval": "1s",
        "index.mapping.ignore_malformed": True,
        "index.mapping.total_fields.limit": settings.index_field_limit,
        "index.mapping.total_fields.ignore_dynamic_beyond_limit": True,
        "index.query.default_field": [
            "message",
            "error.message",
            "error.stack_trace",
            "crisp.flattened",
            "app.overflow",
        ],
    }


def _property(field: str, row: Field, absent: frozenset[str]) -> dict[str, Any]:
    kind = row.type
    if kind in absent:
        kind = _PLAIN_OF.get(field) or _PLAIN.get(kind, kind)
    if kind == "alias":
        return {"type": kind, "path": row.path}
    if not row.index:
        return {"type": kind, "index": False, **({"doc_values": False} if kind == "keyword" else {})}
    if kind in {"keyword", "wildcard", "flattened"}:
        return {"type": kind, "ignore_above": _KEYWORD_LIMIT}
    return {"type": kind}


_DYNAMIC: list[dict[str, Any]] = [
    {
        "labels": {
            "path_match": f"{LABELS}.*",
            "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT},
        }
    },
    # The same name is a word in one service and true in another: as keywords both are found, neither is refused.
    {"flags": {"match_mapping_type": "boolean", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {"wholes": {"match_mapping_type": "long", "mapping": {"type": "long", "ignore_malformed": True}}},
    {"fractions": {"match_mapping_type": "double", "mapping": {"type": "double", "ignore_malformed": True}}},
]
