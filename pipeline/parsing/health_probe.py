"""Health probes: a request to exactly one of the known paths, answered with success. Pure.

The kubelet takes 200 to 399 for success, so what its agent asked for is a probe up to there. An agent alone proves
nothing, since any client can call itself so: the path counts always, and a probe that fails is never dropped.
"""

from typing import Any

_METHODS = ("GET", "HEAD")
_AGENT = "kube-probe/"


def is_probe(fields: dict[str, Any], paths: frozenset[str]) -> bool:
    """Whether the fields of a document are a probe's request; nothing that merely mentions a path is.

    The fields may come from an application: a value of any type is answered, and only a real one counts.
    """
    path = fields.get("url.path")
    if not isinstance(path, str) or path not in paths:
        return False
    # A tuple, not a set: an application's method may be a list, which no set can be asked for.
    if fields.get("http.request.method") not in _METHODS:
        return False
    agent = fields.get("user_agent.original")
    asked_by_kubelet = isinstance(agent, str) and agent.startswith(_AGENT)
    return _status(fields.get("http.response.status_code")) in range(200, 400 if asked_by_kubelet else 300)


def _status(status: object) -> int:
    """A status as a number or as three digits; 0 for anything else."""
    if isinstance(status, str):
        return int(status) if len(status) == 3 and status.isascii() and status.isdigit() else 0
    return status if isinstance(status, int) else 0
