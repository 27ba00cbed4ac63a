"""CRI lines are parsed exactly as by the kubelet, and docker's json-file."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import cri, record

CASES = Path(__file__).parents[4] / "shared" / "cases" / "cri.jsonl"


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [
        (b"1970-01-01T00:00:00Z", 0),
        (b"2026-11-24T09:42:30.686000001Z", 1_795_513_350_686_000_001),
        (b"2026-11-24T09:42:30.5Z", 1_795_513_350_500_000_000),
        (b"2026-11-24T10:42:30+01:00", 1_795_513_350_000_000_000),
        (b"2026-11-24T04:12:30-05:30", 1_795_513_350_000_000_000),
        (b"2026-02-30T00:00:00Z", None),
        (b"2026-11-24T09:42:30", None),
        (b"2026-11-24 09:42:30Z", None),
        (b"2026-11-24 09:42:30.123456789Z", None),
        (b"2026-W48-2T09:42:30.123456789Z", None),
        (b"2026-02-30T00:00:00.000000000Z", None),
        (b"2026-11-24T09:42:30.12345678xZ", None),
        (b"2026-11-24T09:42:30,123456789Z", None),
        (b"2026-11-24T09:42:30.1234567890Z", None),
        (b"1969-12-31T23:59:59Z", None),
        (b"2263-01-01T00:00:00Z", None),
        (b"2026-11-24T09:42:30+24:00", None),
        (b"2026-11-24T09:42:30+23:59", 1_795_513_350_000_000_000 - 86_340_000_000_000),
        (b"2026-11-24T09:42:30+00:60", None),
        (b"2262-04-11T23:47:16.854775807Z", 2**63 - 1),
        (b"2262-04-11T23:47:16.854775808Z", None),
    ],
)
def test_nanoseconds_of_a_time(time: bytes, nanoseconds: int | None) -> None:
    assert cri.nanoseconds(time) == nanoseconds


@given(
    st.from_regex(rb"[ -~]{17,21}[.,]?[0-9x]{8,10}", fullmatch=True)
    | st.from_regex(rb"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d\.\d{8,10}", fullmatch=True)
)
def test_fast_path_is_as_strict_as_the_general_one(moment: bytes) -> None:
    assert cri.nanoseconds(moment + b"Z") == cri.nanoseconds(moment + b"+00:00")


def test_time_of_any_zone_is_converted_to_utc_with_every_digit() -> None:
    assert cri.utc(b"2026-11-24T10:42:30.123456789+01:00") == "2026-11-24T09:42:30.123456789Z"


@pytest.mark.parametrize(
    ("raw", "partial", "content"),
    [
        (b"2026-01-01T00:00:00Z stdout F text", False, b"text"),
        (b"2026-01-01T00:00:00Z stdout P text", True, b"text"),
        (b"2026-01-01T00:00:00Z stdout P:x text", True, b"text"),
        (b"2026-01-01T00:00:00Z stdout F:P text", False, b"text"),
        (b"2026-01-01T00:00:00Z stdout F ", False, b""),
        (b"2026-01-01T00:00:00Z stdout F", False, b""),
        (b"2026-01-01T00:00:00Z stdout F  two  blanks ", False, b" two  blanks "),
        (b"2026-01-01T00:00:00Z stdout F cr\r", False, b"cr\r"),
        (b"2026-01-01T00:00:00Z stdout F \xff\x00", False, b"\xff\x00"),
        (b'{"log":"text\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}', False, b"text"),
        (b'{"log":"text","stream":"stdout","time":"2026-01-01T00:00:00Z"}', True, b"text"),
    ],
)
def test_raw_line_is_parsed(raw: bytes, partial: bool, content: bytes) -> None:  # noqa: FBT001 - a row of the table
    assert cri.parse(raw) == cri.Line(b"2026-01-01T00:00:00Z", b"stdout", partial, content)


@pytest.mark.parametrize(
    "raw", [b"", b"plain", b"2026-01-01T00:00:00Z other F x", b"now stdout F x", b'{"log":5}', b'{"log":"x"', b"\0" * 9]
)
def test_invalid_line_is_none(raw: bytes) -> None:
    assert cri.parse(raw) is None


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_a_line_or_none(raw: bytes) -> None:
    line = cri.parse(raw)

    assert line is None or raw.endswith(line.content) or raw.startswith(b"{")


def test_docker_line_has_its_time_only_within_the_first_kilobyte() -> None:
    assert cri.has_time(b'{"log":"x\\n","stream":"stdout","time":"2026-11-24T10:00:00Z"}')
    assert not cri.has_time(b'{"log":"' + b"x" * 1100 + b'\\n","stream":"stdout","time":"2026-11-24T10:00:00Z"}')
    assert not cri.has_time(b'{"log":"\\"time\\":\\"2026\\"\\n"}')


DOCKER_TIME = b'"time":"2026-11-24T10:00:00.123456789Z'


@pytest.mark.parametrize("missing", range(len(DOCKER_TIME) + 3))
def test_docker_time_cut_at_the_first_kilobyte_is_none(missing: int) -> None:
    """Two files whose first lines differ in their times only must not get one identity."""
    line = b'{"log":"%b\\n","stream":"stdout",%b"}'
    filling = record.FIRST_LINE_BYTES + missing - len(line % (b"", DOCKER_TIME))
    raw = line % (b"x" * filling, DOCKER_TIME)

    assert cri.has_time(raw) == (missing <= 2), raw[-80:]
    assert cri.has_time(raw[: record.FIRST_LINE_BYTES]) == (missing <= 2)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"log":"a\\n","stream":"stdout","attrs":{"a":"b"},"time":"2026-01-01T00:00:00Z"}', True),
        (b'{"log":"a\\n","stream":"stdout","attrs":{"time":"x"},"time":"2026-01-01T00:00:00Z"}', True),
        (b'{"log":"a\\n","stream":"stdout","attrs":{},"time":"2026-01-01T00:00:00+01:00"}', True),
        (b'{"log":"a\\n","stream":"stdout","attrs":{"time":"2026-01-01T00:00:00Z","x":"' + b"y" * 990, False),
        (b'{"log":"a\\n","stream":"stdout","attrs":{"a":"},","time":"2026-01-01T00:00:00Z","x":"yyy', False),
        (b'{"log":"a\\n","stream":"stdout","time":"2026-01-01T00:00:00+01:0', False),
        (b'{"log":"a\\n","stream":"stdout","time":"2026-13-01T00:00:00Z"}', False),
    ],
)
def test_time_of_docker_line_is_not_that_of_a_label(raw: bytes, expected: bool) -> None:  # noqa: FBT001 - a row
    assert cri.has_time(raw) is expected


def test_first_line_has_a_time_or_none() -> None:
    lines = b"2026-11-24T09:42:30.686000001Z stdout F a\n2026-11-24T09:42:31Z stdout F b\n"

    assert cri.first_time(lines) == 1_795_513_350_686_000_001
    assert cri.first_time(b"no time\n") is None
    assert (cri.has_time(lines), cri.has_time(b"no time"), cri.has_time(b"")) == (True, False, False)
    assert cri.has_time(b'{"log":"a\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}')
    assert not cri.has_time(b'{"log":"a')


def test_time_without_a_fraction_is_converted_to_utc() -> None:
    assert cri.utc(b"2026-11-24T10:42:30+01:00") == "2026-11-24T09:42:30Z"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"log":"x\\n","stream":"stdin","time":"2026-01-01T00:00:00Z"}',
        b'{"log":"x\\n","stream":"stdout","time":"yesterday"}',
        b'{"log":"x\\n","stream":"stdout"}',
    ],
)
def test_invalid_docker_line_is_none(raw: bytes) -> None:
    assert cri.parse(raw) is None
