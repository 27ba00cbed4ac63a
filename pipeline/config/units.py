"""Sizes and durations with a unit, as in `64MiB` and `3d`; a number without one is in bytes, seconds or days. Pure."""

import math
import re

_SIZES = {"": 1, "B": 1}
_SIZES |= {f"{prefix}{unit}": 1024**power for power, prefix in enumerate("KMGT", 1) for unit in ("i", "iB")}
_SIZES |= {f"{prefix}{unit}": 1000**power for power, prefix in enumerate("kMGT", 1) for unit in ("", "B")}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DAYS = {"": 1, "d": 1, "w": 7}
_NUMBER = re.compile(r"\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_DURATION = re.compile(r"(?:\s*[0-9]+(?:\.[0-9]+)?(?:ms|min|s|m|h|d|w))+\s*")
_DURATION_PART = re.compile(r"([0-9.]+)([a-z]+)")


def parse_size(text: str) -> int:
    """Return a size in bytes. Raises ValueError.

    KiB, MiB, GiB, TiB or Ki, Mi, Gi, Ti are powers of 1024; kB, MB, GB, TB or k, M, G, T are powers of 1000.
    """
    return _whole(text, _SIZES)


def parse_days(text: str) -> int:
    """Return a number of days; weeks are `w`. Raises ValueError."""
    return _whole(text, _DAYS)


def parse_duration(text: str) -> float:
    """Return a duration in seconds. Raises ValueError.

    Units are ms, s, m or min, h, d, w, also in a sum such as `1h30m`.
    """
    if _DURATION.fullmatch(text):
        return math.fsum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(text))
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _whole(text: str, units: dict[str, int]) -> int:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2] not in units:
        raise ValueError(text)
    value = float(match[1]) * units[match[2]] if "." in match[1] else int(match[1]) * units[match[2]]
    if value != int(value):
        raise ValueError(text)
    return int(value)
