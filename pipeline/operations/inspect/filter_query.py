"""The filter terms of a command line, and the Elasticsearch query built from them. Pure.

    app=payments  level>=warn  timeout  http.response.status_code>=500  pod!=web-*

A term with an operator (`=`, `!=`, `>=`, `<=`, `>`, `<`) filters by a field; `*` in its value is a wildcard. Any other
term is a phrase in the message. All terms must match.
"""

import re

from pipeline.contract.ecs import FLATTENED
from pipeline.contract.json_types import JsonObject
from pipeline.errors import UsageError
from pipeline.parsing import level

FIELD_ALIASES = {
    "app": "service.name",
    "service": "service.name",
    "level": "log.level",
    "ns": "kubernetes.namespace",
    "namespace": "kubernetes.namespace",
    "pod": "kubernetes.pod.name",
    "container": "kubernetes.container.name",
    "node": "kubernetes.node.name",
    "stream": "log.iostream",
    "trace": "trace.id",
}
_TERM = re.compile(r"([\w@][\w.@/-]*)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_RANGE_OPERATORS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


def build_query(terms: list[str]) -> JsonObject:
    """Build the query for filter terms. Raises UsageError that names the invalid term."""
    must: list[JsonObject] = []
    must_not: list[JsonObject] = []
    for term in terms:
        match = _TERM.fullmatch(term)
        if match is None:
            must.append({"match_phrase": {"message": term}})
            continue
        name, operator, value = match.groups()
        if not value:
            raise UsageError(f"{term!r}: no value after {operator}")
        clause = _clause(FIELD_ALIASES.get(name, name), operator, value)
        (must_not if operator == "!=" else must).append(clause)
    return {"bool": {"filter": must, "must_not": must_not}}


def filtered_fields(terms: list[str]) -> dict[str, str]:
    """Return the fields that terms filter by, with the name that was written; keys of flattened fields are left out."""
    fields = {}
    for term in terms:
        match = _TERM.fullmatch(term)
        field = FIELD_ALIASES.get(match[1], match[1]) if match else ""
        if field and not field.startswith(tuple(f"{root}." for root in FLATTENED)):
            fields[field] = match[1] if match else ""
    return fields


def _clause(field: str, operator: str, value: str) -> JsonObject:
    if field == "log.level":
        return {"terms": {field: _levels(operator, value)}}
    if operator in _RANGE_OPERATORS:
        return {"range": {field: {_RANGE_OPERATORS[operator]: value}}}
    if field == "message":
        return {"match_phrase": {field: value}}
    if "*" in value:
        return {"wildcard": {field: {"value": value}}}
    return {"term": {field: value}}


def _levels(operator: str, value: str) -> list[str]:
    """Return the levels that match; values are normalised, as in documents (`warning` is `warn`)."""
    name = level.normalize(value)
    if name is None:
        raise UsageError(f"level{operator}{value}: unknown level; levels are {', '.join(level.LEVELS)}")
    index = level.LEVELS.index(name)
    matches = {
        "=": level.LEVELS[index : index + 1],
        "!=": level.LEVELS[index : index + 1],
        ">=": level.LEVELS[index:],
        ">": level.LEVELS[index + 1 :],
        "<=": level.LEVELS[: index + 1],
        "<": level.LEVELS[:index],
    }
    return list(matches[operator])
