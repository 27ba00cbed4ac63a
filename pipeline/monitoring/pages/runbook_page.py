"""Renders a runbook as a section of a page: the subset of Markdown that runbooks use."""

import re

from pipeline.monitoring import runbook
from pipeline.monitoring.pages.html import Html, tag, text

_FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```\n", re.DOTALL | re.MULTILINE)
_PARAGRAPH = re.compile(r"\n\s*\n|\n(?= *(?:\d+\.|-) )")
_INLINE = re.compile(
    r"\*\*(?P<strong>.+?)\*\*|`(?P<code>[^`]+)`|\[(?P<title>[^]]+)]\((?P<page>[\w-]+)\.md\)", re.DOTALL
)


def link(name: str) -> Html:
    """The link to a runbook."""
    return tag("a", f"runbook {name}", href=f"?runbook={name}", class_="runbook")


def section(name: str) -> Html:
    """The whole runbook. Raises UsageError for an unknown name."""
    title, _, body = runbook.text(name).partition("\n")
    parts = _FENCE.split(body.strip() + "\n")  # prose and fenced lines alternate
    elements = [_fenced(part) if number % 2 else _prose(part) for number, part in enumerate(parts)]
    return tag("section", tag("h1", title.removeprefix("# ")), *elements, class_="book")


def _fenced(block: str) -> Html:
    return tag("pre", "\n".join(line.strip() for line in block.splitlines()))


def _prose(block: str) -> Html:
    paragraphs = [" ".join(part.split()) for part in _PARAGRAPH.split(block)]
    return Html("".join(tag("p", _spans(part), class_=_kind(part)) for part in paragraphs if part))


def _kind(paragraph: str) -> str | None:
    return "point" if paragraph.startswith("- ") else "step" if re.match(r"\d+\. ", paragraph) else None


def _spans(block: str) -> Html:
    markup, end = "", 0
    for match in _INLINE.finditer(block):
        markup += text(block[end : match.start()])
        markup += _span(match)
        end = match.end()
    return Html(markup + text(block[end:]))


def _span(match: re.Match[str]) -> Html:
    if match["page"]:
        return tag("a", match["title"], href=f"?runbook={match['page']}")
    return tag("b", match["strong"]) if match["strong"] else tag("code", match["code"])
