"""Tables of formats: the first row that matches gives the fields."""

import pytest

from pipeline.parsing.text.format_table import Format, FormatTable

TABLE = FormatTable(
    Format("process", r"\[(?P<pid>\d{1,5})(?:/(?P<line>\d+))?\]"),
    Format("thread", r"\[(?P<thread>[^\]]+)\](?P<function>!)?"),
    Format("logger", r"(?P<logger>\w+):"),
    prefix=" *",
)


@pytest.mark.parametrize(
    ("line", "name", "fields"),
    [
        ("  [12]", "process", {"process.pid": 12}),
        ("[12/3]", "process", {"process.pid": 12, "log.origin.file.line": 3}),
        ("[12/x]", "thread", {"process.thread.name": "12/x"}),
        ("[main ]!", "thread", {"process.thread.name": "main", "log.origin.function": "!"}),
        (" shop: ", "logger", {"log.logger": "shop"}),
    ],
)
def test_first_matching_row_gives_the_fields(line: str, name: str, fields: dict[str, object]) -> None:
    match = TABLE.match(line)

    assert match is not None
    assert TABLE.formats[match.lastindex].name == name
    assert TABLE.formats[match.lastindex].fields(match) == fields


def test_line_without_format_has_no_match() -> None:
    assert TABLE.match("shop") is None
