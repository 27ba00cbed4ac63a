"""Routes: documents that go to indices of their own, each with its own retention. Pure.

A route is a word of the setting `CRISP_ROUTES` ("infra=7 audit=90": name=days). Its index is
`logs-<route>.YYYY.MM.DD`, the route without a hyphen, so that the built-in data-stream template `logs-*-*` never
matches it.
"""

import re

INFRA = "infra"
"""The route of the containers in the namespaces of `CRISP_INFRA_NAMESPACES`, where there is such a route."""

_ROUTE = re.compile(r"([a-z][a-z0-9]{0,39})=([1-9]\d{0,4})", re.ASCII)
_RESERVED = frozenset({"late", "crisp"})  # logs-late, logs-crisp.YYYY.MM.DD


def parse(text: str) -> dict[str, int]:
    """Days of retention by route. Raises ValueError naming the word that is none."""
    days: dict[str, int] = {}
    for word in text.split():
        match = _ROUTE.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not route=days, such as {INFRA}=7 (lower-case letters and digits)")
        if match[1] in _RESERVED:
            raise ValueError(f"{match[1]!r} is an index name of crisp's own")
        if match[1] in days:
            raise ValueError(f"{match[1]!r} comes twice")
        days[match[1]] = int(match[2])
    return days
