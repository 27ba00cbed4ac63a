"""Raw lines longer than an event: where they are, and their pieces."""

import pytest

from pipeline.grouping.event import SPLIT, UNPARSED
from pipeline.grouping.oversized_line import OversizedLine, find_oversized_lines

TIME = b"2026-01-01T00:00:01.000000000Z"
HEAD = TIME + b" stdout F "


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"1234567\n", []),
        (b"12345678\n", [(0, 9)]),
        (b"a\n12345678\nb\n", [(2, 11)]),
        (b"a\nb\n12345678", [(4, 12)]),
        (b"12345678\n12345678\n", [(0, 9), (9, 18)]),
    ],
)
def test_only_lines_longer_than_the_limit_are_oversized(data: bytes, expected: list[tuple[int, int]]) -> None:
    assert list(find_oversized_lines(data, 8)) == expected


def test_line_across_runs_is_split_into_numbered_pieces() -> None:
    line = OversizedLine(50)
    first = line.begin(0, 100, HEAD + b"x" * 20, b"")

    assert list(first) == [
        (0, 100, 50, TIME, b"stdout", b"x" * 10, SPLIT, 1),
        (0, 150, 10, TIME, b"", b"x" * 10, SPLIT | UNPARSED, 2),
    ]
    assert line.continues_at(0, 160)
    assert list(line.add(0, 160, b"yy\n", TIME)) == [(0, 160, 3, TIME, b"", b"yy", SPLIT | UNPARSED, 3)]
    assert not line.continues_at(0, 163)


def test_line_is_closed_by_run_from_elsewhere() -> None:
    line = OversizedLine(50)
    line.resume(4)

    assert line.continues_at(0, 7)
    list(line.add(0, 7, b"more", TIME))
    assert not line.continues_at(1, 11)
    assert not line.continues_at(0, 11)
