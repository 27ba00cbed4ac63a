"""Text of logs and errors is escaped for pages and terminals."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.monitoring.pages.html import Html, table, tag
from pipeline.monitoring.printable import printable
from tests.support.page_reader import parse


@given(st.text(), st.text())
def test_text_is_escaped(text: str, value: str) -> None:
    page = parse(tag("p", text, title=value))

    assert page.tags == ["p"]
    assert page.attributes == [("title", printable(value))]
    assert page.text == printable(text)


def test_markup_is_escaped_once() -> None:
    assert tag("p", tag("b", "a<b")) == "<p><b>a&lt;b</b></p>"
    assert isinstance(tag("p"), Html)


def test_number_and_its_header_are_right_aligned() -> None:
    assert table(("name", "number"), [("a", 1)]).count('class="number"') == 2


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    escaped = printable(text)

    assert not any(ord(character) < 32 and character not in "\n\t" for character in escaped)
    assert not any(0x7F <= ord(character) <= 0x9F for character in escaped)
    escaped.encode()


def test_control_character_is_shown_as_escape() -> None:
    assert printable("\x1b[31mred\x07 \u202etxt") == "\\x1b[31mred\\x07 \\u202etxt"
