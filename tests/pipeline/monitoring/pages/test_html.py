"""Whatever stands in a log or an error, it is text on the page, and steers no terminal."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.printable import printable
from tests.pipeline.monitoring.pages.reader import parse


@given(st.text(), st.text())
def test_no_text_becomes_markup(words: str, value: str) -> None:
    found = parse(tag("p", words, title=value))

    assert found.tags == ["p"]
    assert found.attributes == [("title", printable(value))]
    assert found.text == printable(words)


def test_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "a<b")) == "<p><b>a&lt;b</b></p>"
    assert isinstance(tag("p"), Html)


def test_figures_stand_right_and_so_does_their_head() -> None:
    assert table(("name", "number"), [("a", 1)]).count('class="number"') == 2


@given(st.text())
def test_nothing_printable_steers_a_terminal(words: str) -> None:
    shown = printable(words)

    assert not any(ord(character) < 32 and character not in "\n\t" for character in shown)
    assert not any(0x7F <= ord(character) <= 0x9F for character in shown)
    shown.encode()


def test_an_escape_is_shown_not_obeyed() -> None:
    assert printable("\x1b[31mred\x07 \u202etxt") == "\\x1b[31mred\\x07 \\u202etxt"
