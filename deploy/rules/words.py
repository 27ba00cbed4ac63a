"""A hook: `words:count` in a rules file. It must be deterministic, or the audit cannot verify its documents."""

from typing import Any


def count(event: dict[str, Any]) -> bool | None:
    """Gets the event's fields and those of its container; what it changes counts. False drops the event."""
    words = event["message"].split()
    if not words:
        return False
    event["words"] = {"count": len(words), "longest": max(words, key=len)}
    return None
