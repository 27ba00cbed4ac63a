"""What one wants to see, as words on a command line, and the query that they mean. Pure.

    app=payments  level>=warn  timeout  http.response.status_code>=500  pod!=web-*

A word with an operator (`=`, `!=`, `>=`, `<=`, `>`, `<`) asks for a field, a `*` in its value stands for anything; any
other word is looked for in the message. All must hold.
"""

import re
from typing import Any

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
LEVELS_BY_SEVERITY = ("trace", "debug", "info", "notice", "warn", "error", "critical", "fatal")
_WORD = re.compile(r"([\w@][\w.@/-]*)(!=|>=|<=|=|>|<)(.*)", re.DOTALL)
_RANGE_OPERATORS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


def build_query(terms: list[str]) -> dict[str, Any]:
    """The query for these words. Raises UsageError naming the word that cannot be meant."""
    must: list[dict[str, Any]] = []
    must_not: list[dict[str, Any]] = []
    for word in terms:
        match = _WORD.fullmatch(word)
        if match is None:
            must.append({"match_phrase": {"message": word}})
            continue
        name, operator, value = match.groups()
        if not value:
            raise UsageError(f"{word!r}: no value behind {operator}")
        clause = _clause(FIELD_ALIASES.get(name, name), operator, value)
        (must_not if operator == "!=" else must).append(clause)
    return {"bool": {"filter": must, "must_not": must_not}}


def _clause(field: str, operator: str, value: str) -> dict[str, Any]:
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
    """The levels that are meant; `warning` is `warn` here too."""
    name = level.normalize(value)
    if name is None:
        raise UsageError(f"level{operator}{value}: no level; there are {', '.join(LEVELS_BY_SEVERITY)}")
    place = LEVELS_BY_SEVERITY.index(name)
    chosen = {
        "=": LEVELS_BY_SEVERITY[place : place + 1],
        "!=": LEVELS_BY_SEVERITY[place : place + 1],
        ">=": LEVELS_BY_SEVERITY[place:],
        ">": LEVELS_BY_SEVERITY[place + 1 :],
        "<=": LEVELS_BY_SEVERITY[: place + 1],
        "<": LEVELS_BY_SEVERITY[:place],
    }
    return list(chosen[operator])
