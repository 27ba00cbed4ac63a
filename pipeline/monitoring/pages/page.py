"""The frame of a status page: the style, the head with the verdict, the sections. No script, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

from pipeline import __version__
from pipeline.monitoring import runbook
from pipeline.monitoring.formatting import clock, duration
from pipeline.monitoring.health import Severity, Trouble, level
from pipeline.monitoring.http_server import Answer
from pipeline.monitoring.pages import runbook_page
from pipeline.monitoring.pages.html import Child, Html, tag
from pipeline.monitoring.pages.sparkline import spark

REFRESH_SECONDS = 5
WORDS = {Severity.CRITICAL: "Critical", Severity.WARNING: "Warning", Severity.OK: "Healthy"}
STYLE = resources.files("pipeline.monitoring.pages").joinpath("page.css").read_text()
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def answer(facts: dict[str, Any], troubles: Sequence[Trouble], sections: list[Html], query: str, now: float) -> Answer:
    """The whole page. Queries: `refresh=0` keeps it as it is, `runbook=NAME` shows that instead of the sections."""
    asked = parse_qs(query)
    book = next((name for name in asked.get("runbook", ()) if name in runbook.names()), "")
    still = bool(book) or asked.get("refresh") == ["0"]
    if book:
        sections = [runbook_page.section(book)]
    title = f"{facts['kind']} {facts['name']}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        None if still else tag("meta", http_equiv="refresh", content=REFRESH_SECONDS),
        tag("link", rel="icon", href="data:,"),
        tag("title", f"{WORDS[level(trouble.level for trouble in troubles)]} · crisp {title}"),
        tag("style", Html(STYLE)),
    )
    body = tag("body", _header(facts, now, still=still), tag("main", _verdict(facts, troubles), *sections))
    page = "<!doctype html>\n" + tag("html", head, body, lang="en")
    return Answer("200 OK", "text/html; charset=utf-8", page.encode(), POLICY)


def _header(facts: dict[str, Any], now: float, *, still: bool) -> Html:
    refresh = tag("a", "the page as it is", href="/") if still else tag("a", "hold still", href="/?refresh=0")
    return tag(
        "header",
        tag("p", tag("b", "crisp"), f" {facts['kind']}", class_="brand"),
        tag("p", facts["name"], class_="name"),
        tag(
            "p",
            f"{__version__}, up for {duration(now - facts['started'])}, as of ",
            tag("time", clock(now)),
            " · ",
            refresh,
            " · ",
            tag("a", "JSON", href="/status.json"),
            " · ",
            tag("a", "metrics", href="/metrics"),
            class_="quiet",
        ),
    )


def _verdict(facts: dict[str, Any], troubles: Sequence[Trouble]) -> Html:
    worst = level(trouble.level for trouble in troubles)
    if not troubles:
        return tag("section", tag("h1", WORDS[worst]), tag("p", facts["well"]), class_=f"verdict {worst.label}")
    rows = [tag("li", trouble.words, " ", runbook_page.link(trouble.runbook)) for trouble in troubles]
    return tag("section", tag("h1", WORDS[worst]), tag("ul", *rows), class_=f"verdict {worst.label}", role="alert")


def tile(
    title: str, value: Child, below: Child = "", line: Sequence[float | None] = (), *, alarm: bool = False
) -> Html:
    """One key figure, with its last minutes."""
    drawn = spark(line, f"{title}, the last {len(line) * 5 // 60} minutes") if len(line) > 1 else ""
    parts = (tag("h2", title), tag("p", value, class_="value"), tag("p", below, class_="quiet"), drawn)
    return tag("div", *parts, class_="tile alarm" if alarm else "tile")


def tiles(*made: Html) -> Html:
    """Key figures side by side."""
    return tag("section", *made, class_="tiles")


def section(title: str, *parts: Child, note: str = "") -> Html:
    """A part of the page under a title."""
    return tag("section", tag("h2", title), tag("p", note, class_="quiet") if note else "", *parts)


def pair(*made: Html) -> Html:
    """Small sections side by side, where there is room."""
    return tag("div", *made, class_="pair")


def settings(changed: dict[str, str]) -> Html:
    """The settings that differ from their defaults."""
    rows = [tag("div", tag("dt", name), tag("dd", value or "(empty)")) for name, value in changed.items()]
    return section(
        "Settings that differ from the default",
        tag("dl", *rows, class_="settings") if rows else tag("p", "None."),
    )
