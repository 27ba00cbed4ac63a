"""The mark of a record distinguishes it from another record at the same offset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.worker import record_mark
from pipeline.worker.record_mark import RecordMark
from tests.support.fake_worker import FakeMessage

MARK = RecordMark(6, 1_795_513_350_123, 0xABC)


@given(st.integers(0, 2**62), st.integers(-1, 2**62), st.integers(0, 2**32 - 1))
def test_committed_mark_is_read_again(offset: int, timestamp: int, checksum: int) -> None:
    mark = RecordMark(offset, timestamp, checksum)

    assert record_mark.parse(offset + 1, mark.metadata) == mark
    assert len(mark.metadata) < 100


def test_mark_has_the_routing() -> None:
    mark = MARK._replace(routing="0123abcd")

    assert record_mark.parse(7, mark.metadata) == mark
    assert mark.is_same_record(MARK)
    assert not mark.is_same_record(MARK._replace(checksum=1))


@pytest.mark.parametrize("metadata", ["", "crisp", "crisp 1 x 00000000", "crisp 2 1 00000000", MARK.metadata + " "])
def test_other_metadata_has_no_mark(metadata: str) -> None:
    assert record_mark.parse(7, metadata) is None


def test_offset_0_has_no_record_before_it() -> None:
    assert record_mark.parse(0, MARK.metadata) is None


@pytest.mark.parametrize("start", [0, 7])
@pytest.mark.parametrize("routing", ["", "0123abcd"])
def test_start_of_the_group_has_a_mark_of_no_record(start: int, routing: str) -> None:
    mark = record_mark.parse(start, record_mark.mark_start(start, routing).metadata)

    assert mark is not None
    assert (mark.offset, mark.routing, mark.has_record) == (start - 1, routing, False)
    assert MARK.has_record


@pytest.mark.parametrize(
    "other",
    [
        FakeMessage(1, b"y" * 5000, key=b"k"),
        FakeMessage(1, b"x" * 5001, key=b"k"),
        FakeMessage(1, b"x" * 4999 + b"y", key=b"k"),
        FakeMessage(1, b"x" * 5000, key=None),
        FakeMessage(1, None, key=b"k"),
    ],
)
def test_checksum_differs_for_another_record(other: FakeMessage) -> None:
    message = FakeMessage(1, b"x" * 5000, key=b"k")

    assert record_mark.checksum(message) == record_mark.checksum(FakeMessage(9, b"x" * 5000, key=b"k"))
    assert record_mark.checksum(message) != record_mark.checksum(other)


@pytest.mark.parametrize(("seconds", "milliseconds"), [(1_795_513_350.123, 1_795_513_350_123), (None, -1)])
def test_mark_has_kafkas_timestamp(seconds: float | None, milliseconds: int) -> None:
    assert record_mark.mark(FakeMessage(4, timestamp=seconds, checksum=9)) == RecordMark(4, milliseconds, 9)
