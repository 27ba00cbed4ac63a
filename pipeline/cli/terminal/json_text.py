"""JSON for standard output, which may be a terminal behind a pipe: logs must not move its cursor nor hide text."""

import re
from typing import Any

import orjson

_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def encode_json(value: Any) -> str:
    """Return one line of JSON in which unprintable characters have JSON's escapes: equal when it is parsed.

    Those are the controls of C1 and DEL, and the characters that override the direction of text or have no width.
    """
    text = orjson.dumps(value).decode()
    # Outside of texts, JSON has only printable ASCII: whatever is escaped is in a text.
    return text if text.isprintable() else _UNPRINTABLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char.isprintable():
        return char
    units = char.encode("utf-16-be").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
