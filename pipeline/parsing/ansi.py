"""Colours of a terminal in a text: what programs write that think that somebody looks on. Pure."""

import re
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def strip(text: Any) -> Any:
    """The text without them; what is no text, as it is."""
    return _ANSI.sub("", text) if isinstance(text, str) and "\x1b" in text else text
