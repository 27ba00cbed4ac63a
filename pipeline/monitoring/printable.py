"""Escapes control characters in text from logs and servers, so that it cannot control a terminal or a page."""

import re

# C0 and C1 controls except newline and tab; bidirectional formatting characters; line and paragraph separators;
# lone surrogates, which cannot be encoded.
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str) -> str:
    """The text with each control character as its escape: ESC is `\\x1b`."""
    return _CONTROL_CHARACTERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
