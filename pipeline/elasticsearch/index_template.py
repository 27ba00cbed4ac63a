"""Index templates: a mapping for every field of the pipeline, dynamic templates for the applications' fields. Pure.

A server may not support a mapper (another distribution) or a setting (an older version). Its error names the missing
feature: `unsupported_features` parses the error, and `body` then omits the feature.
"""

import re
from typing import Any, NamedTuple

from pipeline.config import index_options
from pipeline.config.settings import IndexSettings
from pipeline.contract.ecs import FIELDS, LABELS_PREFIX, Field
from pipeline.contract.json_types import JsonObject
from pipeline.elasticsearch import requests

VERSION = 4
OWNER = "crisp"
PRIORITY = 500
LATE = "late"
"""Suffix of the index for lines older than the retention."""

# The types that replace mappers which the server does not support.
_FALLBACK_TYPES = {"match_only_text": "text", "wildcard": "keyword", "date_nanos": "date"}
_FALLBACK_TYPE_OF_FIELD = {"error.stack_trace": "text"}  # too long for a keyword
_KEYWORD_LIMIT = 8191  # characters: 32,766 bytes, Lucene's longest term, at four bytes each

LIFECYCLE_SETTING = "index.lifecycle.name"
MODE_SETTING = "index.mode"
_LOGSDB = {MODE_SETTING: "logsdb", "index.mapping.source.mode": "stored"}
"""A synthetic source has times in another notation, and arrays in another order: after a retry the stored document
would not be recognised as the same."""

_UNSUPPORTED_TYPE = re.compile(r"(?:mapper type \[|No handler for type \[)(\w+)\]")
_READ_ONLY = re.compile(r"set as read-only by \[([\w.-]+)\]")
_UNSUPPORTED_SETTING = re.compile(r"unknown setting \[([\w.]+)\]")


class Unsupported(NamedTuple):
    """The features that a server does not support: mappers and index settings by name."""

    types: frozenset[str] = frozenset()
    settings: frozenset[str] = frozenset()


def unsupported_features(reason: str) -> Unsupported:
    """Return the unsupported features that an error names; none if the error is about something else."""
    return Unsupported(frozenset(_UNSUPPORTED_TYPE.findall(reason)), frozenset(_UNSUPPORTED_SETTING.findall(reason)))


def is_about_mode(reason: str) -> bool:
    """Return whether an error is that the server does not support the mode of an index."""
    return "IndexMode." in reason


def managed_by(reason: str) -> str:
    """Return the only manager of a resource according to the error, such as `file_settings`; empty if there is none."""
    match = _READ_ONLY.search(reason)
    return match[1] if match else ""


class Template(NamedTuple):
    """One index template. `days` of its lifecycle policy; 0: no policy, its indices are kept until deleted manually."""

    name: str
    patterns: tuple[str, ...]
    policy: str
    days: int


def all_templates(settings: IndexSettings) -> list[Template]:
    """Return the templates of the common indices, of every route, and of the index for late lines (never deleted)."""
    prefix, title = settings.index_prefix, f"{OWNER}-{settings.index_prefix}"
    common = Template(title, (f"{prefix}-20*", f"{prefix}-{OWNER}.*"), title, settings.retention_days)
    route_templates = [
        Template(f"{title}-{route}", (f"{prefix}-{route}.20*",), f"{title}-{route}", days)
        for route, days in settings.routes.items()
    ]
    return [common, *route_templates, Template(f"{title}-{LATE}", (f"{prefix}-{LATE}*",), "", 0)]


def template_for(index: str, settings: IndexSettings) -> Template:
    """Return the template that applies to an index of crisp."""
    templates = all_templates(settings)
    matching = (entry for entry in templates if any(index.startswith(pattern[:-1]) for pattern in entry.patterns))
    return next(matching, templates[0])


def index_patterns(settings: IndexSettings) -> list[str]:
    """Return the patterns of all index names of crisp."""
    return [pattern for template in all_templates(settings) for pattern in template.patterns]


def body(template: Template, settings: IndexSettings, unsupported: Unsupported) -> JsonObject:
    """Return the request body of a template, without the unsupported features."""
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


def read_installed(response: Any) -> JsonObject:
    """Return the template in the response to a request for one. Raises ResponseError if it has another form."""
    entries = requests.read_member(response, list, "index_templates")
    template = requests.read_member(entries[0] if len(entries) == 1 else None, dict, "index_template")
    for name in ("settings", "mappings"):
        # A template of index patterns only has no member `template`.
        if "template" in template and name in requests.read_member(template, dict, "template"):
            requests.read_member(template, dict, "template", name)
    return template


def drift(installed: JsonObject, wanted: JsonObject) -> list[str]:
    """Return the names of the settings in which an installed template (flat, as text) differs from the wanted one."""
    pairs = [("index_patterns", installed.get("index_patterns"), wanted["index_patterns"])]
    actual, target = installed.get("template", {}), wanted["template"]
    settings = {key: _as_returned(value) for key, value in target["settings"].items()}
    pairs += _pairs("", actual.get("settings", {}), settings)
    actual_mappings, target_mappings = dict(actual.get("mappings", {})), dict(target["mappings"])
    properties = actual_mappings.pop("properties", {})
    pairs += _pairs("mappings.", properties if isinstance(properties, dict) else {}, target_mappings.pop("properties"))
    pairs += _pairs("mappings.", actual_mappings, target_mappings)
    return sorted({name for name, actual_value, target_value in pairs if actual_value != target_value})


def _pairs(prefix: str, actual: JsonObject, target: JsonObject) -> list[tuple[str, Any, Any]]:
    return [(prefix + name, actual.get(name), target.get(name)) for name in actual.keys() | target.keys()]


def _as_returned(value: Any) -> Any:
    """Return a setting in the form in which Elasticsearch returns it."""
    if isinstance(value, list):
        return [str(entry) for entry in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def meta(settings: IndexSettings) -> JsonObject:
    """Return the `_meta` that marks templates and indices as crisp's."""
    return {"owner": OWNER, "version": VERSION, "prefix": settings.index_prefix}


def is_owned_by_crisp(value: Any) -> bool:
    """Return whether the `_meta` of a template or an index is crisp's."""
    return isinstance(value, dict) and value.get("owner") == OWNER


def user_settings(settings: IndexSettings) -> frozenset[str]:
    """Return the names of the index settings that the user has chosen; they are never omitted."""
    mode = _LOGSDB if settings.index_mode == "logsdb" else {}
    return frozenset({*mode, *index_options.parse(settings.index_settings)})


def _index_settings(template: Template, settings: IndexSettings) -> JsonObject:
    values = {
        **({LIFECYCLE_SETTING: template.policy} if template.policy else {}),
        **(_LOGSDB if settings.index_mode == "logsdb" else {}),
        "index.number_of_shards": settings.index_shards,
        "index.auto_expand_replicas": "0-1",
        "index.refresh_interval": "1s",
        "index.codec": "best_compression",
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
        **index_options.parse(settings.index_settings),
    }
    return {name: value for name, value in values.items() if value is not None}


def _property(field: str, definition: Field, unsupported_types: frozenset[str]) -> JsonObject:
    kind = definition.type
    if kind in unsupported_types:
        kind = _FALLBACK_TYPE_OF_FIELD.get(field) or _FALLBACK_TYPES.get(kind, kind)
    if kind == "alias":
        return {"type": kind, "path": definition.path}
    if not definition.index:
        return {"type": kind, "index": False, **({"doc_values": False} if kind == "keyword" else {})}
    options: JsonObject = {"ignore_above": _KEYWORD_LIMIT} if kind in {"keyword", "wildcard", "flattened"} else {}
    if kind == "text":
        options["norms"] = False  # they only rank by length; `match_only_text` has none
    if definition.doc_values_only:
        options["index"] = False
    return {"type": kind, **options}


_NUMBER_OR_TEXT: JsonObject = {
    "ignore_malformed": True,
    "fields": {"as_text": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT, "doc_values": False}},
}
"""What is no number is ignored by a field of numbers: `status.as_text: ok` finds it."""
_DYNAMIC_TEMPLATES: list[JsonObject] = [
    {
        "labels": {
            "path_match": f"{LABELS_PREFIX}.*",
            "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT},
        }
    },
    # A field may be a string in one service and a boolean in another: as keywords both are accepted and searchable.
    {"flags": {"match_mapping_type": "boolean", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {"words": {"match_mapping_type": "string", "mapping": {"type": "keyword", "ignore_above": _KEYWORD_LIMIT}}},
    {
        "ids": {
            "match_mapping_type": "long",
            "match_pattern": "regex",
            "match": "^.*([iI]d|ID)$",
            "mapping": {"type": "long", **_NUMBER_OR_TEXT},
        }
    },
    # A whole number may be followed by a fraction, which `long` would cut; ids need all their digits.
    {"wholes": {"match_mapping_type": "long", "mapping": {"type": "double", **_NUMBER_OR_TEXT}}},
    {"fractions": {"match_mapping_type": "double", "mapping": {"type": "double", **_NUMBER_OR_TEXT}}},
]
