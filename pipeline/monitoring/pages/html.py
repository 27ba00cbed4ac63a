"""HTML made of elements: text is escaped where it goes in, so no page can forget it."""

from collections.abc import Sequence
from html import escape

from pipeline.monitoring.printable import printable

VOID = frozenset({"meta", "link", "polyline", "path", "circle", "br"})


class Html(str):
    """Markup that is made already."""

    __slots__ = ()


Child = object
"""Markup, or anything else: then its text, escaped."""


def text(value: Child) -> Html:
    """A value as markup."""
    return value if isinstance(value, Html) else Html(escape(printable(str(value))))


def tag(name: str, /, *children: Child, **attributes: Child) -> Html:
    """An element. A trailing underscore of an attribute's name goes away, another one is a hyphen; None: not there."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not children:
        return Html(f"<{name}{given}>" if name in {"meta", "link", "br"} else f"<{name}{given}/>")
    return Html(f"<{name}{given}>{''.join(text(child) for child in children if child is not None)}</{name}>")


class Figure(str):
    """A number as people read it; its cell stands right."""

    __slots__ = ()


def table(head: tuple[str, ...], rows: Sequence[tuple[Child, ...]], *, summed: bool = False) -> Html:
    """A table that can be scrolled sideways on a narrow screen; figures stand right, a sum is the last row."""
    right = [number for number, value in enumerate(rows[0] if rows else ()) if isinstance(value, int | Figure)]
    titles = [_cell("th", title, right=number in right) for number, title in enumerate(head)]
    lines = [
        tag("tr", *(_cell("td", value, right=number in right) for number, value in enumerate(row))) for row in rows
    ]
    body = tag("tbody", *lines, class_="summed" if summed else None)
    return tag("div", tag("table", tag("thead", tag("tr", *titles)), body), class_="scroll")


def _cell(name: str, value: Child, *, right: bool) -> Html:
    return tag(name, value, class_="number" if right else None)
