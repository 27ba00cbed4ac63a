"""Numbers as people read them: bytes, durations, rates, times."""

from datetime import UTC, datetime

from pipeline.monitoring.pages.html import Figure

_STEPS = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def count(value: float) -> Figure:
    """A whole number with its thousands apart."""
    return Figure(f"{round(value):,}")


def number(value: float, one: str) -> Figure:
    """So many things, named as one of them is; more of them end in s."""
    return Figure(f"{count(value)} {one}{'' if round(value) == 1 else 's'}")


def size(value: float) -> Figure:
    """Bytes in the unit that fits."""
    for step, unit in _STEPS:
        if value >= step:
            return Figure(f"{value / step:.1f} {unit}")
    return Figure(f"{round(value)} B")


def duration(seconds: float | None) -> Figure:
    """A duration in the unit that fits; a dot where it is not known."""
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


def rate(value: float, unit: str = "") -> Figure:
    """So many a second."""
    shown = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    return Figure(f"{shown}{unit and ' ' + unit}/s")


def utc_time(timestamp: float) -> str:
    """A time of the day in UTC, with the date when it is another day than that."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
