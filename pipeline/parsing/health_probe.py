"""Health probes: a successful request to exactly one of the configured paths. Pure.

The kubelet accepts 200 to 399 as success, so its user agent extends the range to 399. The user agent alone proves
nothing, since any client can send it: the path always has to match, and a failed probe is never dropped.
"""

from pipeline.contract.json_types import JsonObject

_METHODS = ("GET", "HEAD")
_AGENT = "kube-probe/"


def is_probe(fields: JsonObject, paths: frozenset[str]) -> bool:
    """Return whether a document's fields are those of a health probe; a path in the message is not enough.

    The fields may come from an application, so a value of any type is accepted.
    """
    path = fields.get("url.path")
    if not isinstance(path, str) or path not in paths:
        return False
    # A tuple, not a set: an application's method may be a list, which is not hashable.
    if fields.get("http.request.method") not in _METHODS:
        return False
    agent = fields.get("user_agent.original")
    is_kubelet = isinstance(agent, str) and agent.startswith(_AGENT)
    return _status(fields.get("http.response.status_code")) in range(200, 400 if is_kubelet else 300)


def _status(status: object) -> int:
    """A status as a number or as three digits; 0 for anything else."""
    if isinstance(status, str):
        return int(status) if len(status) == 3 and status.isascii() and status.isdigit() else 0
    return status if isinstance(status, int) else 0
