"""Timestamps of applications, in the spellings that loggers use, to nanoseconds since the epoch and back. Pure."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pipeline.contract import cri

_PATTERN = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))? ?(Z|z|UTC|[+-]\d\d(?::?\d\d)?)")
# The size of a number decides between seconds, milliseconds, microseconds and nanoseconds: 1973 to 2286 as seconds.
_UNITS = ((10**8, 10**10, 10**9), (10**11, 10**13, 10**6), (10**14, 10**16, 10**3), (10**17, 10**19, 1))


@lru_cache(maxsize=1024)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def format_utc(nanoseconds: int) -> str:
    """Format nanoseconds since the epoch as RFC 3339 in UTC with nine fraction digits."""
    seconds, fraction = divmod(nanoseconds, 10**9)
    return f"{_format_second(seconds)}.{fraction:09d}Z"


def parse(value: Any) -> int | None:
    """Return nanoseconds since the epoch; None for a value that is no time, or has no zone: it could be any hour."""
    if isinstance(value, str):
        return _parse_text(value)
    return None if isinstance(value, bool) else _parse_number(value)


def _parse_number(value: Any) -> int | None:
    """Of any type: an integer that is passed as `float` is one, once compiled, and loses its nanoseconds."""
    if not isinstance(value, int | float):
        return None
    for least, most, unit in _UNITS:
        if least <= value < most:
            # A float of this size is no finer than microseconds.
            return int(value) * unit if isinstance(value, int) else round(value * unit / 1000) * 1000
    return None


def _parse_text(value: str) -> int | None:
    match = _PATTERN.fullmatch(value)
    if match is None:
        try:
            return _parse_number(float(value) if "." in value else int(value)) if value[:1].isdecimal() else None
        except ValueError:
            return None
    day, clock, fraction, zone = match.groups()
    if zone in {"z", "UTC"}:
        zone = "Z"
    elif zone != "Z":
        zone = f"{zone[:3]}:{zone[-2:] if len(zone) > 3 else '00'}"
    return cri.nanoseconds(f"{day}T{clock}.{fraction or '0'}{zone}".encode())
