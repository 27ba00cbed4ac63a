"""A record on which crisp itself fails is refused like one that breaks the contract: it stops no partition."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import settings
from pipeline.contract.record import KafkaPosition
from pipeline.documents.record_processor import RecordProcessor
from pipeline.errors import RecordError

ORIGIN = KafkaPosition("logs-raw", 0, 7, 1_795_000_000_000)
NAMES = ("crisp", "files", "segments", "node", "read", "grouping", "pod", "gap", "path", "carried", "other")
PROCESSOR = RecordProcessor(settings.load({}))


def test_a_fault_of_our_own_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    intake = RecordProcessor(settings.load({}))

    def broken(*_: object) -> None:
        raise KeyError("boom")

    monkeypatch.setattr(intake._builder, "build", broken)
    with pytest.raises(RecordError, match=r"crisp itself fails.*KeyError\('boom'\) in test_record_processor.py:\d+"):
        intake.process(b"2026-11-24T09:42:30.6Z stdout F x\n", [], ORIGIN, 1)


@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.one_of(st.binary(max_size=30), st.sampled_from([b"1", b"{}", b"[]"])))
    ),
)
def test_whatever_lies_in_the_topic_becomes_documents_or_a_refusal(
    value: bytes, headers: list[tuple[str, bytes]]
) -> None:
    with contextlib.suppress(RecordError):
        parcel, kind = PROCESSOR._process(
            value, headers, ORIGIN, 1_795_000_000_000_000_000
        )  # so that other faults come out
        assert kind in {"slice", "gap", "third_party"}
        assert parcel.size == sum(map(len, parcel.documents))
