"""Health probes: a request to exactly one of the known paths, answered with success. Pure."""

from typing import Any

_METHODS = ("GET", "HEAD")


def is_probe(fields: dict[str, Any], paths: frozenset[str]) -> bool:
    """Whether the fields of a document are a probe's request; nothing that merely mentions a path is.

    The fields may come from an application: a value of any type is answered, and only a real one counts.
    """
    path = fields.get("url.path")
    if not isinstance(path, str) or path not in paths:
        return False
    # A tuple, not a set: an application's method may be a list, which no set can be asked for.
    return fields.get("http.request.method") in _METHODS and _succeeded(fields.get("http.response.status_code"))


def _succeeded(status: object) -> bool:
    """2xx, as a number or as three digits."""
    if isinstance(status, str):
        return len(status) == 3 and status[0] == "2" and status.isascii() and status.isdigit()
    return isinstance(status, int) and 200 <= status < 300
