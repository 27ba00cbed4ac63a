"""Human-readable numbers: bytes, durations, rates, times."""

from datetime import UTC, datetime

from pipeline.monitoring.metric_table import BUCKETS
from pipeline.monitoring.pages.html import Figure

MAX_ERROR_CHARACTERS = 140
_STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def count(value: float) -> Figure:
    """An integer with thousands separators."""
    return Figure(f"{round(value):,}")


def quantity(value: float, noun: str, plural: str = "") -> Figure:
    """A count with its noun in the singular or plural (with s, unless it is given)."""
    return Figure(f"{count(value)} {noun if round(value) == 1 else plural or noun + 's'}")


def size(value: float) -> Figure:
    """Bytes in a suitable unit."""
    for step, unit in _STEPS:
        if value >= step:
            return Figure(f"{value / step:.1f} {unit}")
    return Figure(f"{round(value)} B")


def duration(seconds: float | None) -> Figure:
    """A duration in a suitable unit; a dot if unknown."""
    if seconds is None:
        return Figure("·")
    if seconds < 1:
        return Figure(f"{1000 * seconds:.0f} ms")
    if seconds < 60:
        return Figure(f"{seconds:.1f} s")
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return Figure(f"{minutes} min {rest} s")
    hours, minutes = divmod(minutes, 60)
    return Figure(f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h")


def percent(ratio: float | None) -> Figure:
    """A share in percent; a dot if unknown."""
    return Figure("·" if ratio is None else f"{100 * ratio:.0f} %")


def age(seconds: float | None) -> str:
    """A duration within a sentence."""
    return "an unknown time" if seconds is None else duration(seconds)


def latency(seconds: float | None) -> Figure:
    """A quantile of a latency: over the last bound of the histograms only that is known."""
    if seconds is not None and seconds > BUCKETS[-1]:
        return Figure(f"over {duration(BUCKETS[-1])}")
    return duration(seconds)


def rate(value: float, unit: str = "") -> Figure:
    """A rate per second."""
    text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    return Figure(f"{text}{unit and ' ' + unit}/s")


def byte_rate(value: float) -> Figure:
    """A rate in bytes per second."""
    return Figure(f"{size(value)}/s")


def utc_time(timestamp: float) -> str:
    """Date and time in UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def shortened(message: str) -> str:
    """The beginning of a server's error message."""
    return message if len(message) <= MAX_ERROR_CHARACTERS else f"{message[:MAX_ERROR_CHARACTERS].rstrip()}…"
