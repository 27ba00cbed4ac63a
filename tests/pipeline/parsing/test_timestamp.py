"""Timestamps of applications: every spelling with a zone, and numbers by their size."""

from typing import Any

import pytest

from pipeline.parsing import timestamp


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-24T09:42:30.686Z", "2026-11-24T09:42:30.686000000Z"),
        ("2026-11-24 09:42:30,686 +0100", "2026-11-24T08:42:30.686000000Z"),
        ("2026-11-24T09:42:30+01", "2026-11-24T08:42:30.000000000Z"),
        (1795513350, "2026-11-24T09:42:30.000000000Z"),
        (1795513350.25, "2026-11-24T09:42:30.250000000Z"),
        (1795513350686, "2026-11-24T09:42:30.686000000Z"),
        (1795513350686000001, "2026-11-24T09:42:30.686000001Z"),
        ("1795513350", "2026-11-24T09:42:30.000000000Z"),
        ("2026-11-24T09:42:30", None),
        ("2026-13-24T09:42:30Z", None),
        ("24/11/2026", None),
        (True, None),
        (42, None),
        (None, None),
        ([], None),
    ],
)
def test_timestamp_is_parsed_or_rejected(value: Any, text: str | None) -> None:
    nanoseconds = timestamp.parse(value)

    assert (None if nanoseconds is None else timestamp.format_utc(nanoseconds)) == text
