"""HTML built of elements, which escape all text."""

from collections.abc import Sequence
from html import escape

from pipeline.monitoring.printable import printable

VOID = frozenset({"meta", "link", "polyline", "path", "circle", "br"})


class Html(str):
    """Markup; not escaped again."""

    __slots__ = ()


Child = object
"""Markup, or any other value: its text, escaped."""


def text(value: Child) -> Html:
    """A value as markup."""
    return value if isinstance(value, Html) else Html(escape(printable(str(value))))


def tag(name: str, /, *children: Child, **attributes: Child) -> Html:
    """An element. Attribute names lose a trailing underscore, others become hyphens; None omits an attribute."""
    rendered = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(printable(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID and not children:
        return Html(f"<{name}{rendered}>" if name in {"meta", "link", "br"} else f"<{name}{rendered}/>")
    return Html(f"<{name}{rendered}>{''.join(text(child) for child in children if child is not None)}</{name}>")


class Figure(str):
    """A human-readable number; its cell is right-aligned."""

    __slots__ = ()


def table(head: tuple[str, ...], rows: Sequence[tuple[Child, ...]], *, summed: bool = False) -> Html:
    """A table; on narrow screens each row is a list of titles and values. Numbers are right-aligned.

    With `summed`, the last row is a sum.
    """
    right = [number for number, value in enumerate(rows[0] if rows else ()) if isinstance(value, int | Figure)]
    titles = [_cell("th", title, right=number in right) for number, title in enumerate(head)]
    lines = [
        tag("tr", *(_cell("td", value, right=number in right, title=head[number]) for number, value in enumerate(row)))
        for row in rows
    ]
    body = tag("tbody", *lines, class_="summed" if summed else None)
    return tag("div", tag("table", tag("thead", tag("tr", *titles)), body), class_="scroll")


def _cell(name: str, value: Child, *, right: bool, title: str | None = None) -> Html:
    return tag(name, value, class_="number" if right else None, data_title=title)
