"""Text from logs and servers, made harmless for a terminal or a page: what would steer either is shown, not obeyed."""

import re

# C0 and C1 controls but newline and tab; marks that turn the direction of writing; separators that break lines;
# lone surrogates, which no encoding takes.
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)


def printable(text: str) -> str:
    """The text with each steering character as its escape: ESC is `\\x1b`."""
    return _CONTROL_CHARACTERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
