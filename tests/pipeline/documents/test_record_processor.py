"""A record on which crisp fails is rejected like one that violates the contract: it blocks no partition."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.environment import load_settings
from pipeline.contract.record import KafkaPosition
from pipeline.documents.record_processor import RecordProcessor
from pipeline.errors import RecordError

ORIGIN = KafkaPosition("logs-raw", 0, 7, 1_795_000_000_000)
NAMES = ("crisp", "files", "segments", "node", "read", "grouping", "pod", "gap", "path", "carried", "other")
PROCESSOR = RecordProcessor(load_settings({}))


def test_internal_error_is_reported_with_its_location(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = RecordProcessor(load_settings({}))

    def fail(*_: object) -> None:
        raise KeyError("boom")

    monkeypatch.setattr(processor._builder, "build", fail)
    with pytest.raises(
        RecordError, match=r"internal error of crisp.*KeyError\('boom'\) in test_record_processor.py:\d+"
    ):
        processor.process(b"2026-11-24T09:42:30.6Z stdout F x\n", [], ORIGIN, 1)


@given(
    st.binary(max_size=200),
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.one_of(st.binary(max_size=30), st.sampled_from([b"1", b"{}", b"[]"])))
    ),
)
def test_any_record_becomes_documents_or_a_record_error(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    with contextlib.suppress(RecordError):
        # `_process` lets other errors through.
        batch, kind = PROCESSOR._process(value, headers, ORIGIN, 1_795_000_000_000_000_000)
        assert kind in {"slice", "gap", "third_party"}
        assert (batch.size > 0) == bool(batch)
