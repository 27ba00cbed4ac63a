"""A dead letter has content, reason and source, and decodes to what was encoded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contract import dead_letter
from pipeline.contract.dead_letter import DeadLetter
from pipeline.contract.record import KafkaPosition
from pipeline.errors import RecordError

TEXT = st.text(max_size=40)
ORIGIN = st.builds(KafkaPosition, TEXT, st.integers(-1, 99), st.integers(-1, 2**63 - 1), st.integers(0, 2**53))
HEADERS = st.lists(st.tuples(TEXT.filter(lambda name: not name.startswith("dead-")), st.binary(max_size=40)))


@given(st.binary(max_size=99), TEXT, ORIGIN, HEADERS, st.sampled_from([("", ""), ("logs-2026.11.24", "a-0")]))
def test_dead_letter_decodes_to_what_was_encoded(
    value: bytes, reason: str, origin: KafkaPosition, headers: list[tuple[str, bytes]], document: tuple[str, str]
) -> None:
    original = DeadLetter(value, reason, origin, headers, *document)

    assert dead_letter.decode(value, dead_letter.encode(original)) == original


def test_dead_letter_of_a_dead_letter_has_the_raw_headers_only() -> None:
    first = DeadLetter(b"x", "one", KafkaPosition("raw", 0, 7, 5), [("crisp", b"1")], "index", "id")

    again = dead_letter.encode(replace(first, headers=dead_letter.encode(first), reason="two"))

    assert [data for name, data in again if name == "dead-reason"] == [b"two"]


@pytest.mark.parametrize("headers", [[], [("dead-reason", b"x"), ("dead-source", b"raw/zero/one")]])
def test_record_without_valid_dead_headers_is_rejected(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(RecordError, match="dead letter"):
        dead_letter.decode(b"", headers)


LARGE = ("pod", b"x" * 2_000_000)


def test_smaller_dead_letter_of_a_record_lacks_large_headers_then_most_of_the_value() -> None:
    letter = DeadLetter(b"v" * 100_000, "reason", KafkaPosition("raw", 0, 7, 5), [("crisp", b"1"), LARGE])

    without_headers = letter.smaller()
    assert without_headers is not None
    assert (without_headers.headers, without_headers.incomplete) == ([("crisp", b"1")], "large headers")
    assert without_headers.value == letter.value
    excerpt = without_headers.smaller()
    assert excerpt is not None
    assert letter.value.startswith(excerpt.value)
    assert excerpt.size < 100_000
    assert "bytes of the value" in excerpt.incomplete
    assert excerpt.smaller() is None
    assert dead_letter.decode(excerpt.value, dead_letter.encode(excerpt)) == excerpt


def test_document_is_whole_without_the_headers_of_its_record() -> None:
    smaller = DeadLetter(b"{}", "reason", KafkaPosition("raw", 0, 7, 5), [LARGE], "logs-1", "a-0").smaller()

    assert smaller is not None
    assert (smaller.headers, smaller.incomplete, smaller.smaller()) == ([], "", None)


def test_many_small_headers_are_large_together() -> None:
    headers = [(f"h{number}", b"x" * 100) for number in range(10_000)]
    smaller = DeadLetter(b"", "reason", KafkaPosition("raw", 0, 7, 5), headers).smaller()

    assert smaller is not None
    assert smaller.size < 2 * dead_letter.SMALL_HEADERS_BYTES


def test_reason_is_cut() -> None:
    headers = dict(dead_letter.encode(DeadLetter(b"", "é" * 10**6, KafkaPosition("raw", 0, 7, 5), [])))

    assert headers["dead-reason"] == b"\xc3\xa9" * dead_letter.REASON_MAX_CHARACTERS
