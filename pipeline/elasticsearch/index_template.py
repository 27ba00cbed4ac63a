"""The index template: a type for every field that the pipeline sets, and rules for those that applications bring.

Pure. What the server lacks (a distribution without some mapper, an older version without some setting) is told by
its own refusal; `lacking` reads that, and `body` then says the same without.
"""

import re
from typing import Any, NamedTuple

from pipeline.config import routes
from pipeline.config.settings import Settings
from pipeline.contract.ecs import FIELDS, LABELS_PREFIX, Field

VERSION = 2
OWNER = "crisp"
PRIORITY = 500
LATE = "late"
"""Last part of the name of the index for lines older than the retention."""

# What stands in for a mapper that the server does not have.
_FALLBACK_TYPES = {"match_only_text": "text", "wildcard": "keyword", "date_nanos": "date"}
_FALLBACK_TYPE_OF_FIELD = {"error.stack_trace": "text"}  # longer than a keyword may be
_KEYWORD_LIMIT = 8191  # characters: 32,766 bytes, Lucene's longest term, at four bytes each

LIFECYCLE_SETTING = "index.lifecycle.name"

_UNSUPPORTED_TYPE = re.compile(r"(?:mapper type \[|No handler for type \[)(\w+)\]")
_READ_ONLY = re.compile(r"set as read-only by \[([\w.-]+)\]")
_UNSUPPORTED_SETTING = re.compile(r"unknown setting \[([\w.]+)\]")


class Unsupported(NamedTuple):
    """What a server does not have: mappers and index settings by name."""

    types: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


def unsupported_features(reason: str) -> Unsupported:
    """What a refusal of the template says that the server does not have; nothing if it says something else."""
    return Unsupported(frozenset(_UNSUPPORTED_TYPE.findall(reason)), frozenset(_UNSUPPORTED_SETTING.findall(reason)))


def managed_by(reason: str) -> str:
    """Who alone may change a thing, by Elasticsearch's refusal: `file_settings`, its operator's; empty: nobody."""
    found = _READ_ONLY.search(reason)
    return found[1] if found else ""


class Template(NamedTuple):
    """One index template. `days` of its lifecycle; 0: none, what is in its indices stays until somebody deletes it."""

    name: str
    patterns: tuple[str, ...]
    policy: str
    days: int


def all_templates(settings: Settings) -> list[Template]:
    """The templates: of the common indices, of every route, and of the one for late lines, which never rolls away."""
    prefix, title = settings.index_prefix, f"{OWNER}-{settings.index_prefix}"
    common = Template(title, (f"{prefix}-20*", f"{prefix}-{OWNER}.*"), title, settings.retention_days)
    of_routes = [
        Template(f"{title}-{route}", (f"{prefix}-{route}.20*",), f"{title}-{route}", days)
        for route, days in routes.parse(settings.routes).items()
    ]
    return [common, *of_routes, Template(f"{title}-{LATE}", (f"{prefix}-{LATE}*",), "", 0)]


def template_for(index: str, settings: Settings) -> Template:
    """The template that an index of ours is made by."""
    templates = all_templates(settings)
    fitting = (one for one in templates if any(index.startswith(pattern[:-1]) for pattern in one.patterns))
    return next(fitting, templates[0])


def index_patterns(settings: Settings) -> list[str]:
    """Every index name that is ours, as patterns."""
    return [pattern for one in all_templates(settings) for pattern in one.patterns]


def body(template: Template, settings: Settings, unsupported: Unsupported) -> dict[str, Any]:
    """A template as Elasticsearch takes it, without what the server does not have."""
    return {
        "index_patterns": list(template.patterns),
        "priority": PRIORITY,
        "version": VERSION,
        "_meta": meta(settings),
        "template": {
            "settings": {
                key: value
                for key, value in _index_settings(template, settings).items()
                if key not in unsupported.settings
            },
            "mappings": {
                "_meta": meta(settings),
                "subobjects": False,
                "date_detection": False,
                "numeric_detection": False,
                "dynamic_templates": _DYNAMIC_TEMPLATES,
                "properties": {field: _property(field, row, unsupported.types) for field, row in FIELDS.items()},
            },
        },
    }


def drift(installed: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Where a template that stands (its settings flat, as text) differs from the wanted one, by the setting's name."""
    pairs = [("index_patterns", installed.get("index_patterns"), wanted["index_patterns"])]
    have, want = installed.get("template", {}), wanted["template"]
    pairs += _pairs("", have.get("settings", {}), {key: _as_returned(value) for key, value in want["settings"].items()})
    mappings, properties = dict(have.get("mappings", {})), dict(want["mappings"])
    pairs += _pairs("mappings.", mappings.pop("properties", {}), properties.pop("properties"))
    pairs += _pairs("mappings.", mappings, properties)
    return sorted({name for name, one, other in pairs if one != other})


def _pairs(prefix: str, have: dict[str, Any], want: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(prefix + name, have.get(name), want.get(name)) for name in have.keys() | want.keys()]


def _as_returned(value: Any) -> Any:
    """A setting as Elasticsearch gives it back."""
    if isinstance(value, list):
        return [str(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def meta(settings: Settings) -> dict[str, Any]:
    """What marks template and indices as ours."""
    return {"owner": OWNER, "version": VERSION, "prefix": settings.index_prefix}


def is_owned_by_crisp(value: Any) -> bool:
    """Whether the `_meta` of a template or of an index is a crisp's."""
    return isinstance(value, dict) and value.get("owner") == OWNER


def _index_settings(template: Template, settings: Settings) -> dict[str, Any]:
    lifecycle = {LIFECYCLE_SETTING: template.policy} if template.policy else {}
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


def _property(field: str, row: Field, unsupported_types: frozenset[str]) -> dict[str, Any]:
    kind = row.type
    if kind in unsupported_types:
        kind = _FALLBACK_TYPE_OF_FIELD.get(field) or _FALLBACK_TYPES.get(kind, kind)
    if kind == "alias":
        return {"type": kind, "path": row.path}
    if not row.index:
        return {"type": kind, "index": False, **({"doc_values": False} if kind == "keyword" else {})}
    if kind in {"keyword", "wildcard", "flattened"}:
        return {"type": kind, "ignore_above": _KEYWORD_LIMIT}
    return {"type": kind}


_DYNAMIC_TEMPLATES: list[dict[str, Any]] = [
    {
        "labels": {
            "path_match": f"{LABELS_PREFIX}.*",
            "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT},
        }
    },
    # The same name is a word in one service and true in another: as keywords both are found, neither is refused.
    {"flags": {"match_mapping_type": "boolean", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {"wholes": {"match_mapping_type": "long", "mapping": {"type": "long", "ignore_malformed": True}}},
    {"fractions": {"match_mapping_type": "double", "mapping": {"type": "double", "ignore_malformed": True}}},
]
