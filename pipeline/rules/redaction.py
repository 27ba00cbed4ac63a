"""Redaction of secrets by kind: recognised by their form, replaced by `[redacted KIND]`. Pure, and linear in the text.

Each kind is a function from a text to the spans of its secrets; where the form is not sufficient, more is computed (the
check digit of a card, the decoded basic-auth header). For a secret without a form the field's name decides
(`aws_secret_access_key`). Pod metadata is not redacted: labels and annotations are no place for secrets.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import re2

from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.contract.json_types import JsonObject
from pipeline.grouping.event import Event
from pipeline.rules import pem_block

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
_AWS_NAME = re2.compile(r"(?i)secret[_\-.]?(?:access)?[_\-.]?key$")
_AWS_VALUE = re.compile(r"[A-Za-z0-9/+]{40}", re.ASCII)
_KEY_MARKER = r"-----{} [A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
_KEY = re2.compile(
    rf"(?s)({_KEY_MARKER.format('BEGIN')})(?:.*?{_KEY_MARKER.format('END')}|[A-Za-z0-9+/=\s\\:,.\-]*)",
)
_JWT = re2.compile(r"eyJ[\w\-]{8,}\.(?:[\w\-]*\.[\w\-]+(?:\.[\w\-]+){0,2}|[\w\-]+\.?)")
_DIGITS = re2.compile(r"\d(?:[ \-]?\d){12,}")
_EMAIL = re2.compile(r"[^\s\"'`<>()\[\]{},:;=@/\\|]{1,64}@(?:[^\x00-\x2c./:-@\[-`{-\x7f]{1,63}\.){1,8}[A-Za-z]{2,24}")
_BRANDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12,15}|3(?:0[0-5]|[689]\d)\d{11}|35\d{14}|62\d{14,17}|(?:50|5[6-9]|6[0379])\d{10,17}",
    re.ASCII,
)
_MAX_CARD_DIGITS = 19
_HEX = re.compile(r"[0-9a-fA-F]{20,}")
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


def _card(text: str) -> Spans:
    """Card numbers made of whole groups of digits, with blanks or hyphens between them."""
    for match in _DIGITS.finditer(text):
        begin, end = match.span()
        if _within_number(text, begin, end):
            continue
        groups = [(begin + group.start(), begin + group.end()) for group in re.finditer(r"\d+", match[0])]
        yield from _cards_in_groups(text, groups)


def _cards_in_groups(text: str, groups: list[tuple[int, int]]) -> Spans:
    """Search each run of groups for a card number: of no more digits than one has, or the time would be cubic."""
    redacted_end = 0
    for first, (start, _) in enumerate(groups):
        if start < redacted_end:
            continue
        digits = ""
        for group_start, stop in groups[first : first + _MAX_CARD_DIGITS]:
            digits += text[group_start:stop]
            if len(digits) > _MAX_CARD_DIGITS:
                break
            if is_card_number(digits):
                yield start, stop
                redacted_end = stop
                break


def _within_number(text: str, begin: int, end: int) -> bool:
    """Return whether digits are the fraction of a number, or part of a long hexadecimal number."""
    if begin > 1 and text[begin - 1] == "." and text[begin - 2].isdigit():
        return True
    if end + 1 < len(text) and text[end] == "." and text[end + 1].isdigit():
        return True
    around = text[max(0, begin - 64) : end + 64]
    return any(
        match.start() < end - max(0, begin - 64) and match.end() > begin - max(0, begin - 64)
        for match in _HEX.finditer(around)
        if not match[0].isdecimal()
    )


def is_card_number(digits: str) -> bool:
    """Return whether digits are a payment card's number: length and prefix of a known issuer, and the check digit."""
    if not _BRANDS.fullmatch(digits):
        return False
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(map(int, digits[-1::-2]))) % 10 == 0


KINDS: dict[str, tuple[Callable[[str], Spans], str]] = {
    "private-key": (_private_key, "PRIVATE KEY"),
    "bearer": (_bearer, "(?i:bearer)"),
    "jwt": (_jwt, "eyJ"),
    "basic-auth": (_basic_auth, "://|(?i:basic)"),
    "aws": (_aws, "A[A-Z]{3}[A-Z0-9]{16}|(?i:secret)|FwoGZXIvYXdz|IQoJb3JpZ2luX2Vj"),
    "card": (_card, r"\d(?:[ \-]?\d){12}"),
    "email": (_email, "[^\\s\"'<]@[^\\s\"'<]"),
}
"""Kinds of secrets in the order of the search: the function for the spans, and a trigger that matches every text with
such a secret."""


class Redaction:
    """Replaces secrets of some kinds, and matches of further RE2 patterns, each with its own replacement."""

    def __init__(self, kinds: Iterable[str], patterns: Iterable[tuple[Any, str]] = (), replacement: str = "") -> None:
        chosen = set(kinds)
        self._finders = [
            (kind, KINDS[kind][0], replacement or f"[redacted {kind}]") for kind in KINDS if kind in chosen
        ]
        self._finders += [("pattern", _pattern_finder(pattern), text) for pattern, text in patterns]
        self._aws_replacement, self._key_replacement = (
            next((text for kind, _, text in self._finders if kind == wanted_kind), "")
            for wanted_kind in ("aws", "private-key")
        )
        self._has_patterns = any(kind not in KINDS for kind, _, _ in self._finders)
        self._trigger = re2.compile("|".join(KINDS[kind][1] for kind, _, _ in self._finders if kind in KINDS))

    def find_key_lines(self, value: bytes, events: Iterable[Event]) -> frozenset[pem_block.Position]:
        """Return the events of a slice that are lines of a private key."""
        return pem_block.find_key_lines(events) if self._key_replacement and pem_block.MARKER in value else frozenset()

    def may_contain(self, event: Event, key_lines: frozenset[pem_block.Position]) -> bool:
        """Return whether an event of a slice may contain secrets."""
        content = event[5]
        return self.matches_trigger(content) or (
            bool(self._key_replacement) and (event[:2] in key_lines or pem_block.is_full_line(content))
        )

    def redact_event(self, fields: JsonObject, event: Event, key_lines: frozenset[pem_block.Position]) -> None:
        """Redact the fields of an event, in place."""
        self.redact_fields(fields)
        if self._key_replacement and (event[:2] in key_lines or pem_block.is_full_line(event[5])):
            fields["message"] = self._key_replacement

    def matches_trigger(self, content: bytes) -> bool:
        """Return whether content may have secrets; in JSON a backslash may be an escape within one."""
        return b"\\" in content or self._trigger.search(content) is not None

    def secrets(self, text: str) -> list[tuple[str, str]]:
        """Return the secrets of a text, each with its replacement."""
        secrets = []
        for _, find, replacement in self._finders:
            spans = list(find(text))
            if spans:
                secrets += [(text[begin:end], replacement) for begin, end in spans]
                text = _replace_spans(text, spans, lambda _, replacement=replacement: replacement)  # type: ignore[misc]
        return secrets

    def redact_text(self, text: str) -> str:
        """Redact a text."""
        for _, find, replacement in self._finders:
            spans = list(find(text))
            if spans:
                text = _replace_spans(text, spans, lambda _, replacement=replacement: replacement)  # type: ignore[misc]
        return text

    def redact_value(self, value: Any, name: str = "") -> Any:
        """Redact a field's value, lists and objects included; a number that is a card number becomes text."""
        if isinstance(value, str):
            if self._aws_replacement and _AWS_VALUE.fullmatch(value) and _AWS_NAME.search(name):
                return self._aws_replacement
            return self.redact_text(value)
        if isinstance(value, list):
            return [self.redact_value(entry, name) for entry in value]
        if isinstance(value, dict):
            return {self.redact_text(key): self.redact_value(entry, key) for key, entry in value.items()}
        if isinstance(value, int) and abs(value) >= 10**11:
            text = self.redact_text(str(value))
            return value if text == str(value) else text
        return value

    def redact_fields(self, fields: JsonObject) -> None:
        """Redact every field of a document, in place, and names that contain a secret."""
        if not self._has_patterns and self._trigger.search("\n".join([*fields, *map(str, fields.values())])) is None:
            return  # one search over all values; escapes in the text of a list hide no kind's trigger
        for name, value in list(fields.items()):
            fields[name] = self.redact_value(value, name)
            redacted_name = self.redact_text(name)
            if redacted_name != name:
                _append(fields, f"{APPLICATION_PREFIX}.{redacted_name}", fields.pop(name))

    def mask_bytes(self, data: bytes) -> bytes:
        """Replace secrets in raw bytes with stars; the length stays, so that offsets remain valid."""
        if not self._finders:
            return data
        return b"\n".join(map(self._mask_json_line, self._mask_matches(data).split(b"\n")))

    def _mask_matches(self, data: bytes) -> bytes:
        text = data.decode("latin-1")
        for _, find, _ in self._finders:
            spans = list(find(text))
            if spans:
                text = _replace_spans(text, spans, lambda secret: re.sub(r"[^\n]", "*", secret))
        return text.encode("latin-1")

    def _mask_json_line(self, line: bytes) -> bytes:
        """Mask a line after its first brace if its JSON has a secret in escapes or by a field's name."""
        begin = line.find(b"{")
        if begin < 0:
            return line
        try:
            body = orjson.loads(line[begin:])
        except orjson.JSONDecodeError:
            return line
        return line if self.redact_value(body) == body else line[:begin] + b"*" * (len(line) - begin)


def _pattern_finder(pattern: Any) -> Callable[[str], Spans]:
    return lambda text: (match.span() for match in pattern.finditer(text) if match.end() > match.start())


def _replace_spans(text: str, spans: list[tuple[int, int]], replace: Callable[[str], str]) -> str:
    parts = []
    position = 0
    for begin, end in sorted(spans):
        if begin >= position:
            parts += [text[position:begin], replace(text[begin:end])]
            position = end
    return "".join((*parts, text[position:]))


def _append(fields: JsonObject, name: str, value: Any) -> None:
    previous = fields.get(name, fields)
    values = [] if previous is fields else previous if isinstance(previous, list) else [previous]
    fields[name] = [*values, *(value if isinstance(value, list) else [value])] if values else value
