"""Health probes: a request to exactly one of the known paths, answered with success. Pure."""

from typing import Any


def is_probe(fields: dict[str, Any], paths: frozenset[str]) -> bool:
    """Whether the fields of a document are a probe's request; nothing that merely mentions a path is."""
    path = fields["url.path"]
    if not isinstance(path, str) or path not in paths or fields.get("http.request.method") not in {"GET", "HEAD"}:
        return False
    status = fields.get("http.response.status_code")
    return isinstance(status, int | str) and str(status).startswith("2") and len(str(status)) == 3
