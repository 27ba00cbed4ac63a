"""A moment as people write it at a command line: an ISO time, or how long ago."""

import re
from datetime import UTC, datetime, timedelta

from pipeline.errors import UsageError

HELP = "a time (2026-11-24T10:00:00Z, in UTC if it has no zone) or how long ago (90s, 15m, 24h, 7d)"
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_time_argument(option: str, text: str, now: datetime) -> float:
    """Seconds since the epoch. Raises UsageError naming the option."""
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return (now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})).timestamp()
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as fault:
        raise UsageError(f"{option} {text}: neither {HELP.replace(') or', '), nor')}") from fault
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
