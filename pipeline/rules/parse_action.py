"""Parsers for the action `parse`: fields from a field's text, by a format or a pattern with named groups. Pure."""

import re
from collections.abc import Callable
from typing import Any

import orjson

from pipeline.contract.ecs import FIELDS
from pipeline.contract.json_types import JsonObject
from pipeline.parsing.json import json_body
from pipeline.parsing.text import text_formats

Parser = Callable[[str], JsonObject | None]
"""Returns the fields of a text; None for a text of another format."""

# A pair of logfmt: a key without a value is true, a value may be quoted.
_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]*)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,15})?", re.ASCII)


def _json(field_limit: int) -> Parser:
    return lambda text: json_body.parse_fields(text.strip().encode("utf-8", "replace"), field_limit)


def _logfmt(field_limit: int) -> Parser:
    def parse(text: str) -> JsonObject | None:
        pairs: JsonObject = {}
        for key, value in _PAIR.findall(text):
            parsed = _logfmt_value(value)
            previous = pairs.get(key, pairs)
            pairs[key] = (
                parsed if previous is pairs else [*(previous if isinstance(previous, list) else [previous]), parsed]
            )
        return json_body.parse_fields(orjson.dumps(pairs), field_limit) if "=" in text and pairs else None

    return parse


def _logfmt_value(text: str) -> Any:
    if text[:1] == '"':
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return text[1:-1]
    return orjson.loads(text) if _NUMBER.fullmatch(text) else text


def _text_format(name: str) -> Callable[[int], Parser]:
    return lambda _: text_formats.PARSERS[name]


FORMATS: dict[str, Callable[[int], Parser]] = {
    "json": _json,
    "logfmt": _logfmt,
    "access": _text_format("access"),
    "klog": _text_format("klog"),
    "text": _text_format("text"),
}
"""Factories of parsers by format; the argument is the field limit. `text` is any format that crisp supports."""


def pattern_parser(compiled: Any, fields: dict[str, str]) -> Parser:
    """Return a parser for the named groups of an RE2 pattern, each under its field's name."""
    integers = frozenset(name for name in fields.values() if name in FIELDS and FIELDS[name].type == "long")
    search = compiled.search

    def parse(text: str) -> JsonObject | None:
        match = search(text)
        if match is None:
            return None
        groups = {fields[group]: value for group, value in match.groupdict().items() if value is not None}
        for name in integers & groups.keys():
            if _NUMBER.fullmatch(groups[name]) and "." not in groups[name]:
                groups[name] = int(groups[name])
        return groups

    return parse
