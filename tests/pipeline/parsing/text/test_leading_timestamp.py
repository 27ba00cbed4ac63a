"""Lines that begin with a timestamp: loggers of many languages, servers and databases."""

import pytest

from pipeline.parsing.text import text_formats


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24",
        "10:00:00 is early",
        "2026-11-24 10:00:00 something happened",
        "2026-11-24 10:00:00 ERROR_CODE is 5",
        "2026-11-24 10:00:00,123 [main] starting up",
        "2026-11-24 10:00:00,123 [main] error of mine",
        "2026-11-24 10:00:00 - shop - nothing",
        "2026-11-24 10:00:00 I think",
        "26/11/24 is a date",
        "2026/11/24 10:00:00 listening on :8080",
        "[2026-11-24] ERROR",
        "[2026-11-24 10:00:00,123][x][y]",
        "2026.11.24 is a date",
        "24-Nov-2026 is a date",
        "10:00AM is early",
        "10:00AM THE shop opens",
        "[1] 2026 was fine",
        "[I am here]",
        "[     0.001s] booted",
    ],
)
def test_unknown_line_has_no_fields(line: str) -> None:
    assert text_formats.parse(line) is None


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
        ("2026-11-24 10:00:00,5 UTC", "2026-11-24T10:00:00.5Z"),
        ("2026-11-24 10:00:00.123 GMT", "2026-11-24T10:00:00.123Z"),
        ("2026-11-24T10:00:00.123456789+0530", "2026-11-24T10:00:00.123456789+05:30"),
        ("2026-11-24 10:00:00 -08:00", "2026-11-24T10:00:00-08:00"),
        ("2026-11-24 10:00:00", None),
        ("2026/11/24 10:00:00", None),
        ("10:00:00", None),
    ],
)
def test_time_with_zone_is_a_field(written: str, time: str | None) -> None:
    fields = text_formats.parse(f"{written} ERROR it broke")

    assert fields is not None
    assert (fields["log.level"], fields.get("@timestamp")) == ("error", time)


def test_time_with_zone_is_sufficient_for_fields() -> None:
    assert text_formats.parse("2026-11-24T10:00:00Z it happened") == {"@timestamp": "2026-11-24T10:00:00Z"}


@pytest.mark.parametrize("text", ["ERROR: no relation here", "ERROR failed: no", "INFO done - really", "ERROR see a b"])
def test_word_of_the_text_is_not_a_logger(text: str) -> None:
    assert text_formats.parse(f"2026-11-24 10:00:00,123 {text}") == {"log.level": text.split(" ")[0].strip(":").lower()}
