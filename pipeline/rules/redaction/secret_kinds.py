"""Kinds of secrets, recognised by their form. Pure, and linear in the text.

Each kind is a function from a text to the spans of its secrets; where the form is not sufficient, more is computed (the
check digit of a card, the decoded basic-auth header). For a secret without a form the field's name decides
(`aws_secret_access_key`).
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator

import re2

from pipeline.rules.redaction.card_number import find_card_numbers

Spans = Iterator[tuple[int, int]]
"""Start and end of each secret in a text, in order."""

_TOKEN = r"[A-Za-z0-9\-._~+/]+=*"  # noqa: S105 - the grammar of RFC 6750, not a password
_BEARER = re2.compile(rf"(?i)(?:(authorization[\"'\\]*\s*[:=]\s*[\"'\\]*)|\b)bearer\s+({_TOKEN})")
_BASIC = re2.compile(r"(?i)\bbasic\s+([A-Za-z0-9+/]{2,}={0,2})")
_USERINFO = re2.compile(r"(?i)[a-z][a-z0-9+.\-]*://[^\s/?#@:\"'<>]*:([^\s/?#\"'<>]+)@")
_AWS = re2.compile(
    r"((?:AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AIPA|ANPA|ANVA|AROA)[A-Z0-9]{16})"
    r"|(?i:secret[_\- ]?(?:access)?[_\- ]?key)[\"'\\]*\s*[:=]\s*[\"'\\]*([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+]|$)"
    r"|((?:FwoGZXIvYXdz|IQoJb3JpZ2luX2Vj)[A-Za-z0-9/+=%]{20,})"
)
_KEY_MARKER = r"-----{} [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
_KEY = re2.compile(
    rf"(?s)({_KEY_MARKER.format('BEGIN')})(?:.*?{_KEY_MARKER.format('END')}|[A-Za-z0-9+/=\s\\:,.\-]*)",
)
_JWT = re2.compile(r"eyJ[\w\-]{8,}\.(?:[\w\-]*\.[\w\-]+(?:\.[\w\-]+){0,2}|[\w\-]+\.?)")
_EMAIL = re2.compile(r"[^\s\"'`<>()\[\]{},:;=@/\\|]{1,64}@(?:[^\x00-\x2c./:-@\[-`{-\x7f]{1,63}\.){1,8}[A-Za-z]{2,24}")
_PLAIN_WORD = re.compile(r"[A-Za-z]?[a-z]*[.,;:]?")


def _bearer(text: str) -> Spans:
    for match in _BEARER.finditer(text):
        whole = match.start() == 0 and match.end() == len(text)
        # "bearer token required" is a sentence.
        if match[1] is not None or whole or not _PLAIN_WORD.fullmatch(match[2]):
            yield match.span(2)


def _basic_auth(text: str) -> Spans:
    yield from (match.span(1) for match in _USERINFO.finditer(text))
    for match in _BASIC.finditer(text):
        try:
            if b":" in base64.b64decode(match[1], validate=True):
                yield match.span(1)
        except binascii.Error:
            continue  # an ordinary word after "basic"


def _aws(text: str) -> Spans:
    for match in _AWS.finditer(text):
        yield match.span(next(group for group in (1, 2, 3) if match[group] is not None))


def _private_key(text: str) -> Spans:
    return (match.span() for match in _KEY.finditer(text))


def _jwt(text: str) -> Spans:
    return (match.span() for match in _JWT.finditer(text))


def _email(text: str) -> Spans:
    return (match.span() for match in _EMAIL.finditer(text))


KINDS: dict[str, tuple[Callable[[str], Spans], str]] = {
    "private-key": (_private_key, "PRIVATE KEY"),
    "bearer": (_bearer, "(?i:bearer)"),
    "jwt": (_jwt, "eyJ"),
    "basic-auth": (_basic_auth, "://|(?i:basic)"),
    "aws": (_aws, "A[A-Z]{3}[A-Z0-9]{16}|(?i:secret)|FwoGZXIvYXdz|IQoJb3JpZ2luX2Vj"),
    "card": (find_card_numbers, r"\d(?:[ \-]?\d){12}"),
    "email": (_email, "[^\\s\"'<]@[^\\s\"'<]"),
}
"""Kinds of secrets in the order of the search: the function for the spans, and a trigger that matches every text with
such a secret."""
