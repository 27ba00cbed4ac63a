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
