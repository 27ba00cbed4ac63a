"""ANSI escape sequences: the terminal colours that programs write into logs. Pure."""

import re
from typing import Any

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")


def strip(value: Any) -> Any:
    """Return a text without ANSI escape sequences; any other value unchanged."""
    return _ANSI.sub("", value) if isinstance(value, str) and "\x1b" in value else value
