"""Routes: separate indices for some documents, each with its own retention. Pure.

A route is an entry of the setting `CRISP_ROUTES` ("infra=7 audit=90": name=days). Its index is
`logs-<route>.YYYY.MM.DD`, the route without a hyphen, so that the built-in data-stream template `logs-*-*` never
matches it.
"""

import re
from collections.abc import Iterable

from pipeline.config import units

INFRA = "infra"
"""The route of containers in the namespaces of `CRISP_INFRA_NAMESPACES`, if it is configured."""

_ROUTE = re.compile(r"([a-z][a-z0-9]{0,39})=([1-9]\d{0,4}[dw]?)", re.ASCII)
_RESERVED = frozenset({"late", "crisp"})  # logs-late, logs-crisp.YYYY.MM.DD


def parse(entries: Iterable[str]) -> dict[str, int]:
    """Parse the setting's entries into days of retention by route. Raises ValueError that names an invalid entry."""
    days: dict[str, int] = {}
    for entry in entries:
        match = _ROUTE.fullmatch(entry)
        if match is None:
            raise ValueError(f"{entry!r} is not route=days, such as {INFRA}=7 (lower-case letters and digits)")
        if match[1] in _RESERVED:
            raise ValueError(f"{match[1]!r} is reserved for an index of crisp")
        if match[1] in days:
            raise ValueError(f"{match[1]!r} occurs twice")
        days[match[1]] = units.parse_days(match[2])
    return days
