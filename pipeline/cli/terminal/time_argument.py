"""Time arguments of commands: an ISO 8601 time, or an age; a range of them, `--since` and `--until`."""

import argparse
import re
from datetime import UTC, datetime, timedelta

from pipeline.errors import UsageError

HELP = "a time (2026-11-24T10:00:00Z, default zone UTC) or an age (90s, 15m, 24h, 7d)"
_AGE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(option: str, text: str) -> float:
    """Return the seconds of a duration such as 90s or 15m. Raises UsageError, which names the option."""
    match = _AGE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{option} {text}: not a duration (90s, 15m, 24h, 7d)")
    return timedelta(**{_UNITS[match[2]]: float(match[1])}).total_seconds()


def parse_time_argument(option: str, text: str, now: datetime) -> float:
    """Return seconds since the epoch. Raises UsageError, which names the option."""
    age = _AGE.fullmatch(text.strip())
    try:
        if age is not None:
            return (now - timedelta(**{_UNITS[age[2]]: float(age[1])})).timestamp()
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{option} {text}: neither {HELP.replace(') or', '), nor')}") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def add_range_arguments(parser: argparse.ArgumentParser, *, since: str | None = None) -> None:
    """Add `--since` and `--until`. `since`: the default of `--since`; without one it is required."""
    default = f" (default: {since})" if since else ""
    parser.add_argument(
        "--since", required=since is None, default=since, metavar="TIME", help=f"start of the range{default}: {HELP}"
    )
    parser.add_argument("--until", metavar="TIME", help="end of the range (default: the current end of the topic)")


def parse_range(args: argparse.Namespace) -> tuple[int, int | None]:
    """Return `--since` and `--until` in milliseconds since the epoch. Raises UsageError."""
    now = datetime.now(UTC)
    since = round(parse_time_argument("--since", args.since, now) * 1000)
    until = round(parse_time_argument("--until", args.until, now) * 1000) if args.until else None
    if until is not None and until <= since:
        raise UsageError("--until is not later than --since")
    return since, until
