"""Redaction: secrets and matches of patterns in texts, fields and raw bytes are replaced by `[redacted KIND]`.

Pod metadata is not redacted: labels and annotations are no place for secrets.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

import orjson
import re2

from pipeline.contract.ecs import APPLICATION_PREFIX
from pipeline.contract.json_types import JsonObject
from pipeline.grouping.event import Event
from pipeline.rules.redaction import pem_block
from pipeline.rules.redaction.secret_kinds import KINDS, Spans

_AWS_NAME = re2.compile(r"(?i)secret[_\-.]?(?:access)?[_\-.]?key$")
_AWS_VALUE = re.compile(r"[A-Za-z0-9/+]{40}", re.ASCII)


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
