"""A small line chart in SVG, without axes or script."""

from collections.abc import Sequence

from pipeline.monitoring.pages.html import Html, tag

WIDTH, HEIGHT = 160, 32


def sparkline(values: Sequence[float | None], title: str) -> Html:
    """A line of these values, oldest first, with a break at None."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    step = WIDTH / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for number, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{number * step:.1f},{HEIGHT - 2 - (HEIGHT - 4) * value / top:.1f}")
    lines = [tag("polyline", points=" ".join(run if len(run) > 1 else run * 2)) for run in runs if run]
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag("svg", tag("title", title), *lines, viewBox=box, preserveAspectRatio="none", role="img", class_="spark")
