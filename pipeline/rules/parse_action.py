"""The action `parse`: fields out of one field's text, by a format or by a pattern with named groups. Pure."""

import re
from collections.abc import Callable
from typing import Any

import orjson

from pipeline.contract.ecs import FIELDS
from pipeline.parsing import json_body, text_formats

Parser = Callable[[str], dict[str, Any] | None]
"""The fields that a text gives; None when it is not of the format."""

# A pair of logfmt: a key alone is true, a value may stand in quotes.
_PAIR = re.compile(r'([A-Za-z_@][\w.@/-]*)(?:=("(?:[^"\\]|\\.)*"|[^\s"]*))?(?=\s|$)')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d{1,15})?", re.ASCII)


def _json(field_limit: int) -> Parser:
    return lambda text: json_body.parse_fields(text.strip().encode("utf-8", "replace"), field_limit)


def _logfmt(field_limit: int) -> Parser:
    def parse(text: str) -> dict[str, Any] | None:
        pairs: dict[str, Any] = {}
        for key, value in _PAIR.findall(text):
            taken = _logfmt_value(value)
            before = pairs.get(key, pairs)
            pairs[key] = taken if before is pairs else [*(before if isinstance(before, list) else [before]), taken]
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
"""Parsers by the name of their format, made for a limit of fields; `text` is any format that crisp recognises."""


def pattern_parser(compiled: Any, fields: dict[str, str]) -> Parser:
    """A parser that takes the named groups of a pattern of RE2, each under its field's name."""
    whole = frozenset(name for name in fields.values() if name in FIELDS and FIELDS[name].type == "long")
    search = compiled.search

    def parse(text: str) -> dict[str, Any] | None:
        match = search(text)
        if match is None:
            return None
        groups = {fields[group]: value for group, value in match.groupdict().items() if value is not None}
        for name in whole & groups.keys():
            if _NUMBER.fullmatch(groups[name]) and "." not in groups[name]:
                groups[name] = int(groups[name])
        return groups

    return parse
