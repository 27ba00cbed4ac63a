"""A dead letter says what, why and where from, and is read as it was written."""

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
def test_a_letter_comes_back(
    value: bytes, reason: str, origin: KafkaPosition, headers: list[tuple[str, bytes]], document: tuple[str, str]
) -> None:
    letter = DeadLetter(value, reason, origin, headers, *document)

    assert dead_letter.decode(value, dead_letter.encode(letter)) == letter


def test_a_letter_of_a_letter_keeps_the_raw_record_s_own_headers_only() -> None:
    first = DeadLetter(b"x", "one", KafkaPosition("raw", 0, 7, 5), [("crisp", b"1")], "index", "id")

    again = dead_letter.encode(replace(first, headers=dead_letter.encode(first), reason="two"))

    assert [data for name, data in again if name == "dead-reason"] == [b"two"]


@pytest.mark.parametrize("headers", [[], [("dead-reason", b"x"), ("dead-source", b"raw/zero/one")]])
def test_what_is_no_letter_is_refused(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(RecordError, match="dead letter"):
        dead_letter.decode(b"", headers)
