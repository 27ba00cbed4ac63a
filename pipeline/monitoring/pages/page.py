"""The frame of a status page: style, header with the health, sections. No script, no external resource."""

import base64
import hashlib
import time
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple
from urllib.parse import parse_qs

from pipeline.monitoring import formatting, runbook
from pipeline.monitoring.formatting import count, duration, utc_time
from pipeline.monitoring.http_server import Response
from pipeline.monitoring.pages import runbook_page
from pipeline.monitoring.pages.html import Child, Html, table, tag
from pipeline.monitoring.pages.sparkline import sparkline
from pipeline.monitoring.problem import Severity
from pipeline.monitoring.status import Latency, ProcessStatus

REFRESH_SECONDS = 5
HEADLINES = {Severity.CRITICAL: "Critical", Severity.WARNING: "Warning", Severity.OK: "Healthy"}
STYLE = resources.files("pipeline.monitoring.pages").joinpath("page.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


Link = tuple[str, str]
"""Title and address."""
LINKS: tuple[Link, ...] = (("JSON", "status.json"), ("metrics", "metrics"))


class Origin(NamedTuple):
    """Where a status that this process did not make was read: when, in seconds since the epoch, and the way back."""

    read_at: float
    back: Link


def response(
    status: ProcessStatus, title: str, healthy: str, sections: list[Html], query: str, origin: Origin | None = None
) -> Response:
    """The whole page of a process; `title` names it, `healthy` is the text shown without problems.

    Query: `refresh=0` stops the refresh, `runbook=NAME` shows a runbook instead of the sections.
    """
    kind = title.partition(" ")[0]
    now = origin.read_at if origin else time.time()
    notes = [f"{status.version}, up for {duration(now - status.started_at)}"]
    links = (("JSON", "status.json"), origin.back) if origin else LINKS
    health = _health(status, healthy)
    return frame(status.state, f"crisp {title}", (kind, status.name), notes, now, links, [health, *sections], query)


def frame(
    state: Severity,
    title: str,
    names: tuple[str, str],
    notes: Sequence[str],
    now: float,
    links: Iterable[Link],
    sections: Sequence[Html],
    query: str,
) -> Response:
    """A page: the header with `names` (kind and name), notes and the time, then the sections or a runbook.

    The first section is the health. Addresses are relative, so that a page can be served below any path.
    """
    parameters = parse_qs(query)
    book = next((name for name in parameters.get("runbook", ()) if name in runbook.names()), "")
    paused = bool(book) or parameters.get("refresh") == ["0"]
    if book:
        sections = [sections[0], runbook_page.section(book)]
    refresh = ("live page", "?") if paused else ("pause refresh", "?refresh=0")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        None if paused else tag("meta", http_equiv="refresh", content=REFRESH_SECONDS),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{HEADLINES[state]} · {title}"),
        tag("style", Html(STYLE)),
    )
    body = tag("body", _header(names, notes, now, (refresh, *links)), tag("main", *sections))
    page = "<!doctype html>\n" + tag("html", head, body, lang="en")
    return Response("200 OK", "text/html; charset=utf-8", page.encode(), CONTENT_SECURITY_POLICY)


def _header(names: tuple[str, str], notes: Sequence[str], now: float, links: Iterable[Link]) -> Html:
    anchors = [part for title, address in links for part in (" · ", tag("a", title, href=address))]
    return tag(
        "header",
        tag("p", tag("b", "crisp"), f" {names[0]}", class_="brand"),
        tag("p", names[1], class_="name"),
        tag("p", *(f"{note}, " for note in notes), "as of ", tag("time", utc_time(now)), *anchors, class_="quiet"),
    )


def _health(status: ProcessStatus, healthy: str) -> Html:
    rows = [tag("li", problem.message, " ", runbook_page.link(problem.runbook)) for problem in status.problems]
    return health(status.state, rows, healthy)


def health(state: Severity, problems: Sequence[Html], healthy: str) -> Html:
    """The section of the health: its headline, and the problems as list items, or `healthy`."""
    title, style = tag("h1", HEADLINES[state]), f"health {state.value}"
    if not problems:
        return tag("section", title, tag("p", healthy), class_=style)
    return tag("section", title, tag("ul", *problems), class_=style, role="alert")


def latency(stages: Iterable[tuple[str, Latency]]) -> Html:
    """The section of the latency at each stage, by the stage's title."""
    rows = [
        (
            title,
            count(stage.count),
            formatting.latency(stage.p50),
            formatting.latency(stage.p99),
            sparkline(stage.p99_series, f"{title}, p99"),
        )
        for title, stage in stages
    ]
    return section(
        "Latency",
        table(("stage", "slices", "p50", "p99", "p99, last minutes"), rows),
        note="Time since the runtime wrote a slice's first line, in the last minute.",
    )


def tile(
    title: str, value: Child, note: Child = "", series: Sequence[float | None] = (), *, alarm: bool = False
) -> Html:
    """One key figure with a chart of the last minutes."""
    chart = sparkline(series, f"{title}, the last {len(series) * 5 // 60} minutes") if len(series) > 1 else ""
    parts = (tag("h2", title), tag("p", value, class_="value"), tag("p", note, class_="quiet"), chart)
    return tag("div", *parts, class_="tile alarm" if alarm else "tile")


def tiles(*elements: Html) -> Html:
    """Key figures side by side."""
    return tag("section", *elements, class_="tiles")


def section(title: str, *parts: Child, note: str = "") -> Html:
    """A section of the page with a title."""
    return tag("section", tag("h2", title), tag("p", note, class_="quiet") if note else "", *parts)


def pair(*sections: Html) -> Html:
    """Small sections, side by side if the page is wide enough."""
    return tag("div", *sections, class_="pair")


def settings(non_defaults: dict[str, str]) -> Html:
    """The settings that differ from their defaults."""
    rows = [tag("div", tag("dt", name), tag("dd", value or "(empty)")) for name, value in non_defaults.items()]
    return section(
        "Settings that differ from their defaults",
        tag("dl", *rows, class_="settings") if rows else tag("p", "None."),
    )
